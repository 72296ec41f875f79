"""Decides how many workers should run: a pure decision, made each second, with the clock given by the caller.

A worker is added when the backlog stays over a limit. It is then on trial: if throughput does not rise by a tenth while the
backlog lasts, the worker is removed and tried again only much later. A worker is also removed after a minute of low load, if one
fewer is enough.
"""

from collections import deque
from dataclasses import dataclass

UP_AFTER_S = 5.0
"""A worker is added after the backlog was over a limit for this time: one slow block is no backlog."""
SETTLE_S = 15.0
"""The effect of a new number of workers is measured over this time, and nothing else is changed meanwhile."""
TRIAL_LIMIT_S = 75.0
"""An added worker that has not been up for `SETTLE_S` by then is removed: loading the model takes 5 to 10 s."""
GAIN = 1.1
"""An added worker has to raise the rate by this factor. Below that, it shares the CPUs of the others instead of adding some."""
HOLD_S, HOLD_MOST_S = 300.0, 3600.0
"""Time before a worker that did not help is tried again; twice as long each further time."""
CALM_S = 60.0
"""A worker is removed after low load for this time."""
HEADROOM = 1.2
"""Capacity that the remaining workers need, as a multiple of the present rate."""
WINDOW_S = 10.0
"""The rate is a mean over this time."""


@dataclass(frozen=True)
class Load:
    """The measurements of one second."""

    lag: int
    """Messages in the topic that are not committed."""
    committed: int
    """Messages committed so far, as a sum of offsets: only differences count."""
    running: int
    """Workers that process messages, including those that are leaving; not those that load their model or wait."""
    partitions: int
    """Of the topic. A worker more than these would have nothing to read."""


@dataclass(frozen=True)
class Decision:
    """The number of workers that should run, and the reason."""

    target: int
    reason: str


@dataclass(frozen=True)
class _Mark:
    """The number of committed messages at a time; two of them give a mean rate."""

    at: float
    committed: int

    def rate_until(self, now: float, committed: int) -> float:
        return max(0.0, committed - self.committed) / (now - self.at) if now > self.at else 0.0


@dataclass(frozen=True)
class _Refusal:
    """A worker that did not help: its number, the number of partitions, and the time before it is tried again."""

    workers: int
    partitions: int
    until: float
    hold_s: float


