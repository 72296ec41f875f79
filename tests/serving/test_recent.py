"""Quantiles of the last minute: close to the true ones, of that minute alone, in bounded memory."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.streaming.recent import RecentTimes


@given(st.lists(st.floats(0.0002, 10_000), min_size=1, max_size=300), st.sampled_from([0.5, 0.95, 0.99]))
def test_quantile_is_within_two_percent_of_a_true_one(durations, share):
    recent = RecentTimes()
    recent.add(0.0, durations)
    (found,) = recent.quantiles(0.5, (share,))
    true = np.quantile(durations, share, method="inverted_cdf")
    assert found == pytest.approx(true, rel=0.02)


def test_times_before_the_last_minute_are_dropped():
    recent = RecentTimes()
    recent.add(0.0, [54.0] * 5000)
    recent.add(30.0, [0.5] * 10)
    assert recent.quantiles(31.0, (0.5,))[0] == pytest.approx(54.0, rel=0.02)
    assert recent.quantiles(61.0, (0.5, 0.99)) == [pytest.approx(0.5, rel=0.02)] * 2
    assert recent.quantiles(200.0, (0.5, 0.99)) == [None, None]


def test_memory_does_not_grow_with_the_messages():
    recent = RecentTimes()
    for second in range(300):
        recent.add(float(second), [0.001 * n for n in range(1000)])
    assert len(recent._seconds) == 60 and all(len(bins) <= 400 for _, bins in recent._seconds)
