"""Messages through the stream without a broker, and the warehouse's counts."""

from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from data.artifacts import sha256_file
from data.errors import SourceUnavailable
from data.rates import rate_text
from orchestration.layout import Layout
from orchestration.progress import one_step
from orchestration.steps.events import split_events
from orchestration.terminal.scoring import open_classifier
from orchestration.terminal.typed import as_typed
from serving.streaming.producer import file_events

if TYPE_CHECKING:
    from serving.streaming.replay import StreamSummary


MAX_REASONS = 10
"""Reasons of dead letters that the summary shows."""


def _log_errors_only() -> None:
    """Log errors only, for a terminal that draws progress."""
    import logging

    import structlog

    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))


def replay(*, file: Path | None, count: int, bundle: Path | None, console: Console | None) -> "StreamSummary":
    """Replay messages through the stream and return the warehouse's counts.

    Args:
        file: JSONL of events; None: test texts of the splits.
        count: Maximum number of messages.
        bundle: The bundle that classifies; None: the production bundle.
        console: Draws the progress; None: nothing is printed.
    """
    from serving.streaming.replay import run_stream

    _log_errors_only()
    layout = Layout.load()
    classifier = open_classifier(bundle, threads=1)
    if file is not None and not file.is_file():
        raise SourceUnavailable(f"There is no file {file}.")
    # The same messages and the same model are the same run: its rows count once, even if it is repeated.
    run_id = f"{sha256_file(file)[:12] if file else 'test-texts'}-{count}-{classifier.bundle.fingerprint[:12]}"
    events = file_events(file, count) if file else split_events(layout, count, again=False)
    with one_step(console, "Replay messages through the stream") as progress:
        return run_stream(events, classifier, layout.var, run_id=run_id, progress=progress)


def show_summary(console: Console, summary: "StreamSummary") -> None:
    """Print the summary as a table."""
    table = Table("", "", box=None, show_header=False, title=f"stream, model {summary.version}", title_justify="left")
    table.add_row("messages in the warehouse", f"{summary.messages:,}")
    table.add_row("dead letters", f"{summary.dead_letters:,}")
    for reason, count in list(summary.reasons.items())[:MAX_REASONS]:
        table.add_row("", f"{count:,}: {escape(as_typed(reason[:200]))}")
    table.add_row("rate", rate_text(summary.messages, summary.seconds))
    table.add_row("labels", ", ".join(f"{label} {count:,}" for label, count in sorted(summary.labels.items())))
    console.print(table)
