"""Processes under measurement: started with settings of their own, their processor time counted, ended with this one."""

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
    """A Python program in a session of its own; it and all below it are ended by `stop`.

    Args:
        name: Of its log.
        arguments: After the interpreter.
        settings: Environment variables; none of ours reach it otherwise.
        logs: The folder for its log.
    """

    def __init__(self, name: str, arguments: Sequence[str], settings: Mapping[str, str], logs: Path) -> None:
        self.name = name
        logs.mkdir(parents=True, exist_ok=True)
        self.log = logs / f"{name}.log"
        clean = {key: value for key, value in os.environ.items() if not key.startswith("GROUNDSWELL_STREAM__")}
        with self.log.open("wb") as log:
            # Standard input is a pipe that ends with this process: who was started with --with-parent then ends too.
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
        """Whether it still runs.

        Raises:
            StreamError: It has ended.
        """
        if (status := self.process.poll()) is not None:
            lines = self.log.read_text(encoding="utf-8", errors="replace").strip().splitlines() or ["an empty log"]
            raise StreamError(f"{self.name} ended with status {status}.", found="\n".join(lines[-3:]), remedy=f"See {self.log}.")

    def cpu_s(self) -> float:
        """Processor time of it and of all that was ever seen below it, user and system; those that have ended count no more."""
        return tree_cpu_s(self._tree())

    def ask_to_stop(self) -> None:
        """SIGTERM, without waiting."""
        with suppress(ProcessLookupError):
            self.process.terminate()

    def stop(self) -> None:
        """SIGTERM, and SIGKILL to whatever of it is left after `STOP_S`."""
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
    """Processor time of these processes, user and system."""
    total = 0.0
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            total += times.user + times.system
    return total


def stop_all(programs: Sequence[Program]) -> None:
    """All at once, so that the slowest alone is waited for."""
    for program in programs:
        program.ask_to_stop()
    for program in programs:
        program.stop()


def end_on_sigterm() -> None:
    """Leave by an exception, so that what was started is ended."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
