"""When a worker is added, kept and removed, on a simulated topic."""

from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.streaming.supervisor.scaling import CALM_S, HOLD_S, SETTLE_S, TRIAL_LIMIT_S, UP_AFTER_S, Decision, Load, Scaler

START_S = 6  # a worker loads its model


class Topic:
    """A topic and workers; `capacity` gives the messages a second of a number of workers."""

    def __init__(self, capacity: Callable[[int], float], *, max_workers: int = 4, partitions: int = 12) -> None:
        self.scaler = Scaler(max_workers=max_workers)
        self.capacity, self.partitions = capacity, partitions
        self.now, self.lag, self.committed = 0, 0.0, 0.0
        self.target = 1
        self.up_at = [0]
        self.changes: list[tuple[int, int]] = []
        self.last = Decision(1, "")

    def second(self, arriving: float) -> None:
        running = sum(at <= self.now for at in self.up_at)
        done = min(self.lag + arriving, self.capacity(running))
        self.lag += arriving - done
        self.committed += done
        self._decide(int(self.lag), running)

    def seen(self, lag: int, rate: float) -> None:
        """Simulate a second with these measurements."""
        self.committed += rate
        self._decide(lag, sum(at <= self.now for at in self.up_at))

    def _decide(self, lag: int, running: int) -> None:
        self.last = self.scaler.decide(self.now, Load(lag, int(self.committed), running, self.partitions))
        if self.last.target != self.target:
            self.changes.append((self.now, self.last.target))
            self.up_at += [self.now + START_S] * (self.last.target - self.target)
            del self.up_at[self.last.target :]
            self.target = self.last.target
        self.now += 1

    def run(self, seconds: int, arriving: float) -> "Topic":
        for _ in range(seconds):
            self.second(arriving)
        return self


def _share(cpus: int) -> Callable[[int], float]:
    """A hundred messages a second for each CPU; more workers than CPUs add nothing."""
    return lambda workers: 100.0 * min(workers, cpus)


def test_workers_are_added_up_to_the_limit():
    topic = Topic(_share(8)).run(120, 1_000)
    assert [target for _, target in topic.changes] == [2, 3, 4]
    assert topic.changes[-1][0] < 4 * (SETTLE_S + START_S) and "no more than 4" in topic.last.reason


def test_a_worker_is_added_for_the_time_to_drain_long_before_the_number_of_messages():
    topic = Topic(lambda workers: 5.0 * workers)
    topic.lag = 300  # a minute of work
    while topic.target == 1 and topic.now < 20:
        topic.second(4)
    assert topic.target == 2 and topic.last.reason.endswith("s of work") and topic.lag < 1_000


def test_worker_is_added_for_many_messages_when_none_is_committed():
    topic = Topic(lambda workers: 0.0).run(60, 10)
    assert topic.target == 1, "600 messages and no rate: no drain time to speak of"
    assert topic.run(60, 10).changes, "more than the limit"


def test_short_peak_adds_no_worker():
    topic = Topic(_share(1))
    for second in range(200):
        topic.seen(5_000 if second % 5 else 0, 100)
    assert not topic.changes


def test_worker_that_does_not_help_is_removed_and_not_tried_again_soon():
    topic = Topic(_share(1)).run(int(HOLD_S), 1_000)
    (added, _), (taken_back, target) = topic.changes
    assert target == 1 and taken_back - added == pytest.approx(START_S + SETTLE_S, abs=2)
    assert "did not help" in topic.last.reason
    topic.run(3_600, 1_000)
    tries = [at for at, target in topic.changes if target == 2]
    waits = [after - before for before, after in pairwise(tries)]
    assert waits == sorted(waits) and waits[1] == pytest.approx(2 * waits[0], rel=0.1) and len(tries) <= 5


def test_worker_is_tried_again_after_partitions_were_added():
    topic = Topic(_share(1)).run(60, 1_000)
    assert topic.target == 1 and len(topic.changes) == 2
    topic.partitions, topic.capacity = 24, _share(2)
    topic.run(60, 1_000)
    assert topic.target == 2


def test_worker_that_does_not_start_is_removed():
    topic = Topic(_share(4))
    for _ in range(120):
        topic.up_at[1:] = [10**9] * (topic.target - 1)
        topic.second(1_000)
    (added, _), (taken_back, target) = topic.changes
    assert target == 1 and taken_back - added == TRIAL_LIMIT_S and "does not stay up" not in topic.last.reason


def test_no_more_workers_than_partitions():
    topic = Topic(_share(8), partitions=2).run(200, 1_000)
    assert topic.target == 2
    topic.partitions = 1
    assert topic.run(30, 1_000).target == 1


def test_low_load_removes_workers_one_by_one_but_not_more_than_the_load_allows():
    topic = Topic(_share(8)).run(120, 1_000)
    while topic.lag:
        topic.second(150)
    drained = topic.now
    topic.run(600, 150)
    assert [target for at, target in topic.changes if at >= drained] == [3, 2], "150 messages/s are more than one can do"
    first, second = (at for at, _ in topic.changes if at >= drained)
    assert first - drained >= CALM_S and second - first >= CALM_S
    assert topic.run(int(CALM_S) + 15, 20).target == 1


def test_gap_in_the_measurements_drops_earlier_ones():
    topic = Topic(_share(8)).run(int(UP_AFTER_S), 1_000)
    topic.now += 60
    topic.second(1_000)
    assert topic.target == 1 and topic.scaler.rate == 0
    topic.run(int(SETTLE_S) + 3, 1_000)
    assert topic.target == 2


_LAGS = st.lists(st.integers(501, 5_000), min_size=300, max_size=900)


@settings(deadline=None, max_examples=60)
@given(lags=_LAGS)
def test_noise_around_the_limit_does_not_make_it_flap(lags):
    """Above half the limit the load is never low: workers are only added, or tried and removed."""
    topic = Topic(_share(8))
    for lag in lags:
        topic.seen(lag, 100)
    assert len(topic.changes) <= 3 + 2 * (1 + len(lags) / HOLD_S)


@settings(deadline=None, max_examples=60)
@given(
    seconds=st.lists(st.tuples(st.integers(0, 20_000), st.floats(0, 500), st.integers(0, 8), st.integers(1, 9)), max_size=600),
    max_workers=st.integers(1, 6),
)
def test_target_stays_in_bounds_and_changes_slowly_for_any_measurements(seconds, max_workers):
    scaler, committed, targets = Scaler(max_workers=max_workers), 0.0, [1]
    for now, (lag, rate, running, partitions) in enumerate(seconds):
        committed += rate
        decision = scaler.decide(now, Load(lag, int(committed), running, partitions))
        targets.append(decision.target)
        assert 1 <= decision.target <= max_workers and decision.reason
    changed = [at for at, (before, after) in enumerate(pairwise(targets)) if before != after]
    assert all(abs(after - before) <= 1 for before, after in pairwise(targets))
    assert all(later - earlier >= SETTLE_S for earlier, later in pairwise(changed))


@settings(deadline=None, max_examples=40)
@given(cpus=st.integers(1, 4), arriving=st.floats(0, 390), noise=st.lists(st.floats(0.5, 1.5), min_size=1_500, max_size=1_500))
def test_a_steady_load_finds_a_number_of_workers_and_keeps_it(cpus, arriving, noise):
    topic = Topic(_share(cpus))
    for factor in noise:
        topic.second(arriving * factor)
    late = [at for at, _ in topic.changes if at > 700]
    assert len(late) <= 4, "two tries at most of a worker that does not help"
