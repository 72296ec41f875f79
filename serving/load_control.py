"""Load control: which operating point classifies the next texts, chosen by how many arrive and how many wait.

The most accurate point whose capacity is enough for the texts that arrive, and for those that wait within the deadline, is
chosen. Capacity is measured: the seconds that a thread takes for a text. A point that was not used yet is estimated from
one that was, by the CPU figures of the bundle. A cheaper point is chosen at once; a more accurate one only if it had room to
spare for `HOLD_S`, so that the points do not alternate.
"""

import math
import threading
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from serving.tiers import OperatingPoint, points_down_to

TICK_S = 0.1
"""How often a point is chosen, at most."""
RATE_S = 1.0
"""Time constant of the average number of texts that arrive."""
ENOUGH, ROOM = 0.95, 0.7
"""Share of a point's capacity that may be needed: to stay on it, and to return to it."""
HOLD_S = 2.0
"""How long a more accurate point must have had room before it is chosen."""
OUTSIDE_US = 50.0
"""CPU microseconds per text outside of the model, for the estimate (docs/benchmarks.md, stages)."""
MIN_TEXTS = 16
"""Batches with fewer texts cost more per text, and are measured only where nothing else was."""
BATCH_SHARE = 0.25
"""Share of the deadline that a batch may take."""
_WEIGHT = 0.2
"""Of a new measurement in the average."""


class HasPoints(Protocol):
    """A model with operating points."""

    @property
    def points(self) -> Sequence[OperatingPoint]:
        """The cheapest first, `base` last; none where the bundle has one tier."""
        ...

    def point(self, tier: str) -> OperatingPoint:
        """As `Classifier.point`."""
        ...


class LoadControl:
    """Chooses the point. One thread calls `due` and `update`; the threads that classify call `point_for` and `record`."""

    def __init__(
        self,
        usual: str,
        floor: float,
        threads: int,
        deadline_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Make it.

        Args:
            usual: The tier without load, or `auto`.
            floor: Least share of the macro-recall of `base` that is expected of a point, 0 to 1.
            threads: Batches classified at the same time.
            deadline_s: Time in which what waits is to be classified.
            clock: Monotonic, in seconds.
        """
        self._usual, self._floor, self._threads, self._deadline_s, self._clock = usual, floor, threads, deadline_s, clock
        self._lock = threading.Lock()
        self._model: HasPoints | None = None
        self._points: list[OperatingPoint] = []
        self._seconds: dict[str, float] = {}
        """By name of the point: seconds of a thread per text, measured."""
        self._chosen = 0
        self._updated_at: float | None = None
        self._arrived, self._rate = 0, 0.0
        self._room_since: float | None = None
        self._short_at = -math.inf
        self.overloaded = False
        """Whether, within the last `HOLD_S`, even the cheapest point was not enough: texts wait longer and longer."""

    def point_for(self, model: "HasPoints") -> OperatingPoint:
        """Return the point that is chosen now; at first, and for another model, the usual one."""
        with self._lock:
            if model is not self._model:
                points = points_down_to(self._floor, model.point(self._usual), model.points)
                self._model, self._points, self._chosen = model, points, len(points) - 1
                self._seconds, self._room_since = {}, None
            return self._points[self._chosen]

    def record(self, point: OperatingPoint, texts: int, seconds: float) -> None:
        """Record that a thread classified these texts at a point in this time."""
        with self._lock:
            before = self._seconds.get(point.name)
            if not texts or (before is not None and texts < MIN_TEXTS):
                return
            each = seconds / texts
            self._seconds[point.name] = each if before is None else (1 - _WEIGHT) * before + _WEIGHT * each

    def most_texts(self, most: int) -> int:
        """Return how many texts a batch may have, at most `most`, so that a new choice soon applies."""
        with self._lock:
            seconds = self._seconds.get(self._points[self._chosen].name) if self._points else None
        return most if not seconds else max(1, min(most, max(MIN_TEXTS, int(BATCH_SHARE * self._deadline_s / seconds))))

    def due(self) -> bool:
        """Whether it is time for `update`."""
        return self._updated_at is None or self._clock() - self._updated_at >= TICK_S

    def update(self, waiting: int, arrived: int) -> None:
        """Choose again.

        Args:
            waiting: Texts that are not classified yet.
            arrived: Texts that arrived so far, since any moment; it never falls.
        """
        with self._lock:
            now, before = self._clock(), self._updated_at
            passed = 0.0 if before is None else now - before
            if passed:
                self._rate += (1 - math.exp(-passed / RATE_S)) * ((arrived - self._arrived) / passed - self._rate)
            self._updated_at, self._arrived = now, arrived
            if self._points:
                self._choose(self._rate + waiting / self._deadline_s, now if before is None else before, now)

    def _choose(self, needed: float, before: float, now: float) -> None:
        enough, with_room = (self._most_accurate(needed, share) for share in (ENOUGH, ROOM))
        if enough is None:
            self._short_at = now
        self.overloaded = now - self._short_at < HOLD_S
        if enough is None or enough < self._chosen:
            self._chosen, self._room_since = enough or 0, None
        elif with_room is None or with_room <= self._chosen:
            self._room_since = None
        else:
            self._room_since = before if self._room_since is None else self._room_since
            if now - self._room_since >= HOLD_S:
                self._chosen, self._room_since = with_room, None

    def _most_accurate(self, needed: float, share: float) -> int | None:
        """Return the most accurate point of which this share of the capacity is at least `needed` texts a second."""
        return next((k for k in reversed(range(len(self._points))) if self._capacity(k) * share >= needed), None)

    def _capacity(self, index: int) -> float:
        """Return texts per second at a point; without limit where nothing was measured."""
        measured = [k for k, point in enumerate(self._points) if point.name in self._seconds]
        if not measured:
            return math.inf
        near = min(measured, key=lambda k: abs(k - index))
        seconds = self._seconds[self._points[near].name] * _cost(self._points[index]) / _cost(self._points[near])
        return self._threads / max(seconds, 1e-9)


def _cost(point: OperatingPoint) -> float:
    return (point.cpu_us or 0.0) + OUTSIDE_US
