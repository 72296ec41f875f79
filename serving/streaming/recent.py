"""Quantiles of the durations of the last minute, in bounded memory."""

import math
from collections import Counter, deque
from collections.abc import Iterable, Sequence
from threading import Lock

WINDOW_S = 60
_PER_DECADE = 100
"""Bins of a decade: a quantile is off by 1.2 % at most."""
_LEAST_S = 1e-4


class RecentTimes:
    """Counts durations by second of arrival and by logarithmic bin. Any thread may use it."""

    def __init__(self) -> None:
        self._seconds: deque[tuple[int, Counter[int]]] = deque()
        self._lock = Lock()

    def add(self, now: float, durations_s: Iterable[float]) -> None:
        """Count durations.

        Args:
            now: By a monotonic clock, in seconds.
            durations_s: In seconds, each at least 0.
        """
        bins = Counter(round(_PER_DECADE * math.log10(max(_LEAST_S, each))) for each in durations_s)
        with self._lock:
            if not self._seconds or self._seconds[-1][0] != int(now):
                self._seconds.append((int(now), Counter()))
            self._seconds[-1][1].update(bins)
            self._forget(now)

    def quantiles(self, now: float, shares: Sequence[float]) -> list[float | None]:
        """Return the quantiles of the last `WINDOW_S`, in seconds; each is None where nothing was counted."""
        with self._lock:
            self._forget(now)
            counts: Counter[int] = Counter()
            for _, one in self._seconds:
                counts.update(one)
        return [_quantile(counts, share) for share in shares]

    def _forget(self, now: float) -> None:
        while self._seconds and self._seconds[0][0] <= now - WINDOW_S:
            self._seconds.popleft()


def _quantile(counts: Counter[int], share: float) -> float | None:
    wanted, seen = share * counts.total(), 0
    for index in sorted(counts):
        seen += counts[index]
        if seen >= wanted:
            return 10 ** (index / _PER_DECADE)
    return None
