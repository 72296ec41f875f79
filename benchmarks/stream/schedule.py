"""Rates from samples, the workers a lag threshold asks for, the end of a burst: pure functions."""

import math
from collections.abc import Iterable, Sequence
from itertools import pairwise

import numpy as np

DOWN_AFTER_S = 30.0
"""The lag threshold removes workers only if fewer were needed for this time (Kubernetes: 300 s by default)."""


def steady_rate(samples: Sequence[tuple[float, int]]) -> float:
    """Return messages per second, from the first to the last change of a counter that moves in steps; NaN for under two changes.

    Offsets are committed per block: a window with arbitrary ends would be wrong by up to a block at each end.

    Args:
        samples: Time in seconds and the counter, in order.
    """
    changes = [now for before, now in pairwise(samples) if now[1] != before[1]]
    if len(changes) < 2:
        return math.nan
    (start, low), (end, high) = changes[0], changes[-1]
    return (high - low) / (end - start)


def slope(samples: Sequence[tuple[float, float]]) -> float:
    """Return the slope of the straight line through samples of time and value, by least squares; NaN for fewer than two times."""
    times, values = (np.array([sample[k] for sample in samples], dtype=float) for k in (0, 1))
    if len(set(times.tolist())) < 2:
        return math.nan
    return float(np.polyfit(times - times.mean(), values, 1)[0])


def wanted_by_lag(lag: int, *, per_worker: int, most: int) -> int:
    """Return the workers that a lag threshold such as KEDA's asks for: one per `per_worker` messages, 1 to `most`."""
    return min(most, max(1, math.ceil(lag / per_worker)))


class Threshold:
    """Scales up at once, and down when fewer workers were needed for `DOWN_AFTER_S`."""

    def __init__(self, *, per_worker: int = 1_000, most: int = 8) -> None:
        self._per_worker, self._most = per_worker, most
        self._needed: list[tuple[float, int]] = []

    def workers(self, now: float, lag: int) -> int:
        """Return the number of workers for this lag.

        Args:
            now: Seconds, never less than in the previous call.
            lag: Messages waiting.
        """
        self._needed = [(at, count) for at, count in self._needed if now - at < DOWN_AFTER_S]
        self._needed.append((now, wanted_by_lag(lag, per_worker=self._per_worker, most=self._most)))
        return max(count for _, count in self._needed)


def drained_at(samples: Iterable[tuple[float, int]], calm: int) -> float:
    """Return when the backlog of a burst was gone: the first time after its peak with a lag of at most `calm`; NaN for never.

    Args:
        samples: Seconds after the burst and the lag, in order.
        calm: The lag of the steady load, without a burst.
    """
    known = list(samples)
    if not known:
        return math.nan
    peak = max(range(len(known)), key=lambda index: known[index][1])
    return next((at for at, lag in known[peak:] if lag <= calm), math.nan)


def worker_seconds(samples: Sequence[tuple[float, int]], until: float) -> float:
    """Return workers times seconds from 0 to `until`; each count is valid from its sample on."""
    total = 0.0
    for (start, count), (end, _) in zip(samples, [*samples[1:], (until, 0)], strict=True):
        total += count * max(0.0, min(end, until) - max(0.0, start))
    return total


def changes(states: Iterable[object]) -> int:
    """Count how often a state differs from the one before it."""
    known = list(states)
    return sum(one != other for one, other in pairwise(known))
