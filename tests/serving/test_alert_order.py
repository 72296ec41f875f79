"""The baseline is the same in any order of arrival, and an alert is published at most five seconds later."""

from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from serving.settings import AlertSettings
from serving.streaming.alerts import service as alerts_module
from serving.streaming.alerts.detector import BLOCK_S
from serving.streaming.alerts.service import POLL_S, SETTLE_S, Alerts
from tests.serving.fake_warehouse import FakeWarehouse

pytestmark = pytest.mark.slow

T0 = 1_700_000_010 // 60 * 60
"""When alerts start. Messages dated before are history, and arrive from then on."""
HISTORY_S, LIVE_S, SHIFT_S = 900, 210, 30
SOURCES = {"support": 6.0, "tweets": 3.0}
SLOWEST_S = 5.0
PHASES = (Phase.explicit, Phase.reuse, Phase.generate)
"""Without shrinking, which takes minutes."""


class Clock:
    def __init__(self):
        self.now = float(T0)

    def __call__(self):
        return self.now


@dataclass
class Story:
    """The messages, and the second at which support becomes angry."""

    seed: int
    partitions: int
    shift_at: int
    by_partition: bool = False
    """Whether partitions differ in sentiment, as where the key is the author."""
    messages: list = field(default_factory=list)

    def __post_init__(self):
        chance = np.random.default_rng(self.seed)
        offsets = [0] * self.partitions
        for second in range(T0 - HISTORY_S, T0 + LIVE_S):
            for source, rate in SOURCES.items():
                angry = source == "support" and T0 + self.shift_at <= second < T0 + self.shift_at + SHIFT_S
                for _ in range(chance.poisson(rate * (3 if angry else 1))):
                    partition = int(chance.integers(self.partitions))
                    mood = (0.5 if partition % 2 else -0.5) if self.by_partition else 0.0
                    score = -0.9 if angry and chance.random() < 0.8 else float(np.clip(chance.normal(mood, 0.4), -1, 1))
                    self.messages.append((second, source, partition, offsets[partition], score))
                    offsets[partition] += 1


@dataclass
class Delivery:
    """The order of arrival: blocks of history, one partition after the other or mixed, then live messages with delays."""

    order: list = field(default_factory=list)
    """Of the partitions; None: in order of time, all at once."""
    pieces: int = 3
    """Blocks of each partition's history."""
    pause: float = 1.0
    """Between two blocks."""
    mixed: int | None = None
    """Seed of the order of the blocks; None: partition by partition."""
    delays: list = field(default_factory=list)
    """Of the live messages, by partition; less than the lateness is in order."""
    late_block: tuple | None = None
    """Partition, and for how long its live messages are held back from the start on."""
    restarts: list = field(default_factory=list)
    again: bool = False
    """Deliver everything twice."""


