"""The synthetic weeks of the alert benchmark: their shifts have the requested size."""

import math

import numpy as np
import pytest

from benchmarks.stream.alerts import HISTORY_S, RATES, _ours, _page_hinkley, _plain_z, _ScorePool, _tune, _z_score

RNG = np.random.default_rng(0)
POOL = _ScorePool(np.round(np.clip(RNG.normal(-0.15, 0.6, 5_000), -1, 1), 4))


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("shift", [-0.4, 0.04, 0.4])
def test_shift_moves_the_mean_by_its_size(rate, shift):
    rng = np.random.default_rng(1)
    count, total, squares = POOL.shifted(rng, rate, 4_000, shift, 0.0)
    error = 4 * POOL.scores.std() / math.sqrt(count.sum())
    assert total.sum() / count.sum() - POOL.scores.mean() == pytest.approx(shift, abs=error)
    assert count.mean() == pytest.approx(rate, rel=0.02) and (squares >= 0).all()


def test_shift_begins_within_its_second():
    count, total, _ = np.mean([POOL.shifted(RNG, 100, 2, 0.4, 0.75) for _ in range(2_000)], axis=0)
    assert total / count - POOL.scores.mean() == pytest.approx([0.1, 0.4], abs=0.01)


def test_divergence_is_that_of_the_weights():
    weights = np.full(5_000, (1 - POOL.share(0.2)) / 5_000)
    weights[np.argsort(POOL.scores)[-1_000:]] += POOL.share(0.2) / 1_000
    assert POOL.divergence(0.2) == pytest.approx(float((weights * np.log(weights * 5_000)).sum()))


def test_detectors_find_a_large_shift_and_nothing_else():
    values = np.hstack([POOL.quiet(RNG, 100, HISTORY_S), POOL.shifted(RNG, 100, 120, -0.4, 0.5)])
    for alarms in (_ours(5.2, values, HISTORY_S), _z_score(5.0, values, HISTORY_S)):
        assert len(alarms) == 1 and 0 <= alarms[0] - HISTORY_S <= 15
    assert _plain_z(values)[: HISTORY_S - 1].max() == 0


def test_tuning_finds_the_smallest_setting_within_the_budget():
    assert _tune(lambda setting: int(10 - setting), 0.0, 20.0, 4) == pytest.approx(5, abs=0.02)


def test_page_hinkley_of_river_raises_the_alarm():
    pytest.importorskip("river")
    detector = _page_hinkley(0.5, 8.0)
    found = []
    for second, value in enumerate([*np.random.default_rng(0).standard_normal(500), *[3.0] * 20]):
        detector.update(value)
        found += [second] if detector.drift_detected else []
    assert found and 500 <= found[0] < 510
