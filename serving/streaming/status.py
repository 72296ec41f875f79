"""Status of the stream as plain data, from the broker, the files of the processes and the warehouse."""

import threading
import time
from collections.abc import Callable, Collection, Iterable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from data.errors import GroundswellError
from serving.settings import StreamSettings
from serving.streaming.broker import DEAD_LETTERS, TopicMissing
from serving.streaming.lag import LagReader, PartitionLag
from serving.streaming.supervisor.state_files import read_state
from serving.streaming.worker.heartbeat import Heartbeat, read_heartbeats

_ENDED = {"stopped", "failed", "gone"}
RESPONSE_TIMEOUT_S = 3.0
"""After this time broker or warehouse is shown as unavailable; a late response is used the next time."""


def read_status(var: Path, settings: StreamSettings) -> dict[str, Any]:
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

    def read(self) -> dict[str, Any]:
        """Return the present status. Blocks for at most twice `RESPONSE_TIMEOUT_S`.

        Returns:
            at: Epoch s. bootstrap, topic, group: From the settings.
            broker, warehouse: "" where it responds, else the error.
            state, detail, target, reason: Of the supervisor; state is "not supervised" where none runs.
            lag: Messages; None where the broker does not respond. rate, arriving: Messages/s, None without a supervisor.
            drain_s: Time to process the lag at the rate, None where there is no rate.
            cores, memory_bytes: Of the supervisor's machine; None without one.
            lag_limit, drain_limit_s: Above these the backlog is high.
            partitions: partition, committed, end, lag, worker (a name or None), stalled.
            workers: The `Heartbeat` of each, with silent_s, restarts, last_exit, cpu (cores) and rss_bytes.
            others: name, state, restarts, last_exit, cpu, rss_bytes of the supervisor's other processes.
            dead_letters, open_alerts: Counts, None where they cannot be read.
            notices: Counts of notices by kind, None where they cannot be read.
        """
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
        workers = [_worker(name, beats.get(name), children.get(name)) for name in sorted({*beats, *filter(_is_worker, children)})]
        return {
            "at": time.time(),
            "bootstrap": self._settings.bootstrap,
            "topic": self._settings.topic,
            "group": self._settings.group,
            "broker": broker,
            "warehouse": warehouse,
            "state": state["state"] if alive else "not supervised",
            "detail": state.get("detail", "") if alive else "",
            "target": state.get("target") if alive else None,
            "reason": state.get("reason", "") if alive else "",
            "lag": lag,
            "rate": rate,
            "arriving": state.get("arriving") if alive else None,
            "drain_s": lag / rate if lag is not None and rate else None,
            "cores": state.get("cores") if alive else None,
            "memory_bytes": state.get("memory_bytes") if alive else None,
            "lag_limit": self._settings.lag_limit,
            "drain_limit_s": self._settings.drain_limit_s,
            "partitions": _partitions(partitions, beats.values(), state.get("stalled", []) if alive else []),
            "workers": workers,
            "others": [{"name": name} | children[name] for name in others],
            "dead_letters": dead_letters,
            "open_alerts": open_alerts,
            "notices": notices,
        }

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


def _partitions(lags: Iterable[PartitionLag], beats: Iterable[Heartbeat], stalled: Collection[int]) -> list[dict[str, Any]]:
    """Return a row for each partition, with the worker that holds it."""
    holders = {partition: beat.name for beat in beats if beat.state != "gone" for partition in beat.partitions}
    return [
        {
            "partition": each.partition,
            "committed": each.committed,
            "end": each.end,
            "lag": each.lag,
            "worker": holders.get(each.partition),
            "stalled": each.partition in stalled,
        }
        for each in lags
    ]


def _worker(name: str, beat: Heartbeat | None, child: dict[str, Any] | None) -> dict[str, Any]:
    """Return the row of a worker: its heartbeat and the supervisor's entry, or the entry alone if it has no heartbeat."""
    child = child or {}
    row = {
        "name": name,
        "state": child.get("state", "starting"),
        "detail": "",
        "version": "",
        "partitions": [],
        "messages": 0,
        "dead_letters": 0,
        "messages_per_s": 0.0,
        "in_flight": 0,
        "last_commit_at": None,
        "p50_ms": None,
        "p99_ms": None,
        "metrics_port": None,
        "pid": child.get("pid"),
        "silent_s": None,
        "restarts": child.get("restarts", 0),
        "last_exit": child.get("last_exit"),
        "cpu": child.get("cpu"),
        "rss_bytes": child.get("rss_bytes"),
    }
    if beat is None or (child and child.get("pid") != beat.pid):
        return row | {"detail": child.get("last_exit") or ""}
    reported = {key: getattr(beat, key) for key in row if hasattr(beat, key)}
    state = "draining" if child.get("state") == "leaving" and beat.state == "running" else beat.state
    if state in _ENDED:  # the last values no longer hold
        reported |= {"messages_per_s": 0.0, "in_flight": 0, "p50_ms": None, "p99_ms": None}
    silent_s = max(0.0, time.time() - beat.written_at)
    return row | reported | {"partitions": list(beat.partitions), "state": state, "silent_s": silent_s}


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
