"""A measured program: commands are lines of JSON, and its CPU time includes all its child processes."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil

from data.errors import LakehouseError
from data.settings import project_root

STOP_S = 60


@dataclass(frozen=True)
class Spent:
    """The cost of one system in one round."""

    rows: int
    wall_s: float
    jvm_s: float
    """CPU time of Spark's Java, user and system."""
    python_s: float
    """CPU time of the driver's Python and of Spark's Python workers."""

    @property
    def cpu_s(self) -> float:
        """Total CPU time."""
        return self.jvm_s + self.python_s

    def to_dict(self) -> dict[str, Any]:
        """Return a dict for the JSON file."""
        return asdict(self)


class Child:
    """A process that runs `benchmarks.lakehouse.program` until `stop`; it accepts commands after `wait`.

    Args:
        kind: A key of `program.KINDS`.
        given: The arguments of that kind.
        logs: The folder for its log.
    """

    def __init__(self, kind: str, given: Mapping[str, Any], logs: Path) -> None:
        self.kind = kind
        self._seen: dict[psutil.Process, tuple[bool, float]] = {}
        logs.mkdir(parents=True, exist_ok=True)
        self.log = logs / f"lakehouse-{kind}.log"
        with self.log.open("wb") as log:
            # Standard input is a pipe. It closes with this process, and then the program ends too.
            self.process = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.lakehouse.program", kind, json.dumps(given)],
                cwd=project_root(),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,
            )

    def wait(self) -> None:
        """Block until the program accepts commands: Python, Java and Spark have started.

        Raises:
            LakehouseError: The program failed to start.
        """
        self._read_reply()

    def __enter__(self) -> "Child":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def ask(self, do: str, **given: Any) -> Any:
        """Run one command, block until it is done, and return its result.

        Raises:
            LakehouseError: The command failed, or the program has ended.
        """
        assert self.process.stdin
        with suppress(BrokenPipeError):  # the program has ended: `_read_reply` raises the error
            self.process.stdin.write(json.dumps({"do": do, **given}) + "\n")
            self.process.stdin.flush()
        return self._read_reply()

    def spend(self, rows: int, do: str, **given: Any) -> Spent:
        """Run one command as `ask` does, and return its cost for `rows` rows."""
        before, began = self.cpu_s(), time.perf_counter()
        self.ask(do, **given)
        wall_s, after = time.perf_counter() - began, self.cpu_s()
        return Spent(rows, wall_s, *(late - early for late, early in zip(after, before, strict=True)))

    def cpu_s(self) -> tuple[float, float]:
        """Return the CPU time so far, user and system, of Java and of all other processes; for ended ones the last reading."""
        for process in self._tree():
            with suppress(psutil.NoSuchProcess):
                times = process.cpu_times()
                self._seen[process] = process.name() == "java", times.user + times.system
        return (
            sum(spent for is_java, spent in self._seen.values() if is_java),
            sum(spent for is_java, spent in self._seen.values() if not is_java),
        )

    def stop(self) -> None:
        """Let the program stop Spark; kill its remaining processes after `STOP_S`."""
        tree = self._tree()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe:
                with suppress(BrokenPipeError):
                    pipe.close()
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(STOP_S)
        _, alive = psutil.wait_procs(tree, timeout=5)
        for process in alive:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        self.process.wait()

    def _tree(self) -> Sequence[psutil.Process]:
        with suppress(psutil.NoSuchProcess):
            root = psutil.Process(self.process.pid)
            return [root, *root.children(recursive=True)]
        return []

    def _read_reply(self) -> Any:
        assert self.process.stdout
        line = self.process.stdout.readline()
        if not line:
            status = self.process.wait(STOP_S)
            raise LakehouseError(
                f"{self.kind} ended with status {status}.", found=_last_lines(self.log), remedy=f"See {self.log}."
            )
        reply = json.loads(line)
        if "error" in reply:
            raise LakehouseError(f"{self.kind} failed.", found=reply["error"], remedy=f"See {self.log}.")
        return reply["done"]


def _last_lines(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return "\n".join(lines[-3:]) or "an empty log"


def own_output() -> Any:
    """Return the pipe to the parent process; from now on this process's standard output goes to the log."""
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return channel
