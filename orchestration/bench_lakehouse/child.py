"""A program under measurement: it does what it is told by lines of JSON, and its processor time is counted with all below it."""

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
    """One side in one round."""

    rows: int
    wall_s: float
    jvm_s: float
    """Processor time of Spark's Java, user and system."""
    python_s: float
    """Of the driver's Python and of Spark's Python workers."""

    @property
    def cpu_s(self) -> float:
        """Processor time of all of it."""
        return self.jvm_s + self.python_s

    def to_dict(self) -> dict[str, Any]:
        """For the JSON file."""
        return asdict(self)


class Child:
    """`orchestration.bench_lakehouse.program` in a process of its own, ended by `stop`; after `wait` it can be asked.

    Args:
        kind: Of `program.KINDS`.
        given: What that kind is made with.
        logs: The folder for its log.
    """

    def __init__(self, kind: str, given: Mapping[str, Any], logs: Path) -> None:
        self.kind = kind
        self._seen: dict[psutil.Process, tuple[bool, float]] = {}
        logs.mkdir(parents=True, exist_ok=True)
        self.log = logs / f"lakehouse-{kind}.log"
        with self.log.open("wb") as log:
            # Standard input is a pipe that ends with this process, and then so does the program.
            self.process = subprocess.Popen(
                [sys.executable, "-m", "orchestration.bench_lakehouse.program", kind, json.dumps(given)],
                cwd=project_root(),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,
            )

    def wait(self) -> None:
        """Block until it can be told something: Python, Java and Spark have started.

        Raises:
            LakehouseError: It cannot start.
        """
        self._answer()

    def __enter__(self) -> "Child":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def ask(self, do: str, **given: Any) -> Any:
        """Let it do one thing. Blocks until it is done; gives what it says of it.

        Raises:
            LakehouseError: It could not, or has ended.
        """
        assert self.process.stdin
        with suppress(BrokenPipeError):  # it has ended: there is no answer, and that is told
            self.process.stdin.write(json.dumps({"do": do, **given}) + "\n")
            self.process.stdin.flush()
        return self._answer()

    def spend(self, rows: int, do: str, **given: Any) -> Spent:
        """As `ask`, for so many rows: what it took."""
        before, began = self.cpu_s(), time.perf_counter()
        self.ask(do, **given)
        wall_s, after = time.perf_counter() - began, self.cpu_s()
        return Spent(rows, wall_s, *(late - early for late, early in zip(after, before, strict=True)))

    def cpu_s(self) -> tuple[float, float]:
        """Processor time so far, user and system, of Java and of everything else; of what has ended, as it was seen last."""
        for process in self._tree():
            with suppress(psutil.NoSuchProcess):
                times = process.cpu_times()
                self._seen[process] = process.name() == "java", times.user + times.system
        return (
            sum(spent for is_java, spent in self._seen.values() if is_java),
            sum(spent for is_java, spent in self._seen.values() if not is_java),
        )

    def stop(self) -> None:
        """Let it end Spark; kill what is left of it after `STOP_S`."""
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

    def _answer(self) -> Any:
        assert self.process.stdout
        line = self.process.stdout.readline()
        if not line:
            status = self.process.wait(STOP_S)
            raise LakehouseError(
                f"{self.kind} ended with status {status}.", found=_last_words(self.log), remedy=f"See {self.log}."
            )
        answer = json.loads(line)
        if "error" in answer:
            raise LakehouseError(f"{self.kind} cannot go on.", found=answer["error"], remedy=f"See {self.log}.")
        return answer["done"]


def _last_words(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return "\n".join(lines[-3:]) or "an empty log"


def own_output() -> Any:
    """The pipe to whoever asks; what others in this process print to standard output goes to the log from here on."""
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return channel
