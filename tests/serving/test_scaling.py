"""When a worker is added, kept, taken back and dropped, on a topic that is only simulated."""

from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.streaming.scaling import CALM_S, HOLD_S, SETTLE_S, TRIAL_LIMIT_S, UP_AFTER_S, Decision, Load, Scaler

START_S = 6  # a worker loads its model


class Topic:
    """A topic, and workers that do what `capacity` says so many of them do in a second."""

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
        """A second in which just this was measured."""
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


def _share(processors: int) -> Callable[[int], float]:
    """A hundred messages a second for each processor: workers beyond them add nothing."""
    return lambda workers: 100.0 * min(workers, processors)


def test_helping_workers_are_added_up_to_the_most():
    topic = Topic(_share(8)).run(120, 1_000)
    assert [target for _, target in topic.changes] == [2, 3, 4]
    assert topic.changes[-1][0] < 4 * (SETTLE_S + START_S) and "no more than 4" in topic.last.reason


def test_a_worker_is_added_for_the_time_to_drain_long_before_the_number_of_messages():
    topic = Topic(lambda workers: 5.0 * workers)
    topic.lag = 300  # a minute of work
    while topic.target == 1 and topic.now < 20:
        topic.second(4)
    assert topic.target == 2 and topic.last.reason.endswith("s of work") and topic.lag < 1_000


def test_messages_that_nobody_commits_ask_for_a_worker_by_their_number():
    topic = Topic(lambda workers: 0.0).run(60, 10)
    assert topic.target == 1, "600 messages and no rate: no drain time to speak of"
    assert topic.run(60, 10).changes, "more than the limit"


def test_a_short_peak_adds_nobody():
    topic = Topic(_share(1))
    for second in range(200):
        topic.seen(5_000 if second % 5 else 0, 100)
    assert not topic.changes


def test_a_worker_that_does_not_help_is_taken_back_and_not_tried_again_soon():
    topic = Topic(_share(1)).run(int(HOLD_S), 1_000)
    (added, _), (taken_back, target) = topic.changes
    assert target == 1 and taken_back - added == pytest.approx(START_S + SETTLE_S, abs=2)
    assert "did not help" in topic.last.reason
    topic.run(3_600, 1_000)
    tries = [at for at, target in topic.changes if target == 2]
    waits = [after - before for before, after in pairwise(tries)]
    assert waits == sorted(waits) and waits[1] == pytest.approx(2 * waits[0], rel=0.1) and len(tries) <= 5


def test_more_partitions_are_another_situation():
    topic = Topic(_share(1)).run(60, 1_000)
    assert topic.target == 1 and len(topic.changes) == 2
    topic.partitions, topic.capacity = 24, _share(2)
    topic.run(60, 1_000)
    assert topic.target == 2


def test_a_worker_that_does_not_come_up_is_taken_back():
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


def test_calm_drops_one_worker_after_the_other_but_not_below_what_the_load_needs():
    topic = Topic(_share(8)).run(120, 1_000)
    while topic.lag:
        topic.second(150)
    drained = topic.now
    topic.run(600, 150)
    assert [target for at, target in topic.changes if at >= drained] == [3, 2], "150 messages/s are more than one can do"
    first, second = (at for at, _ in topic.changes if at >= drained)
    assert first - drained >= CALM_S and second - first >= CALM_S
    assert topic.run(int(CALM_S) + 15, 20).target == 1


def test_a_gap_in_the_measuring_forgets_what_was_before():
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
    """Above half the limit it is never calm: workers are only added, or tried and taken back."""
    topic = Topic(_share(8))
    for lag in lags:
        topic.seen(lag, 100)
    assert len(topic.changes) <= 3 + 2 * (1 + len(lags) / HOLD_S)


@settings(deadline=None, max_examples=60)
@given(
    seconds=st.lists(st.tuples(st.integers(0, 20_000), st.floats(0, 500), st.integers(0, 8), st.integers(1, 9)), max_size=600),
    max_workers=st.integers(1, 6),
)
def test_whatever_is_measured_it_stays_in_bounds_and_takes_its_time(seconds, max_workers):
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
@given(
    processors=st.integers(1, 4), arriving=st.floats(0, 390), noise=st.lists(st.floats(0.5, 1.5), min_size=1_500, max_size=1_500)
)
def test_a_steady_load_finds_a_number_of_workers_and_keeps_it(processors, arriving, noise):
    topic = Topic(_share(processors))
    for factor in noise:
        topic.second(arriving * factor)
    late = [at for at, _ in topic.changes if at > 700]
    assert len(late) <= 4, "two tries at most of a worker that does not help"
