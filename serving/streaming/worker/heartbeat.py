"""A worker's report on itself, written each second to a file that the supervisor and `groundswell stream status` read."""

import os
import time
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

import psutil

from data.artifacts import read_json, write_json
from serving.processes import living


@dataclass(frozen=True, kw_only=True)
class WorkerReport:
    """The state that a worker reports. Times are in seconds since 1970."""

    name: str
    state: str
    """starting, running, waiting for the broker, waiting for the warehouse, draining, stopped, failed, gone."""
    detail: str = ""
    """What it waits for, or why it failed."""
    version: str = ""
    point: str = ""
    """The operating point that classifies now."""
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


@dataclass(frozen=True, kw_only=True)
class Heartbeat(WorkerReport):
    """The report of one process at one moment."""

    pid: int
    started_at: float
    """When the process started: the pid alone may belong to another process by now."""
    written_at: float


def folder(var: Path) -> Path:
    """Return the folder of the heartbeats."""
    return var / "stream" / "workers"


def beat(var: Path, heartbeat: Heartbeat) -> None:
    """Write a heartbeat, atomically.

    Raises:
        GroundswellError: The disk is full, or the folder may not be written.
    """
    write_json(folder(var) / f"{heartbeat.name}.json", asdict(heartbeat))


def this_process() -> tuple[int, float]:
    """Return the pid and the start time of this process."""
    return os.getpid(), psutil.Process().create_time()


def read_heartbeats(var: Path) -> list[Heartbeat]:
    """Return the heartbeat of every worker that wrote one within the last hour, sorted by name.

    A worker whose process has ended has the state `gone`, unless its last state is `stopped` or `failed`.
    """
    heartbeats = []
    known = {field.name for field in fields(Heartbeat)}
    for path in sorted(folder(var).glob("*.json")):
        try:
            values = read_json(path)
            heartbeat = Heartbeat(**{key: value for key, value in values.items() if key in known})
        except (OSError, ValueError, TypeError):
            continue  # deleted meanwhile, or written by another version
        if time.time() - heartbeat.written_at > 3600:
            continue
        if heartbeat.state not in {"stopped", "failed"} and not living(heartbeat.pid, heartbeat.started_at):
            heartbeat = replace(heartbeat, state="gone", messages_per_s=0.0)
        heartbeats.append(heartbeat)
    return heartbeats
