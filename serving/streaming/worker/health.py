"""Health of a worker: its state and counts, written to a heartbeat file each second."""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path

import structlog

from data.errors import GroundswellError
from serving.streaming.recent import RecentTimes
from serving.streaming.worker import metrics
from serving.streaming.worker.heartbeat import Heartbeat, beat, this_process
from serving.tiers import OperatingPoint

HEARTBEAT_S = 1.0
OVERLOADED = "more messages arrive than the floor of load control allows to classify"
RATE_S = 10.0
_log = structlog.get_logger()


class WorkerHealth:
    """State and counts of one worker. Any of its threads may call the methods."""

    def __init__(
        self, var: Path, name: str, port: int | None, now: Callable[[], tuple[str, OperatingPoint, Iterable[int], int]]
    ) -> None:
        """Make it; `start` begins to write.

        Args:
            var: Folder to write the heartbeat to.
            name: Of the worker.
            port: Of `/metrics`.
            now: Returns the model's version, the operating point, the partitions, and the number of messages in flight.
        """
        self._var, self._name, self._port, self._now = var, name, port, now
        self.state, self._detail, self._activity = "starting", "", "running"
        self._overloaded = False
        self._point = ""
        self.messages = self.dead = 0
        self._last_commit: float | None = None
        self._rates: deque[tuple[float, int]] = deque()
        self._latencies = RecentTimes()
        self._pid, self._began = this_process()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def start(self) -> None:
        """Start to write heartbeats."""
        self._thread.start()

    def stop(self) -> None:
        """Write a last heartbeat."""
        self._done.set()
        self._thread.join()
        self._beat()

    def set_state(self, state: str, detail: str = "") -> None:
        """Set the state of the worker, and log it if it changed."""
        if state != self.state:
            _log.info("state", now=state, detail=detail)
        self.state, self._detail = state, detail

    def begin(self, activity: str) -> None:
        """Set the state, also for the end of each wait from now on."""
        self._activity = activity
        self.set_state(activity)

    def wait_for(self, what: str, detail: str = "") -> None:
        """Set the state to waiting for "the broker" or "the warehouse"."""
        self.set_state(f"waiting for {what}", detail)

    def end_wait(self, what: str = "") -> None:
        """Return to the state of before if this is what the worker waits for ("": whatever it is)."""
        if self.state.startswith(f"waiting for {what}"):
            self.set_state(self._activity)

    def set_overloaded(self, overloaded: bool) -> None:
        """Report, in the detail of its state, that more messages arrive than load control can have classified."""
        if overloaded != self._overloaded:
            _log.warning("load", overloaded=overloaded)
        self._overloaded = overloaded
        metrics.OVERLOADED.set(overloaded)

    def record_latencies(self, produced_s: Iterable[float]) -> None:
        """Record the latencies of messages, given their broker timestamps, that are now in the warehouse."""
        now = time.time()
        late = [max(0.0, now - produced) for produced in produced_s]
        self._latencies.add(time.monotonic(), late)
        for seconds in late:
            metrics.LATENCY.observe(seconds)

    def record_commit(self, messages: int, dead: int) -> None:
        """Count committed messages, `dead` of which are dead letters."""
        self.messages += messages
        self.dead += dead
        self._last_commit = time.time()
        metrics.MESSAGES.inc(messages)

    def _run(self) -> None:
        while not self._done.wait(HEARTBEAT_S):
            self._rates.append((time.monotonic(), self.messages))
            while len(self._rates) > 1 and self._rates[-1][0] - self._rates[0][0] > RATE_S:
                self._rates.popleft()
            self._beat()

    def _beat(self) -> None:
        version, point, partitions, in_flight = self._now()
        self._report_point(point)
        p50, p99 = self._latencies.quantiles(time.monotonic(), (0.5, 0.99))
        (first, before), (last, now) = (self._rates[0], self._rates[-1]) if self._rates else ((0.0, 0), (0.0, 0))
        heartbeat = Heartbeat(
            name=self._name,
            pid=self._pid,
            started_at=self._began,
            written_at=time.time(),
            state=self.state,
            detail=self._detail or (OVERLOADED if self._overloaded else ""),
            version=version,
            point=point.name,
            partitions=tuple(sorted(partitions)),
            messages=self.messages,
            dead_letters=self.dead,
            messages_per_s=round((now - before) / (last - first), 1) if last > first else 0.0,
            in_flight=in_flight,
            last_commit_at=self._last_commit,
            p50_ms=_ms(p50),
            p99_ms=_ms(p99),
            metrics_port=self._port,
        )
        try:
            beat(self._var, heartbeat)
        except GroundswellError as error:  # try again: a full disk may pass, and without heartbeats the worker seems to hang
            _log.warning("the heartbeat cannot be written", error=str(error))

    def _report_point(self, point: OperatingPoint) -> None:
        if point.name == self._point:
            return
        if self._point:
            _log.info("operating point", before=self._point, now=point.name, expected_macro_recall=point.macro_recall)
        self._point = point.name
        metrics.POINT.clear()
        metrics.POINT.labels(point.name).set(1)
        metrics.EXPECTED.set(point.macro_recall or 0.0)


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(1000 * seconds, 1)
