"""Status of the stream, from the broker, the files of the processes and the warehouse."""

import threading
import time
from collections.abc import Callable, Collection, Iterable
from concurrent.futures import Future
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from data.errors import GroundswellError
from serving.settings import StreamSettings
from serving.streaming.broker import DEAD_LETTERS, TopicMissing
from serving.streaming.lag import LagReader, PartitionLag
from serving.streaming.supervisor.state_files import read_state
from serving.streaming.worker.heartbeat import Heartbeat, WorkerReport, read_heartbeats

_ENDED = {"stopped", "failed", "gone"}
RESPONSE_TIMEOUT_S = 3.0
"""After this time broker or warehouse is shown as unavailable; a late response is used the next time."""


@dataclass(frozen=True)
class PartitionStatus:
    """A partition of the message topic. Offsets and lag are in messages."""

    partition: int
    committed: int
    end: int
    lag: int
    worker: str | None
    """The worker that holds it."""
    stalled: bool


@dataclass(frozen=True)
class ProcessStatus:
    """A process that the supervisor runs next to the workers."""

    name: str
    pid: int | None
    created_at: float | None
    """Epoch s, as the system counts it."""
    state: str
    restarts: int
    last_exit: str | None
    cpu: float | None
    """Cores, over the last second."""
    rss_bytes: int | None


@dataclass(frozen=True, kw_only=True)
class WorkerStatus(WorkerReport):
    """A worker: its heartbeat and its supervisor's entry. The defaults are those of a worker without a heartbeat."""

    pid: int | None = None
    silent_s: float | None = None
    """Since its last heartbeat."""
    restarts: int = 0
    last_exit: str | None = None
    cpu: float | None = None
    """Cores, over the last second."""
    rss_bytes: int | None = None


@dataclass(frozen=True)
class StreamStatus:
    """The status of a stream at one moment. What cannot be read is None; `broker` and `warehouse` then have the error."""

    at: float
    """Epoch s."""
    bootstrap: str
    topic: str
    group: str
    broker: str
    """Empty where it responds, else the error."""
    warehouse: str
    state: str
    """Of the supervisor; "not supervised" where none runs, and then `target` and the measured values are None."""
    detail: str
    target: int | None
    reason: str
    lag: int | None
    """Messages."""
    rate: float | None
    """Messages/s that are committed."""
    arriving: float | None
    """Messages/s."""
    drain_s: float | None
    """Time to process the lag at the rate."""
    cores: float | None
    """Of the supervisor's machine."""
    memory_bytes: int | None
    lag_limit: int
    """Above this, or with `drain_s` above `drain_limit_s`, the backlog is high."""
    drain_limit_s: float
    partitions: tuple[PartitionStatus, ...]
    workers: tuple[WorkerStatus, ...]
    others: tuple[ProcessStatus, ...]
    dead_letters: int | None
    open_alerts: int | None
    notices: dict[str, int] | None

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return asdict(self)


def read_status(var: Path, settings: StreamSettings) -> StreamStatus:
    """Return the status once; see `StatusReader.read`."""
    return StatusReader(var, settings).read()


class StatusReader:
    """Reads the status repeatedly. Broker and warehouse are queried in threads of their own, so neither delays the rest.

    Args:
        var: Folder to which the processes of the stream write.
        settings: Broker, topic and group.

    Raises:
        StreamError: The settings of the broker are invalid.
    """

    def __init__(self, var: Path, settings: StreamSettings) -> None:
        self._var, self._settings = var, settings
        self._lags = LagReader(settings)
        self._broker = _BackgroundQuery(self._query_broker)
        self._warehouse = _BackgroundQuery(self._query_warehouse)

    def read(self) -> StreamStatus:
        """Return the present status. Blocks for at most twice `RESPONSE_TIMEOUT_S`."""
        state = read_state(self._var) or {}
        alive = bool(state.get("alive")) and state["state"] != "stopped"
        children: dict[str, Any] = state.get("children", {}) if alive else {}
        others = [name for name in children if not _is_worker(name)]
        beats = {beat.name: beat for beat in read_heartbeats(self._var) if beat.name not in others and not _is_past(beat)}
        offsets, broker = self._broker.result()
        partitions, dead_letters = offsets or ([], None)
        counts, warehouse = self._warehouse.result()
        open_alerts, notices = counts or (None, None)
        lag = sum(each.lag for each in partitions) if offsets else None
        rate = state.get("rate") if alive else None
        names = sorted({*beats, *filter(_is_worker, children)})
        return StreamStatus(
            at=time.time(),
            bootstrap=self._settings.bootstrap,
            topic=self._settings.topic,
            group=self._settings.group,
            broker=broker,
            warehouse=warehouse,
            state=state["state"] if alive else "not supervised",
            detail=state.get("detail", "") if alive else "",
            target=state.get("target") if alive else None,
            reason=state.get("reason", "") if alive else "",
            lag=lag,
            rate=rate,
            arriving=state.get("arriving") if alive else None,
            drain_s=lag / rate if lag is not None and rate else None,
            cores=state.get("cores") if alive else None,
            memory_bytes=state.get("memory_bytes") if alive else None,
            lag_limit=self._settings.lag_limit,
            drain_limit_s=self._settings.drain_limit_s,
            partitions=_partitions(partitions, beats.values(), state.get("stalled", []) if alive else []),
            workers=tuple(_worker(name, beats.get(name), children.get(name)) for name in names),
            others=tuple(_process(name, children[name]) for name in others),
            dead_letters=dead_letters,
            open_alerts=open_alerts,
            notices=notices,
        )

    def _query_broker(self) -> tuple[list[PartitionLag], int | None]:
        partitions = self._lags.measure(self._settings.topic)
        try:
            return partitions, self._lags.count(DEAD_LETTERS)
        except TopicMissing:
            return partitions, 0  # the topic is created with the first dead letter
        except GroundswellError:
            return partitions, None  # not authorized to read it

    def _query_warehouse(self) -> tuple[int, dict[str, int]]:
        from serving.warehouse.connect import connect
        from serving.warehouse.forget import count_notices

        with connect(self._var, own=False) as client:
            open_alerts = client.query("SELECT count() FROM alerts FINAL WHERE closed_at IS NULL").result_rows[0][0]
            return int(open_alerts), count_notices(client)


