"""How a worker is: its state and counts, said in a heartbeat each second."""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path

import structlog

from data.errors import GroundswellError
from serving.streaming import metrics
from serving.streaming.heartbeat import Heartbeat, beat, this_process
from serving.streaming.recent import RecentTimes

HEARTBEAT_S = 1.0
RATE_S = 10.0
_log = structlog.get_logger()


class Vitals:
    """Of one worker. Any of its threads may tell."""

    def __init__(self, var: Path, name: str, port: int | None, now: Callable[[], tuple[str, Iterable[int], int]]) -> None:
        """Make it.

        Args:
            var: Gets the heartbeat.
            name: Of the worker.
            port: Of `/metrics`.
            now: Gives the model's version, the partitions, and how many messages are in flight.
        """
        self._var, self._name, self._port, self._now = var, name, port, now
        self.state, self._detail = "starting", ""
        self.messages = self.dead = 0
        self._last_commit: float | None = None
        self._rates: deque[tuple[float, int]] = deque()
        self._latencies = RecentTimes()
        self._pid, self._began = this_process()
        self._done = threading.Event()
        self._pulse = threading.Thread(target=self._beat_on, name="heartbeat", daemon=True)

    def start(self) -> None:
        """Begin to beat."""
        self._pulse.start()

    def stop(self) -> None:
        """Beat a last time."""
        self._done.set()
        self._pulse.join()
        self._beat()

    def say(self, state: str, detail: str = "") -> None:
        """The worker is now in this state."""
        if state != self.state:
            _log.info("state", now=state, detail=detail)
        self.state, self._detail = state, detail

    def wrote(self, produced_s: Iterable[float]) -> None:
        """Messages with these timestamps of the broker are in the warehouse."""
        now = time.time()
        late = [max(0.0, now - produced) for produced in produced_s]
        self._latencies.add(time.monotonic(), late)
        for seconds in late:
            metrics.LATENCY.observe(seconds)

    def committed(self, messages: int, dead: int) -> None:
        """So many messages are through, of which so many are dead letters."""
        self.messages += messages
        self.dead += dead
        self._last_commit = time.time()
        metrics.MESSAGES.inc(messages)

    def _beat_on(self) -> None:
        while not self._done.wait(HEARTBEAT_S):
            self._rates.append((time.monotonic(), self.messages))
            while len(self._rates) > 1 and self._rates[-1][0] - self._rates[0][0] > RATE_S:
                self._rates.popleft()
            self._beat()

    def _beat(self) -> None:
        version, partitions, in_flight = self._now()
        p50, p99 = self._latencies.quantiles(time.monotonic(), (0.5, 0.99))
        (first, before), (last, now) = (self._rates[0], self._rates[-1]) if self._rates else ((0.0, 0), (0.0, 0))
        heartbeat = Heartbeat(
            name=self._name,
            pid=self._pid,
            started_at=self._began,
            written_at=time.time(),
            state=self.state,
            detail=self._detail,
            version=version,
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
        except GroundswellError as error:  # a full disk is waited for; without the next beats the worker would seem to hang
            _log.warning("the heartbeat cannot be written", error=str(error))


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(1000 * seconds, 1)
