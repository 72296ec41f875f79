"""Load control: points by load, never below the floor, back at the usual one. A fake clock, no threads."""

import itertools
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.load_control import HOLD_S, MIN_TEXTS, TICK_S, LoadControl
from serving.tiers import OperatingPoint, points_down_to
from tests.serving.stream_fakes import Clock

POINTS = (
    OperatingPoint(tier="table", threshold=0, macro_recall=0.60, cpu_us=150),
    OperatingPoint(tier="small", threshold=0, macro_recall=0.66, cpu_us=450),
    OperatingPoint(tier="small", threshold=0.7, escalated=0.2, macro_recall=0.69, cpu_us=1_450),
    OperatingPoint(tier="base", threshold=0, macro_recall=0.70, cpu_us=4_950),
)
NAMES = [point.name for point in POINTS]


class Model:
    def __init__(self, points=POINTS):
        self.points = points

    def point(self, tier):
        return next((point for point in self.points if point.name == tier), OperatingPoint(tier=tier, threshold=0))


class Stream:
    """Messages that arrive at a rate, and two threads that classify them at the cost of the point, plus 50 µs a message."""

    def __init__(self, floor=0.85, usual="base", slower=1.0, model=None):
        self.clock, self.model, self.slower = Clock(), model or Model(), slower
        self.control = LoadControl(usual, floor, threads=2, deadline_s=1.0, clock=self.clock)
        self.waiting, self.arrived, self.names = 0.0, 0.0, []

    def run(self, seconds, per_s):
        """Let this time pass; returns the names of the points that classified."""
        names = []
        for _ in range(round(seconds / TICK_S)):
            point = self.control.point_for(self.model)
            cost = self.slower * (point.cpu_us + 50) / 1e6
            self.clock.now += TICK_S + 1e-6
            self.arrived += per_s * TICK_S
            self.waiting = max(0.0, self.waiting + per_s * TICK_S - 2 * TICK_S / cost)
            self.control.record(point, MIN_TEXTS, MIN_TEXTS * cost)
            assert self.control.due()
            self.control.update(int(self.waiting), int(self.arrived))
            names.append(point.name)
        return names


def test_without_load_the_usual_point_classifies():
    assert set(Stream().run(10, 300)) == {"base"}
    assert set(Stream(usual="small@0.7").run(10, 300)) == {"small@0.7"}


@pytest.mark.parametrize(("per_s", "expected"), [(300, "base"), (1_000, "small@0.7"), (3_000, "small"), (8_000, "table")])
def test_the_most_accurate_point_that_is_fast_enough_classifies(per_s, expected):
    stream = Stream()
    stream.run(20, per_s)
    assert set(stream.run(10, per_s)) == {expected} and stream.waiting < per_s and not stream.control.overloaded


def test_burst_is_drained_within_seconds_and_the_usual_point_is_back_within_seconds():
    stream = Stream()
    stream.run(5, 100)
    during = stream.run(10, 8_000)
    assert during.index("table") < 1.5 / TICK_S and stream.waiting < 8_000
    after = stream.run(HOLD_S + 4, 100)
    assert after[-1] == "base" and stream.waiting == 0


def test_point_below_the_floor_never_classifies_and_the_overload_is_reported():
    stream = Stream(floor=0.94)
    names = stream.run(20, 8_000)
    assert names[-1] == "small" and "table" not in names and stream.control.overloaded and stream.waiting > 10_000
    stream.run(60, 100)
    assert not stream.control.overloaded and stream.waiting == 0 and stream.control.point_for(stream.model).name == "base"


def test_overload_lasts_until_there_was_none_for_a_while():
    """At the edge of what the floor allows it would be reported ten times a second."""
    stream = Stream(floor=0.94)
    stream.run(20, 8_000)
    stream.waiting = 0
    stream.run(TICK_S, 100)
    assert stream.control.overloaded
    stream.run(HOLD_S + 4, 100)
    assert not stream.control.overloaded


def test_floor_of_one_keeps_base():
    assert set(Stream(floor=1.0).run(10, 8_000)) == {"base"}


def test_messages_that_wait_count_as_load():
    stream = Stream()
    stream.run(2, 0)
    stream.waiting = 2_000  # a restart behind a backlog: nothing arrives
    assert "small" in stream.run(0.5, 0)


@pytest.mark.parametrize("per_s", [250, 390, 1_000, 1_300, 2_600, 3_900, 6_000])
def test_a_steady_rate_ends_in_one_point(per_s):
    """Just under the capacity of a point, too: the room that a return needs keeps points from alternating."""
    stream = Stream()
    stream.run(30, per_s)
    names = stream.run(60, per_s)
    assert sum(one != two for one, two in itertools.pairwise(names)) <= 2


def test_measured_cost_counts_and_not_the_figures_of_the_bundle():
    """On a machine three times slower than the export's, 300 messages per second are too many for base."""
    stream = Stream(slower=3)
    stream.run(20, 300)
    assert set(stream.run(10, 300)) == {"small@0.7"}


def test_small_batches_are_measured_only_where_nothing_else_was():
    stream = Stream()
    base = stream.control.point_for(stream.model)
    for texts, seconds in ((1, 0.05), (MIN_TEXTS, MIN_TEXTS * 0.005), (1, 9.0), (0, 1.0)):
        stream.control.record(base, texts, seconds)
    assert stream.control._seconds["base"] == pytest.approx(0.8 * 0.05 + 0.2 * 0.005)


def test_micro_batches_take_a_share_of_the_deadline():
    stream = Stream()
    assert stream.control.most_texts(512) == 512, "nothing is known yet"
    stream.run(1, 100)
    assert stream.control.most_texts(512) == 50 and stream.control.most_texts(20) == 20
    stream.run(20, 8_000)
    assert stream.control.most_texts(512) == 512
    assert Stream().control.most_texts(512) == 512


def test_another_model_begins_at_its_usual_point():
    stream = Stream()
    stream.run(5, 8_000)
    assert stream.control.point_for(stream.model).name == "table"
    assert stream.control.point_for(Model(POINTS[1:])).name == "base"


def test_bundle_with_one_model_has_one_point():
    stream = Stream(model=Model(()))
    stream.control.point_for(stream.model)
    stream.control.record(OperatingPoint(tier="base", threshold=0), 100, 1.0)
    for _ in range(50):
        stream.clock.now += TICK_S
        stream.control.update(100_000, 0)
    assert stream.control.point_for(stream.model).name == "base" and stream.control.overloaded


def test_bundle_without_the_usual_point_is_refused():
    def missing(tier):
        raise LookupError(tier)

    with pytest.raises(LookupError):
        LoadControl("nano", 0.9, 1, 1.0).point_for(SimpleNamespace(points=POINTS, point=missing))


@given(
    st.lists(st.tuples(st.integers(0, 20_000), st.floats(0.5, 5)), max_size=6),
    st.floats(0.5, 1),
    st.sampled_from(NAMES),
    st.floats(0.2, 5),
)
def test_no_load_leads_below_the_floor_or_above_the_usual_point(phases, floor, usual, slower):
    stream = Stream(floor=floor, usual=usual, slower=slower)
    allowed = {point.name for point in points_down_to(floor, stream.model.point(usual), POINTS)}
    for per_s, seconds in phases:
        assert set(stream.run(seconds, per_s)) <= allowed
    stream.waiting = 0
    assert stream.run(HOLD_S + 12, 0)[-1] == usual, "without load it ends at the usual point"
