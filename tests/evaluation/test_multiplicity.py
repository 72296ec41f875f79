"""Comparisons of many slices at once."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluation.metrics import Estimate
from evaluation.multiplicity import ALPHA, holm, p_worse


@pytest.mark.parametrize(
    ("p", "rejected"),
    [
        ([], []),
        ([0.02], [True]),
        ([0.026], [False]),
        ([0.02, 0.02], [False, False]),  # 0.02 is above 0.025 / 2
        ([0.02, 0.01], [True, True]),  # 0.01 is below 0.025 / 2, then 0.02 below 0.025 / 1
        ([0.02, 0.001, 0.02], [False, True, False]),
        ([1.0, 0.0, 1.0], [False, True, False]),
    ],
)
def test_holm(p, rejected):
    assert holm(p) == rejected


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20), st.randoms(use_true_random=False))
def test_holm_does_not_depend_on_the_order_and_is_between_no_correction_and_bonferroni(p, random):
    rejected = holm(p)
    assert all(one <= ALPHA for one, found in zip(p, rejected, strict=True) if found)
    assert all(found for one, found in zip(p, rejected, strict=True) if one <= ALPHA / len(p))
    order = list(range(len(p)))
    random.shuffle(order)
    assert [sorted(zip(p, rejected, strict=True))] == [
        sorted(zip([p[i] for i in order], holm([p[i] for i in order]), strict=True))
    ]


def test_p_is_that_of_the_interval():
    at_the_margin = Estimate(-0.05, -0.05 - 0.0196, -0.05 + 0.0196)  # the interval ends 1.96 deviations above the value
    assert p_worse(at_the_margin, 0.0304) == pytest.approx(0.025, abs=1e-3)
    assert p_worse(at_the_margin, 0.05) == pytest.approx(0.5) and p_worse(Estimate(0.1, 0.09, 0.11), 0.03) > 0.99
    assert p_worse(Estimate(np.nan, np.nan, np.nan), 0.03) == 1.0
    assert p_worse(Estimate(0.0, 0.0, 0.0), 0.0) == 1.0 and p_worse(Estimate(-0.1, -0.1, -0.1), 0.03) == 0.0
