"""Processes under test: started with their own settings, their CPU time measured, stopped with this process."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import psutil

from data.errors import StreamError
from data.settings import project_root

STOP_S = 45


class Program:
    """A Python program in its own session; `stop` ends it and its descendants.

    Args:
        name: Name of its log.
        arguments: Arguments of the interpreter.
        settings: Its environment variables; this process's `GROUNDSWELL_STREAM__*` are removed.
        logs: The folder for its log.
    """

    def __init__(self, name: str, arguments: Sequence[str], settings: Mapping[str, str], logs: Path) -> None:
        self.name = name
        logs.mkdir(parents=True, exist_ok=True)
        self.log = logs / f"{name}.log"
        clean = {key: value for key, value in os.environ.items() if not key.startswith("GROUNDSWELL_STREAM__")}
        with self.log.open("wb") as log:
            # Standard input is a pipe that closes with this process: a program started with --with-parent then exits too.
            self.process = subprocess.Popen(
                [sys.executable, *arguments],
                cwd=project_root(),
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**clean, **settings},
                start_new_session=True,
            )
        self._seen: dict[int, psutil.Process] = {}

    def check(self) -> None:
        """Check that the program still runs.

        Raises:
            StreamError: It has exited; the message has the end of its log.
        """
        if (status := self.process.poll()) is not None:
            lines = self.log.read_text(encoding="utf-8", errors="replace").strip().splitlines() or ["an empty log"]
            raise StreamError(f"{self.name} exited with status {status}.", found="\n".join(lines[-3:]), remedy=f"See {self.log}.")

    def cpu_s(self) -> float:
        """Return the CPU time, user and system, of the program and its descendants; exited processes do not count."""
        return tree_cpu_s(self._tree())

    def ask_to_stop(self) -> None:
        """Send SIGTERM, without waiting."""
        with suppress(ProcessLookupError):
            self.process.terminate()

    def stop(self) -> None:
        """Send SIGTERM, and SIGKILL to processes that still run after `STOP_S`."""
        tree = self._tree()
        self.ask_to_stop()
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(STOP_S)
        _, alive = psutil.wait_procs([process for process in tree if process.pid != self.process.pid], timeout=2)
        for process in alive:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        self.process.kill()
        self.process.wait()
        if self.process.stdin:
            self.process.stdin.close()

    def _tree(self) -> list[psutil.Process]:
        with suppress(psutil.NoSuchProcess):
            root = psutil.Process(self.process.pid)
            for process in (root, *root.children(recursive=True)):
                self._seen.setdefault(process.pid, process)
        return list(self._seen.values())


def tree_cpu_s(processes: Iterable[psutil.Process]) -> float:
    """Return the CPU time of these processes, user and system."""
    total = 0.0
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            total += times.user + times.system
    return total


def stop_all(programs: Sequence[Program]) -> None:
    """Stop all programs at the same time, so that only the slowest is waited for."""
    for program in programs:
        program.ask_to_stop()
    for program in programs:
        program.stop()


def end_on_sigterm() -> None:
    """Exit with an exception on SIGTERM, so that the started processes are stopped."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