class Scaler:
    """Decides how many workers should run.

    Args:
        max_workers: Largest number of workers; the smallest is one.
        drain_limit_s: A worker is added when the backlog takes longer than this at the present rate,
        lag_limit: or when it has more messages than this. A worker is removed only below half of both.
    """

    def __init__(self, *, max_workers: int, drain_limit_s: float = 30.0, lag_limit: int = 1_000) -> None:
        self.max_workers = max_workers
        self.drain_limit_s = drain_limit_s
        self.lag_limit = lag_limit
        self.rate = 0.0
        """Messages committed a second, over the last `WINDOW_S`."""
        self._target = 1
        self._samples: deque[_Mark] = deque()
        self._changed_at: float | None = None
        self._steady: _Mark | None = None  # since when the target number of workers runs
        self._pressed: _Mark | None = None  # since when the backlog is over a limit, with the target number of workers
        self._calm_since: float | None = None
        self._before: float | None = None  # the rate before the worker on trial; None: no trial
        self._capacity: dict[int, float] = {}  # by number of workers: their rate when there was a backlog
        self._refusal: _Refusal | None = None

    def decide(self, now: float, load: Load) -> Decision:
        """Return the number of workers from now on.

        Args:
            now: Seconds on any monotonic clock. After a gap of more than `WINDOW_S` (the broker was unavailable), earlier
                measurements are dropped and the workers get time to settle.
            load: The present measurements.
        """
        self._measure(now, load)
        pressed, calm = self._is_pressed(load), self._is_calm(load)
        self._pressed = (self._pressed or self._samples[-1]) if pressed and self._steady else None
        self._calm_since = (self._calm_since or now) if calm else None
        if self._pressed and now - self._pressed.at >= UP_AFTER_S:
            self._capacity[self._target] = self._pressed.rate_until(now, load.committed)

        if self._changed_at is not None and now - self._changed_at < SETTLE_S:
            return Decision(self._target, "a change settles")
        if self._before is not None:
            return self._evaluate_trial(now, load, pressed, self._before)
        most = max(1, min(self.max_workers, load.partitions))
        if self._target > most:
            return self._change(now, self._target - 1, f"more workers than {load.partitions} partitions have nothing to read")
        if self._pressed and now - self._pressed.at >= UP_AFTER_S:
            return self._add(now, load, most)
        if self._calm_since is not None and now - self._calm_since >= CALM_S:
            return self._change(now, self._target - 1, f"low load: one worker fewer is enough for {self.rate:,.0f} messages/s")
        return Decision(self._target, f"{load.lag:,} messages are over a limit" if pressed else "within the limits")

    def _measure(self, now: float, load: Load) -> None:
        if self._samples and now - self._samples[-1].at > WINDOW_S:
            self._samples.clear()
            self._steady = self._pressed = self._calm_since = None
            self._changed_at = now
        self._samples.append(_Mark(now, load.committed))
        while now - self._samples[0].at > WINDOW_S:
            self._samples.popleft()
        self.rate = self._samples[0].rate_until(now, load.committed)
        self._steady = (self._steady or self._samples[-1]) if load.running == self._target else None

    def _is_pressed(self, load: Load) -> bool:
        # Without a rate there is no drain time: then the number of messages decides.
        return load.lag > self.lag_limit or (self.rate > 0 and load.lag / self.rate > self.drain_limit_s)

    def _is_calm(self, load: Load) -> bool:
        below = load.lag < self.lag_limit / 2 and load.lag <= self.rate * self.drain_limit_s / 2
        return below and self._target > 1 and self.rate * HEADROOM <= self._capacity.get(self._target - 1, 0.0)

    def _add(self, now: float, load: Load, most: int) -> Decision:
        wanted, refusal = self._target + 1, self._refusal
        if wanted > most:
            return Decision(self._target, f"{load.lag:,} messages wait, and no more than {most} workers are possible")
        # Another number of partitions, or fewer workers than were tried, is another situation.
        if refusal and refusal.partitions == load.partitions and wanted >= refusal.workers and now < refusal.until:
            return Decision(self._target, f"worker {refusal.workers} did not help; tried again in {refusal.until - now:,.0f} s")
        self._before = self._capacity[self._target]
        drain = f", {load.lag / self.rate:,.0f} s of work" if self.rate > 0 else ""
        return self._change(now, wanted, f"{load.lag:,} messages wait{drain}")

    def _evaluate_trial(self, now: float, load: Load, pressed: bool, before: float) -> Decision:
        changed_at = self._changed_at or now
        if self._steady and now - self._steady.at >= SETTLE_S:
            self._before = None
            rate = self._steady.rate_until(now, load.committed)
            if not pressed or rate >= GAIN * before > 0:
                self._refusal = None if pressed else self._refusal  # the gain is known only while there is a backlog
                return Decision(self._target, f"from {before:,.0f} to {rate:,.0f} messages/s with worker {self._target}")
            return self._remove_again(now, load, f"only from {before:,.0f} to {rate:,.0f} messages/s with worker {self._target}")
        if now - changed_at >= TRIAL_LIMIT_S:
            self._before = None
            return self._remove_again(now, load, f"worker {self._target} does not stay up")
        return Decision(self._target, f"worker {self._target} is on trial")

    def _remove_again(self, now: float, load: Load, reason: str) -> Decision:
        last = self._refusal
        again = last and (last.workers, last.partitions) == (self._target, load.partitions)
        hold_s = min(HOLD_MOST_S, 2 * last.hold_s) if last and again else HOLD_S
        self._refusal = _Refusal(self._target, load.partitions, now + hold_s, hold_s)
        return self._change(now, self._target - 1, reason)

    def _change(self, now: float, target: int, reason: str) -> Decision:
        self._target, self._changed_at = target, now
        self._steady = self._pressed = self._calm_since = None
        return Decision(target, reason)
