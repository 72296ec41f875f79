"""What a worker says of itself each second: a file that the supervisor and `groundswell stream status` read."""

import os
import time
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import psutil

from data.artifacts import read_json, write_json
from serving.processes import living


@dataclass(frozen=True)
class Heartbeat:
    """The state of a worker. Times are seconds since 1970."""

    name: str
    pid: int
    started_at: float
    """Of the process: a pid alone may belong to another one by now."""
    written_at: float
    state: str
    """starting, running, waiting for the broker, waiting for the warehouse, draining, stopped, failed, gone."""
    detail: str = ""
    """What it waits for, or why it failed."""
    version: str = ""
    partitions: tuple[int, ...] = ()
    messages: int = 0
    """Committed since its start, dead letters included."""
    dead_letters: int = 0
    messages_per_s: float = 0.0
    """Over the last ten seconds."""
    in_flight: int = 0
    last_commit_at: float | None = None
    p50_ms: float | None = None
    """From the broker's timestamp to written in the warehouse, of the last 60 s; None where nothing was written."""
    p99_ms: float | None = None
    metrics_port: int | None = None


def folder(var: Path) -> Path:
    """Where heartbeats lie."""
    return var / "stream" / "workers"


def beat(var: Path, heartbeat: Heartbeat) -> None:
    """Write it, atomically.

    Raises:
        GroundswellError: The disk is full, or the folder may not be written.
    """
    write_json(folder(var) / f"{heartbeat.name}.json", asdict(heartbeat))


def this_process() -> tuple[int, float]:
    """The pid and when the process began."""
    return os.getpid(), psutil.Process().create_time()


def read_heartbeats(var: Path) -> list[Heartbeat]:
    """Of every worker that wrote here within the last hour, by name; one whose process is no more has the state `gone`,
    unless it said goodbye (stopped, failed).
    """
    found = []
    known = {field.name for field in fields(Heartbeat)}
    for path in sorted(folder(var).glob("*.json")):
        try:
            values = read_json(path)
            heartbeat = Heartbeat(**{key: value for key, value in values.items() if key in known})
        except (OSError, ValueError, TypeError):
            continue  # deleted in between, or of another version: no heartbeat
        if time.time() - heartbeat.written_at > 3600:
            continue
        if heartbeat.state not in {"stopped", "failed"} and not living(heartbeat.pid, heartbeat.started_at):
            heartbeat = Heartbeat(**{**asdict(heartbeat), "state": "gone", "messages_per_s": 0.0})
        found.append(heartbeat)
    return found
