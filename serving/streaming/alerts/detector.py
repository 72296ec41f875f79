"""Detects shifts in the sentiment of a source: the mathematics alone, on seconds of (messages, sum of scores, sum of squares).

Live alerts, calibration and benchmark all use `Watch.advance`. In short:

- *Baseline*: the last 120 good blocks of 30 s (an hour, none older than three hours), without those of alerts. m is the median of
  the blocks' means. s² is the median of the variances of a message within a block. t² = max(0, (1.4826 MAD of the blocks' means)²
  - (1 + c) s²/n), where c allows for chance, is slow drift that more messages do not average out (MAD: Rousseeuw and Croux,
  JASA 88, 1993). At least ten blocks are needed.
- *Scan*: for windows of 1 to 120 s that end in a second, z = (mean - m) / sqrt(s²/messages + t² + e²), where e² = π/2 (s²/n +
  t²) / blocks is the variance of the median m itself. An alert opens where the largest |z| reaches the threshold: a
  window-limited scan (Lai, JRSS B 57, 1995), which for a shift of unknown size is nearly as fast as a CUSUM that knows the size.
- *Hysteresis*: the baseline is frozen while an alert is open. The alert closes after 30 s with z of the closing window under half
  the threshold; the closing window is 30 s, or the window that detected the alert where that is longer. No later window reaches
  back before the end, so the return to normal is no second alert. An alert also closes after an hour; its level is then the new
  normal.
- *Late rows*: `Watch.put` returns which seconds changed, and `Watch.revise` evaluates again from there, as far back as a baseline
  reaches but never inside a known alert. The result is that of the complete rows in order, in whatever order they arrived. Rows
  that are later than that are ignored: in the baseline without being evaluated, a shift would make other seconds look shifted.

Scores are -1 to 1; times are whole seconds since 1970.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

BLOCK_S = 30
BASELINE_BLOCKS = 120
LEAST_BLOCKS = 10
"""Five minutes of history; without them there is no alert."""
OLDEST_BLOCKS = 360
KEEP_S = OLDEST_BLOCKS * BLOCK_S
"""Seconds of the past that an evaluation can depend on. Rows up to this late are accepted, and their seconds evaluated again."""
BLOCK_MESSAGES = 10
"""A block with fewer messages has too uncertain a variance and is left out of the baseline."""
WINDOWS_S = (1, 2, 3, 4, 5, 6, 8, 10, 13, 16, 20, 25, 30, 40, 50, 60, 75, 90, 105, 120)
AVERAGE_S = 30
CALM_S = 30
LONGEST_ALERT_S = 3600
_LEAST_VARIANCE = 0.01**2
_LEAST_DRIFT = 0.002**2
"""A tenth of a point: with it, a shift of half a point is never an alert, however many messages show it."""
_CHUNK_S = 21_600
_SAME = 1e-9

POINTS = 50.0
"""Factor and offset from a score to points, the scale for people: 0 (all negative) to 100 (all positive). 10 points are 0.2."""


def points(score: float) -> float:
    """Convert a score (-1 to 1) to points (0 to 100)."""
    return POINTS + POINTS * score


@dataclass(frozen=True)
class Rules:
    """The conditions of an alert."""

    threshold: float
    """Of |z|."""
    min_volume: int = 30
    """Messages that a window needs to be evaluated."""


@dataclass(frozen=True)
class Shift:
    """One alert in the terms of the mathematics."""

    started: int
    """First second of the window with the largest |z|."""
    detected: int
    """The second at whose end it was detected."""
    closed: int | None
    """First second that is normal again; None while it is open."""
    z: float
    """At detection; its sign is the direction."""
    moving_average: float
    """Over the window that detected it."""
    mean: float
    """Of the baseline."""
    std: float
    """Of one message, in the baseline."""
    volume: int
    """Messages in the window."""
    window_s: int
    """Length of the window that detected it."""
    usual_volume: float | None = None
    """Messages that a window of this length usually holds, by the baseline; None: not known (an alert of an earlier version)."""

    @property
    def end_known(self) -> bool:
        """Whether sentiment returned to normal. False for an alert that closed by its age: its level became the baseline."""
        return self.closed is not None and self.closed - self.detected < LONGEST_ALERT_S


class _Baseline(NamedTuple):
    """One value for each block (or one for all); NaN where there is too little history."""

    mean: np.ndarray
    variance: np.ndarray
    drift: np.ndarray
    """t² + e²."""
    volume: np.ndarray
    """Messages of a block."""


@dataclass
class Seconds:
    """Messages, sum and sum of squares of their scores for each second from `start`, which is the first second of a block."""

    start: int
    count: np.ndarray
    total: np.ndarray
    squares: np.ndarray

    @classmethod
    def of(cls, rows: Iterable[tuple[int, float, float, float]]) -> "Seconds":
        """Make it from rows (second, messages, sum, sum of squares); of two rows for one second, the last counts."""
        table = np.array(list(rows), dtype=float).reshape(-1, 4)
        seconds = cls(0, np.zeros(0), np.zeros(0), np.zeros(0))
        if len(table):
            seconds.start = int(table[:, 0].min()) // BLOCK_S * BLOCK_S
            seconds.put(table)
        return seconds

    @property
    def end(self) -> int:
        """The second after the last."""
        return self.start + len(self.count)

    def put(self, table: np.ndarray, oldest: int | None = None) -> np.ndarray:
        """Set rows (second, messages, sum, sum of squares), growing at both ends.

        Args:
            table: Shape (n, 4); each second once. Rows that are not finite are left out.
            oldest: Seconds before it are left out; None: those before `start`.

        Returns:
            The rows that changed something: second and how many messages it gained, shape (k, 2).
        """
        oldest = self.start if oldest is None else min(self.start, max(oldest, self.end - 2 * KEEP_S))
        table = table[(table[:, 0] >= oldest) & np.isfinite(table).all(axis=1)]
        if not len(table):
            return np.zeros((0, 2))
        missing = int(table[:, 0].max()) + 1 - self.end
        if missing > 2 * KEEP_S:  # no evaluation can depend on the old seconds any more
            self.start = int(table[:, 0].max()) // BLOCK_S * BLOCK_S - KEEP_S - LONGEST_ALERT_S
            self.count = self.total = self.squares = np.zeros(0)
            return self.put(table)
        before = max(0, self.start - int(table[:, 0].min()) // BLOCK_S * BLOCK_S)
        if before or missing > 0:
            self.start -= before
            self.count, self.total, self.squares = (
                np.concatenate([np.zeros(before), old, np.zeros(max(0, missing))])
                for old in (self.count, self.total, self.squares)
            )
        at = table[:, 0].astype(int) - self.start
        old = np.stack([self.count[at], self.total[at], self.squares[at]], axis=1)
        self.count[at], self.total[at], self.squares[at] = table[:, 1], table[:, 2], table[:, 3]
        changed = (np.abs(table[:, 1:] - old) > _SAME).any(axis=1)  # sums of floats vary with the order of adding up
        return np.stack([table[changed, 0], table[changed, 1] - old[changed, 0]], axis=1)

    def forget(self, before: int) -> None:
        """Drop whole blocks before a second."""
        cut = min((before - self.start) // BLOCK_S * BLOCK_S, len(self.count))
        if cut > 0:
            self.start += cut
            self.count, self.total, self.squares = self.count[cut:], self.total[cut:], self.squares[cut:]


@dataclass
class Watch:
    """The alerts of one source. `advance` evaluates the seconds in order; `revise` makes it evaluate changed seconds again.

    The result depends only on the seconds and the alerts so far: a watch made again from both continues as the old one would.
    """

    rules: Rules
    seconds: Seconds
    evaluated_to: int
    """Seconds before this one are evaluated."""
    open: Shift | None = None
    past: list[Shift] = field(default_factory=list)
    """Closed alerts of the last three hours; their seconds are left out of the baseline."""
    news_from: int = 0
    """Seconds before it are history: they belong to the baseline and raise no alert."""

    @property
    def oldest(self) -> int:
        """The first second to keep: an evaluation, or the baseline of an open alert, can still depend on it."""
        return self.evaluated_to - LONGEST_ALERT_S - KEEP_S - BLOCK_S

    def put(self, table: np.ndarray) -> np.ndarray:
        """Set rows of seconds, except those that are too late; see `Seconds.put`."""
        return self.seconds.put(table[table[:, 0] >= self.evaluated_to - KEEP_S], self.oldest)

    def revise(self, second: int) -> None:
        """Evaluate again from a second, at most `KEEP_S` back, and not before the end or the detection of an alert."""
        known = [shift.closed or 0 for shift in self.past] + ([self.open.detected + 1] if self.open else [])
        self.evaluated_to = min(self.evaluated_to, max([second, self.evaluated_to - KEEP_S, self.seconds.start, *known]))

    def advance(self, until: int) -> list[Shift]:
        """Evaluate the seconds from `evaluated_to` to `until`; return each alert as it opened and as it closed, in order."""
        changes: list[Shift] = []
        until = min(until, self.seconds.end)
        if self.open is not None and self.open.detected < self.seconds.start:  # after a gap of hours its baseline is gone
            changes += [closed] if (closed := self.close(min(self.evaluated_to, self.open.detected + LONGEST_ALERT_S))) else []
        self.evaluated_to = max(self.evaluated_to, self.seconds.start)
        while self.evaluated_to < until:
            stop = min(until, self.evaluated_to + _CHUNK_S)
            changed = self._first_alarm(stop) if self.open is None else self._close(self.open, stop)
            if changed is None:
                self.evaluated_to = stop
                continue
            changes.append(changed)
        return changes

    def close(self, at: int) -> Shift | None:
        """Close the open alert without an evaluation, as for a source that fell silent."""
        if self.open is None:
            return None
        closed = replace(self.open, closed=at)
        self._settle(closed)
        return closed

    def forget(self) -> None:
        """Drop seconds and alerts that no evaluation depends on any more."""
        self.seconds.forget(self.oldest)
        self.past = [shift for shift in self.past if (shift.closed or 0) >= self.seconds.start]

    def scan(self, first: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
        """Return, for each second of [first, stop), z and length of the window ending with it with the largest |z| (0: none)."""
        baseline = self._baselines(first, stop)
        sums = _Sums(self.seconds, first - max(WINDOWS_S), stop)
        z, length = np.zeros(stop - first), np.zeros(stop - first, dtype=int)
        floor = max((shift.closed or 0 for shift in self.past), default=0)
        for window in WINDOWS_S:
            window_z = _z(*sums.window(window, first, stop), baseline, self.rules.min_volume)
            blind = min(max(floor + window - 1 - first, 0), stop - first)
            window_z[:blind] = 0.0
            better = np.abs(window_z) > np.abs(z)
            z, length = np.where(better, window_z, z), np.where(better, window, length)
        z[: max(0, self.news_from - first)] = 0.0
        return z, length

    def normals(self, first: int, stop: int) -> np.ndarray:
        """Return the baseline at each whole minute of [first, stop): second, mean, variance of one message, drift; shape (n, 4).

        Minutes with too little history are left out. A window of n messages is normal while its mean is within mean ±
        threshold · sqrt(variance / n + drift). While an alert is open the baseline is frozen.
        """
        minutes = np.arange(-(-first // 60) * 60, stop, 60)
        if not len(minutes):
            return np.zeros((0, 4))
        at = minutes.copy()
        for shift in [*self.past, *([self.open] if self.open else [])]:
            frozen = (minutes > shift.detected) & (minutes < (shift.closed or stop))
            at[frozen] = shift.detected
        begin = int(at.min())
        baseline = self._baselines(begin, int(at.max()) + 1)
        table = np.stack([value[at - begin] for value in (baseline.mean, baseline.variance, baseline.drift)], axis=1)
        known = np.isfinite(table).all(axis=1)
        return np.concatenate([minutes[known, None], table[known]], axis=1)

    def _first_alarm(self, stop: int) -> Shift | None:
        first = self.evaluated_to
        z, length = self.scan(first, stop)
        over = np.flatnonzero(np.abs(z) >= self.rules.threshold)
        if not len(over):
            return None
        at = first + int(over[0])
        peak, window = float(z[over[0]]), int(length[over[0]])
        baseline = self._baselines(at, at + 1)
        count, total = (float(value[0]) for value in _Sums(self.seconds, at + 1 - window, at + 1).window(window, at, at + 1))
        self.open = Shift(
            started=self._onset(at, peak, baseline),
            detected=at,
            closed=None,
            z=peak,
            moving_average=total / count,
            mean=float(baseline.mean[0]),
            std=float(np.sqrt(baseline.variance[0])),
            volume=int(count),
            window_s=window,
            usual_volume=round(float(baseline.volume[0]) * window / BLOCK_S, 2),
        )
        self.evaluated_to = at + 1
        return self.open

    def _onset(self, at: int, peak: float, baseline: _Baseline) -> int:
        """Return the most likely start of the shift within the longest window: the one with the largest |z|."""
        floor = max((shift.closed or 0 for shift in self.past), default=0)
        first = max(at + 1 - max(WINDOWS_S), self.seconds.start, floor)
        part = slice(first - self.seconds.start, at + 1 - self.seconds.start)
        count = np.cumsum(self.seconds.count[part][::-1])
        total = np.cumsum(self.seconds.total[part][::-1])
        z = _z(count, total, baseline, self.rules.min_volume) * np.sign(peak)
        return at - int(np.argmax(z))

    def _close(self, shift: Shift, stop: int) -> Shift | None:
        baseline = self._baselines(shift.detected, shift.detected + 1)
        first, last = shift.detected + 1, shift.detected + LONGEST_ALERT_S
        stop = min(stop, last)
        window = max(AVERAGE_S, shift.window_s)
        sums = _Sums(self.seconds, first - window, stop)
        count, total = sums.window(window, first, stop)
        known = count >= self.rules.min_volume
        hot = known & (_z(count, total, baseline, self.rules.min_volume) * np.sign(shift.z) >= self.rules.threshold / 2)
        calm = np.cumsum(known & ~hot)
        since = calm - np.maximum.accumulate(np.where(hot, calm, 0))
        done = np.flatnonzero(since >= CALM_S)
        # Up to `evaluated_to` it is known to have stayed open.
        done = done[done >= self.evaluated_to - first]
        closed = first + int(done[0]) + 1 if len(done) else last if stop == last else None
        if closed is None:
            return None
        settled = replace(shift, closed=closed)
        self._settle(settled)
        self.evaluated_to = max(self.evaluated_to, closed)
        return settled

    def _settle(self, shift: Shift) -> None:
        self.open = None
        self.past.append(shift)

    def _baselines(self, first: int, stop: int) -> _Baseline:
        """Return the baseline of each second of [first, stop), from the blocks that ended before the second's own block began."""
        seconds = self.seconds
        begin = max(0, (first - seconds.start) // BLOCK_S - OLDEST_BLOCKS)
        finish = max((stop - 1 - seconds.start) // BLOCK_S, begin)  # the last block is in no baseline
        part = slice(begin * BLOCK_S, finish * BLOCK_S)
        count, total, squares = (
            values[part].reshape(-1, BLOCK_S).sum(axis=1) for values in (seconds.count, seconds.total, seconds.squares)
        )
        good = count >= BLOCK_MESSAGES
        for shift in self.past:
            if shift.end_known:
                good[
                    max(0, (shift.started - seconds.start) // BLOCK_S - begin) : max(
                        0, -(-((shift.closed or 0) - seconds.start) // BLOCK_S) - begin
                    )
                ] = False
        blocks = (np.arange(first, stop) - seconds.start) // BLOCK_S - begin
        wanted = np.arange(blocks[0], blocks[-1] + 1)
        return _Baseline(*(value[blocks - blocks[0]] for value in _robust(count, total, squares, np.flatnonzero(good), wanted)))


def _robust(
    count: np.ndarray, total: np.ndarray, squares: np.ndarray, good: np.ndarray, wanted: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return the baseline before each wanted block, from the good ones: mean, variance, drift, volume."""
    count = count[good]
    means = total[good] / count
    variances = np.maximum(squares[good] / count - means**2, 0) * count / (count - 1)
    before = np.searchsorted(good, wanted)  # number of good blocks before
    take = before[:, None] - 1 - np.arange(BASELINE_BLOCKS)[None, :]
    valid = take >= 0
    take = np.maximum(take, 0)
    if not len(good):
        nothing = np.full(len(wanted), np.nan)
        return nothing, nothing, nothing, nothing
    valid &= good[take] >= wanted[:, None] - OLDEST_BLOCKS
    size = valid.sum(axis=1)
    mean = _medians(means[take], valid)
    spread = 1.4826 * _medians(np.abs(means[take] - mean[:, None]), valid)
    variance = np.maximum(_medians(variances[take], valid), _LEAST_VARIANCE)
    volume = _medians(count[take], valid)
    with np.errstate(invalid="ignore", divide="ignore"):
        chance = 2.32 / np.sqrt(size)  # relative standard error of a squared MAD, of efficiency 0.37
        drift = np.maximum(spread**2 - (1 + chance) * variance / volume, _LEAST_DRIFT)
        error = np.pi / 2 * (variance / volume + drift) / size
    enough = size >= LEAST_BLOCKS
    return tuple(np.where(enough, value, np.nan) for value in (mean, variance, drift + error, volume))  # type: ignore[return-value]


def _medians(values: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Return the median of each row's valid values; NaN for a row without one."""
    size = valid.sum(axis=1)
    ordered = np.sort(np.where(valid, values, np.inf), axis=1)
    rows = np.arange(len(values))
    low, high = ordered[rows, np.maximum(size - 1, 0) // 2], ordered[rows, np.minimum(size // 2, values.shape[1] - 1)]
    with np.errstate(invalid="ignore"):
        return np.where(size > 0, (low + high) / 2, np.nan)


class _Sums:
    """Sums over windows that end in a second, from running sums."""

    def __init__(self, seconds: Seconds, first: int, stop: int) -> None:
        self._first = max(first, seconds.start)
        part = slice(self._first - seconds.start, stop - seconds.start)
        self._sums = [np.concatenate([[0.0], np.cumsum(values[part])]) for values in (seconds.count, seconds.total)]

    def window(self, length: int, first: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
        """Return messages and sum of scores of the window that ends with each second of [first, stop)."""
        ends = np.arange(first, stop) + 1 - self._first
        starts = np.maximum(ends - length, 0)
        count, total = (sums[ends] - sums[starts] for sums in self._sums)
        return count, total


def _z(count: np.ndarray, total: np.ndarray, baseline: _Baseline, min_volume: int) -> np.ndarray:
    """Return the z of windows; 0 where there are too few messages or too little history."""
    with np.errstate(invalid="ignore", divide="ignore"):
        z = (total / count - baseline.mean) / np.sqrt(baseline.variance / count + baseline.drift)
    return np.where((count >= min_volume) & np.isfinite(z), z, 0.0)
