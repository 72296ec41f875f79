"""Rates from samples, what a lag threshold asks for, when a burst is over: the pure part."""

import math
from collections.abc import Iterable, Sequence
from itertools import pairwise

DOWN_AFTER_S = 30.0
"""The lag threshold's workers go only when so long fewer were asked for (Kubernetes waits 300 s by default)."""


def steady_rate(samples: Sequence[tuple[float, int]]) -> float:
    """Messages a second, from the first to the last change of a counter that moves in steps; NaN where it moved less than twice.

    Offsets are committed a block at a time: a window that begins and ends anywhere would be wrong by up to a block at each end.

    Args:
        samples: Time in seconds and the counter, in order.
    """
    changes = [now for before, now in pairwise(samples) if now[1] != before[1]]
    if len(changes) < 2:
        return math.nan
    (start, low), (end, high) = changes[0], changes[-1]
    return (high - low) / (end - start)


def wanted_by_lag(lag: int, *, per_worker: int, most: int) -> int:
    """Workers that a bare lag threshold asks for, as KEDA does: one for each `per_worker` messages, 1 to `most`."""
    return min(most, max(1, math.ceil(lag / per_worker)))


class Threshold:
    """Up at once, down when for `DOWN_AFTER_S` never more were asked for."""

    def __init__(self, *, per_worker: int = 1_000, most: int = 8) -> None:
        self._per_worker, self._most = per_worker, most
        self._asked: list[tuple[float, int]] = []

    def workers(self, now: float, lag: int) -> int:
        """How many there should be.

        Args:
            now: Seconds, never less than at the call before.
            lag: Messages that wait.
        """
        self._asked = [(at, count) for at, count in self._asked if now - at < DOWN_AFTER_S]
        self._asked.append((now, wanted_by_lag(lag, per_worker=self._per_worker, most=self._most)))
        return max(count for _, count in self._asked)


def drained_at(samples: Iterable[tuple[float, int]], calm: int) -> float:
    """When the backlog of a burst was gone: the first time after its peak that it is `calm` or less. NaN where it never was.

    Args:
        samples: Seconds after the burst and the lag, in order.
        calm: Messages that are on their way also without a burst.
    """
    known = list(samples)
    if not known:
        return math.nan
    peak = max(range(len(known)), key=lambda index: known[index][1])
    return next((at for at, lag in known[peak:] if lag <= calm), math.nan)


def worker_seconds(samples: Sequence[tuple[float, int]], until: float) -> float:
    """Workers times seconds from 0 to `until`, each count as of its sample."""
    total = 0.0
    for (start, count), (end, _) in zip(samples, [*samples[1:], (until, 0)], strict=True):
        total += count * max(0.0, min(end, until) - max(0.0, start))
    return total


def changes(states: Iterable[object]) -> int:
    """How often a state differs from the one before it."""
    known = list(states)
    return sum(one != other for one, other in pairwise(known))