def schedule(story, how):
    """Return blocks of (time, messages) in order."""
    past = [[m for m in story.messages if m[0] < T0 and m[2] == p] for p in range(story.partitions)]
    blocks = []
    if how.order:
        pieces = []
        for p in how.order:
            size = max(1, -(-len(past[p]) // how.pieces))
            pieces.append([past[p][at : at + size] for at in range(0, len(past[p]), size)])
        if how.mixed is None:
            ordered = [(block, p) for p, list_ in zip(how.order, pieces, strict=True) for block in list_]
        else:  # each partition's own blocks stay in order
            chance, left = np.random.default_rng(how.mixed), [list(list_) for list_ in pieces]
            ordered = []
            while any(left):
                at = int(chance.choice([at for at, list_ in enumerate(left) if list_]))
                ordered.append((left[at].pop(0), how.order[at]))
        done = {}
        for number, (block, p) in enumerate(ordered):
            done[p] = T0 + how.pause * number
            blocks.append((done[p], block))
    else:
        done = {}
        blocks.append((T0, [m for m in story.messages if m[0] < T0]))
    live = {}
    for message in story.messages:
        second, _, p, *_ = message
        if second < T0:
            continue
        delay = how.delays[p] if how.delays else 0.0
        at = max(second + 0.5 + delay, done.get(p, T0) + 0.1)
        if how.late_block and how.late_block[0] == p:
            at = max(at, T0 + how.late_block[1])
        live.setdefault((round(at / POLL_S) * POLL_S, p), []).append(message)
    blocks += [(at, messages) for (at, _), messages in live.items()]
    blocks.sort(key=lambda block: block[0])
    if how.again:
        blocks = sorted(blocks + [(at + 4.0, messages) for at, messages in blocks], key=lambda block: block[0])
    return blocks


@dataclass
class Published:
    at: float
    alert: object


def play(story, how):
    """Deliver the story; return the alerts with their times, the warehouse, the watches, and when each second was complete."""
    clock, published = Clock(), []
    warehouse = FakeWarehouse(clock)
    blocks = schedule(story, how)
    arrived = {}
    for at, block in blocks:
        for message in block:
            arrived.setdefault(message[2:4], (at, message[0]))
    complete = {}
    for at, second in arrived.values():
        complete[second] = max(complete.get(second, 0), at)
    end = max(T0 + LIVE_S, blocks[-1][0]) + 10
    restarts = sorted(T0 + at for at in how.restarts)
    state = {}  # instead of a file: hundreds of small synced files take minutes
    with (
        patch.object(alerts_module, "write_json", lambda _, value: state.update(value)),
        patch.object(alerts_module, "read_json", lambda _: dict(state)),
    ):

        def start():
            return Alerts(Path("none"), AlertSettings(), lambda alert: published.append(Published(clock.now, alert)), clock)

        alerts = start()
        alerts.poll(warehouse)
        while clock.now < end:
            clock.now += POLL_S
            while blocks and blocks[0][0] <= clock.now:
                warehouse.write(blocks.pop(0)[1])
            if restarts and restarts[0] <= clock.now:  # killed: nothing is saved on the way out
                restarts.pop(0)
                alerts = start()
            alerts.poll(warehouse)
        watches = {name: source.watch for name, source in alerts._sources.items()}
    return published, warehouse, watches, complete


@cache
def in_order(*story):
    """Play a story whose messages arrive at once."""
    return play(Story(*story), Delivery())


def check(story, how):
    """Check for the same baseline and the same alert, in time."""
    expected, reference, watches, _ = in_order(story.seed, story.partitions, story.shift_at, story.by_partition)
    published, warehouse, found, complete = play(story, how)
    shift = T0 + story.shift_at
    assert [(one.alert.source, one.alert.direction, one.alert.revision) for one in expected] == [
        ("support", "down", 1),
        ("support", "down", 2),
    ]
    assert 0 <= expected[0].alert.detected_at.timestamp() - shift <= 20
    for name, watch in watches.items():
        mine = found[name].seconds
        begin = max(mine.start, watch.seconds.start)
        part = slice(begin - watch.seconds.start, None)
        assert np.allclose(mine.count[begin - mine.start :], watch.seconds.count[part])
        assert np.allclose(mine.total[begin - mine.start :], watch.seconds.total[part])
        before = slice(T0 - HISTORY_S, shift - BLOCK_S)  # the seconds of an alert are left out, and its start is an estimate
        normal, other = (each.normals(before.start, before.stop) for each in (found[name], watch))
        assert len(other) >= 9 and np.allclose(normal, other)
    assert [(one.alert.source, one.alert.direction, one.alert.revision) for one in published] == [
        ("support", "down", 1),
        ("support", "down", 2),
    ]
    for mine, other in zip(published, expected, strict=True):
        last = int((other.alert.closed_at or other.alert.detected_at).timestamp())
        there = max(at for second, at in complete.items() if second < last)
        assert mine.at <= max(other.at, there) + 5, "five seconds after it could be known"
    assert abs(published[0].alert.started_at.timestamp() - shift) <= 20
    if max(at for second, at in complete.items() if second < shift) < published[0].at - SETTLE_S:  # recorded for the charts, too
        for key, row in reference.normals.items():
            if key[1] < shift:
                values = [row[name] for name in ("mean", "variance", "drift", "threshold")]
                recorded = [warehouse.normals[key][name] for name in ("mean", "variance", "drift", "threshold")]
                assert recorded == pytest.approx(values)


deliveries = st.builds(
    Delivery,
    order=st.permutations(range(3)),
    pieces=st.integers(1, 4),
    pause=st.sampled_from([0.5, 1.0, 2.5, 4.0]),
    mixed=st.none() | st.integers(0, 99),
    delays=st.lists(st.floats(0, SLOWEST_S), min_size=3, max_size=3),
    late_block=st.none() | st.tuples(st.integers(0, 2), st.integers(5, 120)),
    restarts=st.lists(st.floats(1, LIVE_S), max_size=2),
    again=st.booleans(),
)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow], phases=PHASES)
@given(st.integers(0, 2), st.sampled_from([43, 56]), deliveries)
@example(0, 43, Delivery(order=[0, 1, 2], pieces=2, pause=4.0))
@example(1, 43, Delivery(order=[2, 1, 0], mixed=7, restarts=[3.0, 50.0], again=True))
@example(2, 43, Delivery(order=[0, 1, 2], late_block=(1, 55)))
def test_the_same_rows_in_any_order_give_the_same_baseline_and_the_alert_in_time(seed, shift_at, how):
    check(Story(seed, 3, shift_at), how)


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow], phases=PHASES)
@given(st.integers(0, 2), st.permutations(range(4)), st.none() | st.integers(0, 99), st.integers(1, 5))
@example(0, [0, 1, 2, 3], None, 3)
@example(1, [3, 1, 0, 2], None, 4)
def test_partitions_of_different_mood_that_catch_up_one_by_one_raise_no_alert(seed, order, mixed, pieces):
    pause = min(1.5, 30 / (4 * pieces))
    assert pause < SETTLE_S
    check(Story(seed, 4, 70, by_partition=True), Delivery(order=list(order), pieces=pieces, pause=pause, mixed=mixed))
