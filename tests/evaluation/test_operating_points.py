"""Operating points: properties of any models, and a case worked out by hand."""

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from evaluation.metrics import macro_recall
from evaluation.operating_points import Measured, operating_points


def probabilities(seed, n, skill):
    """Return probabilities of a model that is right more often, and surer, the higher its skill."""
    generator = np.random.default_rng(seed)
    labels = np.arange(n) % 3
    logits = generator.normal(size=(n, 3))
    logits[np.arange(n), labels] += skill
    exponent = np.exp(logits)
    return labels, exponent / exponent.sum(axis=1, keepdims=True)


@given(st.integers(0, 1000), st.floats(0, 3), st.floats(0, 3), st.floats(1, 99))
def test_points_rise_in_cost_and_macro_recall_and_end_with_base(seed, small, base, cpu):
    labels, better = probabilities(seed, 120, base)
    _, worse = probabilities(seed + 1, 120, small)
    points = operating_points(labels, "base", {"small": Measured(worse, cpu), "base": Measured(better, 100.0)})
    assert points[-1].tier == "base" and points[-1].cpu_us == 100.0
    assert points[-1].macro_recall == macro_recall(labels, better)
    for cheap, dear in itertools.pairwise(points):
        assert cheap.cpu_us < dear.cpu_us and cheap.macro_recall <= dear.macro_recall
    assert all(point.cpu_us >= cpu for point in points)


@given(st.integers(0, 1000))
def test_a_point_is_what_the_cascade_does_on_those_rows(seed):
    labels, better = probabilities(seed, 200, 2.0)
    _, worse = probabilities(seed + 1, 200, 0.7)
    points = operating_points(labels, "base", {"small": Measured(worse, 10.0), "base": Measured(better, 100.0)})
    for point in points[:-1]:
        unsure = worse.max(axis=1) < point.threshold
        found = macro_recall(labels, np.where(unsure[:, None], better, worse))
        assert abs(point.escalated - unsure.mean()) < 1e-9
        assert abs(point.cpu_us - (10 + 100 * unsure.mean())) < 1e-9
        assert point.macro_recall <= found


def test_a_tier_that_is_as_good_as_base_is_a_point_of_its_own_but_base_stays_last():
    labels, proba = probabilities(1, 90, 2.0)
    points = operating_points(labels, "base", {"copy": Measured(proba, 10.0), "base": Measured(proba, 100.0)})
    assert [(point.tier, point.threshold, point.escalated) for point in points] == [("copy", 0.0, 0.0), ("base", 0.0, 0.0)]


def test_a_tier_that_is_dearer_than_base_gives_no_point():
    labels, proba = probabilities(1, 90, 2.0)
    points = operating_points(labels, "base", {"slow": Measured(proba, 300.0), "base": Measured(proba, 100.0)})
    assert [point.tier for point in points] == ["base"]