def _is_worker(name: str) -> bool:
    return name.startswith("w") and name[1:].isdigit()


def _is_past(beat: Heartbeat) -> bool:
    """Whether it ended more than a minute ago."""
    return beat.state in _ENDED and time.time() - beat.written_at > 60


def _partitions(
    lags: Iterable[PartitionLag], beats: Iterable[Heartbeat], stalled: Collection[int]
) -> tuple[PartitionStatus, ...]:
    """Return the status of each partition, with the worker that holds it."""
    holders = {partition: beat.name for beat in beats if beat.state != "gone" for partition in beat.partitions}
    return tuple(
        PartitionStatus(
            partition=each.partition,
            committed=each.committed,
            end=each.end,
            lag=each.lag,
            worker=holders.get(each.partition),
            stalled=each.partition in stalled,
        )
        for each in lags
    )


def _process(name: str, child: dict[str, Any]) -> ProcessStatus:
    return ProcessStatus(
        name=name,
        pid=child.get("pid"),
        created_at=child.get("created_at"),
        state=child["state"],
        restarts=child["restarts"],
        last_exit=child.get("last_exit"),
        cpu=child.get("cpu"),
        rss_bytes=child.get("rss_bytes"),
    )


def _worker(name: str, beat: Heartbeat | None, child: dict[str, Any] | None) -> WorkerStatus:
    """Return the status of a worker: its heartbeat and the supervisor's entry, or the entry alone if it has no heartbeat."""
    child = child or {}
    row = WorkerStatus(
        name=name,
        state=child.get("state", "starting"),
        pid=child.get("pid"),
        restarts=child.get("restarts", 0),
        last_exit=child.get("last_exit"),
        cpu=child.get("cpu"),
        rss_bytes=child.get("rss_bytes"),
    )
    if beat is None or (child and row.pid != beat.pid):
        return replace(row, detail=row.last_exit or "")
    reported = {field.name: getattr(beat, field.name) for field in fields(WorkerReport)} | {"pid": beat.pid}
    if beat.state in _ENDED:  # the last values no longer hold
        reported |= {"messages_per_s": 0.0, "in_flight": 0, "p50_ms": None, "p99_ms": None}
    elif child.get("state") == "leaving" and beat.state == "running":
        reported["state"] = "draining"
    return replace(row, **reported, silent_s=max(0.0, time.time() - beat.written_at))


class _BackgroundQuery:
    """A query that runs in a thread, since it may take long. If it has no result in time, the next call waits for it again."""

    def __init__(self, query: Callable[[], Any]) -> None:
        self._query = query
        self._pending: Future[Any] | None = None

    def result(self) -> tuple[Any, str]:
        """Return the result and "", or None and the error."""
        if self._pending is None:
            self._pending = Future()
            threading.Thread(target=self._run, args=(self._pending,), daemon=True).start()
        try:
            outcome = self._pending.result(RESPONSE_TIMEOUT_S), ""
        except TimeoutError:
            return None, f"no response for {RESPONSE_TIMEOUT_S:g} s"
        except GroundswellError as error:
            outcome = None, error.message
        except Exception as error:  # the clients raise classes of their own
            outcome = None, str(error).splitlines()[0] if str(error) else repr(error)
        self._pending = None
        return outcome

    def _run(self, pending: "Future[Any]") -> None:
        try:
            pending.set_result(self._query())
        except BaseException as error:
            pending.set_exception(error)
