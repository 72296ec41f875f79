"""A program that is started for a while: its own environment and log, a time limit, and an end whatever happens."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Self

from data.errors import ServiceError
from data.settings import project_root

STOP_S = 20.0
"""How long a program may take to end before it is killed, in seconds."""
TICK_S = 0.2


class Program:
    """A Python program in a session of its own; the end of the block ends it and everything that it started.

    In a session of its own Ctrl-C at the terminal reaches this process only, which then ends the program.

    Args:
        name: Names the log, `<name>.log`.
        arguments: Of the interpreter.
        environment: All of its variables.
        folder: For the log.
        work_in: Its working folder; None: the checkout.
    """

    def __init__(
        self,
        name: str,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        folder: Path,
        *,
        work_in: Path | None = None,
    ) -> None:
        self.name, self.log = name, folder / f"{name}.log"
        self._arguments, self._environment = [sys.executable, *arguments], environment
        self._work_in = work_in or project_root()
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                self._arguments,
                cwd=self._work_in,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=dict(self._environment),
                start_new_session=True,
            )
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process is not None
        if self._process.poll() is None:
            self._signal(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(STOP_S)
        # What it started and left behind, such as the Java of Spark, is in its session too.
        self._signal(signal.SIGKILL)
        self._process.wait()

    def wait_for(self, is_done: Callable[[], bool], limit_s: float, progress: Callable[[float], None]) -> None:
        """Block until `is_done` returns true.

        Args:
            is_done: Called a few times a second.
            limit_s: Longest wait, in seconds.
            progress: Called with the seconds that passed.

        Raises:
            ServiceError: The program ended, or the time is over; has the end of its log.
        """
        began = time.monotonic()
        while not is_done():
            if self.status is not None:
                raise self._failed(f"{self.name} ended with status {self.status}.")
            if (waited := time.monotonic() - began) > limit_s:
                raise self._failed(f"{self.name} was not done after {limit_s:g} s.")
            progress(waited)
            with suppress(subprocess.TimeoutExpired):
                self._running.wait(TICK_S)

    def wait(self, limit_s: float, progress: Callable[[float], None]) -> None:
        """Block until it has ended.

        Args:
            limit_s: Longest wait, in seconds.
            progress: Called with the seconds that passed.

        Raises:
            ServiceError: It failed, or the time is over; has the end of its log.
        """
        self.wait_for(lambda: self.status == 0, limit_s, progress)

    @property
    def status(self) -> int | None:
        """The exit status; None while it runs."""
        return self._running.poll()

    @property
    def _running(self) -> subprocess.Popen[bytes]:
        assert self._process is not None, "it was not started"
        return self._process

    def _signal(self, which: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._running.pid, which)

    def _failed(self, message: str) -> ServiceError:
        lines = self.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return ServiceError(message, found=" / ".join(lines[-3:])[-600:] or "an empty log")
