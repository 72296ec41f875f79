"""Progress of long steps: steps call `report`, and listeners show it.

The caller of a step chooses the listeners: the command line draws bars with an estimate, Dagster logs.
"""

import sys
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from data.errors import GroundswellError, SettingsError


class Listener(Protocol):
    """Receives the start, the progress and the notes of steps."""

    def begin(self, title: str) -> None:
        """Receive the start of a step."""

    def __call__(self, message: str, fraction: float | None) -> None:
        """Receive the progress of the running step."""

    def note(self, text: str, *, warning: bool = True) -> None:
        """Receive a message of the running step that people must see."""

    def ended(self, state: str, why: str | None) -> None:
        """Receive that the running step did nothing: it was skipped, or its result was unchanged."""


_listeners: list[Listener] = []


def begin(title: str) -> None:
    """Report that a step starts; the previous one is over."""
    for listener in list(_listeners):
        listener.begin(title)


def report(message: str, fraction: float | None = None) -> None:
    """Report the progress of the running step.

    Args:
        message: What is being done, in a few words.
        fraction: The share that is done, 0 to 1; None when unknown.
    """
    for listener in list(_listeners):
        listener(message, fraction)


def note(text: str, *, warning: bool = True) -> None:
    """Report a message that people must see, such as what was left out and why."""
    for listener in list(_listeners):
        listener.note(text, warning=warning)


def ended(state: str, why: str | None = None) -> None:
    """Report that the running step did nothing, so that it is not shown as work done.

    Args:
        state: One word or two, such as "skipped" or "unchanged".
        why: The reason, where it is not obvious.
    """
    for listener in list(_listeners):
        listener.ended(state, why)


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Send what is reported in the block to `listener`."""
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)


def terminal_console() -> Console:
    """Return a console of standard output; on a pipe or file, its lines are wide enough for the tables."""
    return Console(emoji=False) if sys.stdout.isatty() else Console(width=130, emoji=False)


class LogProgress:
    """A listener that writes to a logger, at most one line a tenth of a step: shown in a Dagster run."""

    def __init__(self, log: Any) -> None:
        self.log = log
        self._last: tuple[str, int] | None = None

    def begin(self, title: str) -> None:
        """Log the title."""
        self.log.info(title)

    def __call__(self, message: str, fraction: float | None) -> None:
        """Log a new message, and every tenth of it."""
        state = ("" if fraction is not None else message, int((fraction or 0.0) * 10))
        if state != self._last:
            self._last = state
            self.log.info(message if fraction is None else f"{message} ({fraction:.0%})")

    def note(self, text: str, *, warning: bool = True) -> None:
        """Log it."""
        (self.log.warning if warning else self.log.info)(text)

    def ended(self, state: str, why: str | None) -> None:
        """Log the state and its reason."""
        self.log.info(f"{state}: {why}" if why else state)


class TerminalProgress:
    """A listener that draws one line a step, with a bar where the fraction is known. On a pipe: a line a step and a tenth."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._bars = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
            transient=True,
        )
        self._task: TaskID | None = None
        self._title = ""
        self._started = 0.0
        self._last_tenth = -1
        self._ended: tuple[str, str | None] | None = None

    def __enter__(self) -> "TerminalProgress":
        if self.console.is_terminal:
            self._bars.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.finish(failed=kind is not None)
        self._bars.stop()

    def begin(self, title: str) -> None:
        """Start a step; the previous one is done."""
        self.finish()
        self._title, self._started, self._last_tenth, self._ended = title, time.monotonic(), -1, None
        if self.console.is_terminal:
            self._task = self._bars.add_task(title, total=None)
        else:
            self.console.print(f"… {title}")

    def finish(self, *, failed: bool = False) -> None:
        """End the step: print one line with its state and duration."""
        if not self._title:
            return
        if self._task is not None:
            self._bars.remove_task(self._task)
            self._task = None
        if failed or not self._ended:
            mark = "[red]✗[/]" if failed else "[green]✓[/]"
            self.console.print(f"{mark} {self._title} [dim]{time.monotonic() - self._started:.1f} s[/]")
        else:
            state, why = self._ended
            self.console.print(f"[dim]– {self._title}:[/] {state}{f', {escape(why)}' if why else ''}", highlight=False)
        self._title = ""

    def ended(self, state: str, why: str | None) -> None:
        """Set the state that the step's line shows instead of ✓."""
        self._ended = state, why

    def note(self, text: str, *, warning: bool = True) -> None:
        """Print a line that stays."""
        self.console.print(f"  [yellow]{escape(text)}[/]" if warning else f"  {escape(text)}", highlight=False)

    def __call__(self, message: str, fraction: float | None) -> None:
        """Draw the progress that `report` sends."""
        if self._task is not None:
            self._bars.update(
                self._task,
                description=f"{self._title}: {message}",
                total=None if fraction is None else 1.0,
                completed=fraction or 0.0,
            )
        elif fraction is not None and (tenth := int(fraction * 10)) != self._last_tenth:
            self._last_tenth = tenth
            self.console.print(f"  {message} ({fraction:.0%})", highlight=False)


@contextmanager
def one_step(console: Console | None, title: str) -> Generator[TerminalProgress | None]:
    """Draw the progress of one step; without a console nothing is printed."""
    if console is None:
        yield None
        return
    with TerminalProgress(console) as terminal:
        terminal.begin(title)
        yield terminal


def print_error(console: Console, error: GroundswellError) -> int:
    """Print the error with what was found, what was expected, and the remedy; return the exit status."""
    console.print(f"[red]{type(error).__name__}[/]: {escape(error.message)}", highlight=False)
    for name in ("found", "expected", "remedy"):
        if (value := getattr(error, name)) is not None:
            console.print(f"  [dim]{name}:[/] {escape(str(value))}", highlight=False, soft_wrap=True)
    return 2 if isinstance(error, SettingsError) else 1
