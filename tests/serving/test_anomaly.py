"""The rules of alerts, on generated seconds."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from serving.streaming.alerts.calibration import calibrate, default_threshold, peaks_of, threshold_from
from serving.streaming.alerts.detector import (
    BLOCK_S,
    CALM_S,
    KEEP_S,
    LONGEST_ALERT_S,
    Rules,
    Seconds,
    Watch,
    points,
)

START = 1_700_000_010 // BLOCK_S * BLOCK_S
RULES = Rules(5.5)
MANY = settings(max_examples=25, deadline=None)


def stream(seconds, *, rate=100.0, mean=0.0, std=0.6, seed=0, shift=()):
    """Quiet seconds; `shift` holds (from, to, by)."""
    chance = np.random.default_rng(seed)
    count = chance.poisson(rate, seconds).astype(float)
    means = np.full(seconds, mean)
    for first, stop, by in shift:
        means[first:stop] += by
    total = count * means + np.sqrt(count) * std * chance.standard_normal(seconds)
    return Seconds(START, count, total, count * (std**2 + means**2))


def watch(seconds, rules=RULES, **more):
    return Watch(rules, seconds, seconds.start, **more)


def opened(changes):
    return [change for change in changes if change.closed is None]


def same(mine, others):
    """Check for equality except in the last digits: running sums begin elsewhere."""
    assert len(mine) == len(others)
    for one, other in zip(mine, others, strict=True):
        assert replace(one, z=0, moving_average=0) == replace(other, z=0, moving_average=0)
        assert (one.z, one.moving_average) == pytest.approx((other.z, other.moving_average))


@MANY
@given(st.integers(0, 10**6), st.sampled_from([-0.2, 0.2, -0.4]), st.integers(1200, 1300), st.integers(60, 900))
@example(0, 0.2, 1200, 181)  # closed after 95 s
def test_one_shift_is_one_alert_with_a_start_and_an_end(seed, by, begin, length):
    seconds = stream(begin + length + 600, seed=seed, shift=[(begin, begin + length, by)])
    changes = watch(seconds).advance(seconds.end)
    assert len(changes) == 2, changes
    alert, closed = changes
    assert closed == replace(alert, closed=closed.closed)
    assert np.sign(alert.z) == np.sign(by) == np.sign(alert.moving_average - alert.mean)
    assert 0 <= alert.detected - (START + begin) <= 20
    assert abs(alert.started - (START + begin)) <= 10
    # Noise may interrupt the calm, and the wait starts again: of 11,161 shifts half closed within 56 s, the last after 122 s.
    assert closed.closed is not None and CALM_S <= closed.closed - (START + begin + length) <= 30 + 4 * CALM_S
    assert alert.volume >= RULES.min_volume and alert.std == pytest.approx(0.6, rel=0.1)


@MANY
@given(st.integers(0, 10**6), st.integers(1, 5000))
def test_restart_at_any_second_gives_the_same_alerts(seed, cut):
    seconds = stream(5000, seed=seed, shift=[(1000, 1200, -0.3), (3000, 3400, 0.3)])
    whole = watch(seconds).advance(seconds.end)
    assert len(opened(whole)) >= 2
    first = watch(seconds)
    changes = first.advance(START + cut)
    again = Watch(RULES, seconds, first.evaluated_to, first.open, list(first.past))
    changes += again.advance(seconds.end)
    same(changes, whole)


def test_many_polls_give_the_same_alerts_as_one():
    seconds = stream(KEEP_S + 6000, seed=3, shift=[(1000, 1200, -0.3), (9000, 9400, 0.3), (15_000, 15_100, 0.4)])
    whole = watch(seconds).advance(seconds.end)
    live = watch(Seconds(START, *(values[:600].copy() for values in (seconds.count, seconds.total, seconds.squares))))
    changes = []
    table = np.stack([np.arange(seconds.start, seconds.end), seconds.count, seconds.total, seconds.squares], axis=1)
    for at in range(600, len(table), 7):
        live.seconds.put(table[max(0, at - 40) : at + 7])  # the last seconds again, as the loop reads them
        changes += live.advance(START + at + 5)
        live.forget()
    changes += live.advance(seconds.end)
    assert len(whole) == 6
    same(changes, whole)
    assert len(live.seconds.count) <= KEEP_S + LONGEST_ALERT_S + 4 * BLOCK_S


@MANY
@given(st.integers(0, 10**6), st.floats(0.0, 0.24), st.floats(-1, 1))
def test_no_alert_without_volume(seed, rate, by):
    seconds = stream(4000, rate=rate, seed=seed, shift=[(2000, 4000, by)])
    quick = watch(seconds, Rules(3.0, min_volume=80))
    assert quick.advance(seconds.end) == []


def test_no_alert_in_the_first_five_minutes():
    seconds = stream(600, shift=[(200, 600, -1.0)])
    assert watch(seconds).advance(START + 299) == []


@MANY
@given(st.floats(-1, 1), st.integers(1, 2000))
def test_constant_scores_raise_nothing_and_a_jump_from_them_one_alert(level, rate):
    count = np.full(2400, float(rate))
    levels = np.full(2400, round(level, 4))
    assert watch(Seconds(START, count, count * levels, count * levels**2)).advance(START + 2400) == []
    levels[1500:1800] += -0.3 if level > 0 else 0.3
    found = watch(Seconds(START, count, count * levels, count * levels**2)).advance(START + 2400)
    assert [change.closed is None for change in found] == [True, False]
    assert np.isfinite([found[0].z, found[0].mean, found[0].std, found[0].moving_average]).all()


def test_shift_of_half_a_point_is_never_an_alert():
    seconds = stream(4000, rate=1e6, shift=[(2000, 4000, 0.008)])
    assert watch(seconds, Rules(5.0)).advance(seconds.end) == []


@MANY
@given(st.lists(st.tuples(st.integers(0, 900), st.integers(0, 50), st.floats(-1, 1)), max_size=60), st.floats(2, 6))
def test_no_rows_give_nan(rows, threshold):
    seconds = stream(1000, rate=3)
    seconds.put(np.array([(START + 50 + at, n, n * s, n * s * s) for at, n, s in rows]).reshape(-1, 4))
    seconds.put(np.array([[START + 10, np.nan, 1, 1], [START + 11, 5, np.inf, 1]]))
    found = watch(seconds, Rules(threshold, min_volume=2))
    z, _ = found.scan(seconds.start, seconds.end)
    assert np.isfinite(z).all()
    for change in found.advance(seconds.end):
        assert np.isfinite([change.z, change.moving_average, change.mean, change.std]).all()


def table_of(seconds):
    return np.stack([np.arange(seconds.start, seconds.end), seconds.count, seconds.total, seconds.squares], axis=1)


@MANY
@given(st.integers(0, 10**6), st.lists(st.integers(1, 4999), max_size=6), st.randoms())
def test_late_rows_give_the_same_alerts_as_rows_in_order(seed, cuts, chance):
    whole = stream(5000, seed=seed, shift=[(4000, 4200, -0.3)])
    expected = watch(stream(5000, seed=seed, shift=[(4000, 4200, -0.3)])).advance(START + 4500)
    table, changes = table_of(whole), []
    edges = sorted({0, *cuts, 3900})
    parts = [table[a:b] for a, b in zip(edges, [*edges[1:], 3900], strict=True) if a < 3900]
    chance.shuffle(parts)
    mine = Watch(RULES, Seconds.of(parts[0]), int(parts[0][0, 0]) // BLOCK_S * BLOCK_S)
    for part in [*parts[1:], table[3900:4500]]:
        changed = mine.put(part)
        mine.revise(int(changed[:, 0].min()))
    changes += mine.advance(START + 4500)
    same(changes, expected)


def test_revise_reaches_back_as_far_as_a_baseline_and_never_into_an_alert():
    seconds = stream(KEEP_S + 3000, shift=[(KEEP_S + 2000, KEEP_S + 2200, -0.4)])
    mine = watch(seconds)
    mine.advance(START + KEEP_S + 1900)
    assert not len(mine.put(np.array([[START + 1800, 5, 1, 1]]))), "too late: ignored"
    mine.revise(START + 10)
    assert mine.evaluated_to == START + 1900
    (opened_, closed) = mine.advance(START + KEEP_S + 2900)
    mine.revise(START + 10)
    assert mine.evaluated_to == closed.closed and mine.advance(START + KEEP_S + 2900) == []
    assert opened_.usual_volume == pytest.approx(100 * opened_.window_s, rel=0.1)


def test_put_returns_only_changed_rows_with_the_messages_gained():
    seconds = stream(1000)
    table = table_of(seconds)
    assert not len(seconds.put(table.copy()))
    more = table[10:12].copy()
    more[0, 1:] += [3, 0.3, 0.1]
    more[1, 2] += 0.5
    assert seconds.put(more).tolist() == [[START + 10, 3], [START + 11, 0]]
    before = seconds.put(np.array([[START - 40, 5, 1, 1]]), START - 10_000)
    assert before.tolist() == [[START - 40, 5]] and seconds.start == START - 60 and seconds.count[20] == 5
    assert not len(seconds.put(np.array([[START - 100, 5, 1, 1]])))


def test_history_belongs_to_the_baseline_and_raises_no_alert():
    shifted = stream(4000, shift=[(1000, 1300, -0.4), (3000, 3300, -0.4)])
    changes = watch(shifted, news_from=START + 2000).advance(shifted.end)
    assert len(opened(changes)) == 1 and abs(changes[0].started - START - 3000) < 5


def test_the_same_rows_again_change_nothing():
    seconds = stream(3000, shift=[(2000, 2200, -0.3)])
    table = np.stack([np.arange(seconds.start, seconds.end), seconds.count, seconds.total, seconds.squares], axis=1)
    whole = watch(seconds).advance(seconds.end)
    assert watch(Seconds.of([*table, *table[500:2500], *table[2100:2150]])).advance(seconds.end) == whole


def test_normals_are_the_baseline_of_the_evaluation():
    quiet = watch(stream(1_000, mean=0.2))
    quiet.advance(START + 1_000)
    found = quiet.normals(START, START + 1_000)
    assert found[0, 0] >= START + 300 and (np.diff(found[:, 0]) == 60).all(), "each minute, once there is enough history"
    _, mean, variance, drift = found[-1]
    assert mean == pytest.approx(0.2, abs=0.02) and variance == pytest.approx(0.36, rel=0.1) and 0 < drift < 0.01
    shifted = watch(stream(1_400, mean=0.2, shift=[(1_000, 1_400, -0.4)]))
    (shift,) = shifted.advance(START + 1_400)
    during = shifted.normals(shift.detected + 1, START + 1_400)
    assert len(during) and (during[:, 1] == pytest.approx(shift.mean)), "the baseline is frozen while an alert is open"
    z = (shift.moving_average - shift.mean) / (shift.std**2 / shift.volume + during[0, 3]) ** 0.5
    assert shift.closed is None and z == pytest.approx(shift.z, rel=0.01)


def test_normals_of_the_past_do_not_change():
    seconds = stream(6_000, shift=[(3_000, 6_000, 0.1)])
    mine, early = watch(seconds), watch(seconds)
    early.advance(START + 2_900)
    before = early.normals(START, START + 2_900)
    mine.advance(seconds.end)
    assert mine.normals(START, START + 2_900).tolist() == before.tolist()


def test_return_to_normal_is_no_second_alert_and_two_shifts_are_two_alerts():
    seconds = stream(4000, shift=[(1500, 1800, -0.4)])
    assert len(opened(watch(seconds).advance(seconds.end))) == 1
    seconds = stream(4000, shift=[(1500, 1800, -0.4), (1800, 2100, 0.4)])
    assert [np.sign(change.z) for change in opened(watch(seconds).advance(seconds.end))] == [-1, 1]


def test_shift_of_an_hour_becomes_the_baseline():
    seconds = stream(13_000, shift=[(2000, 9000, -0.4)])
    found = watch(seconds).advance(seconds.end)
    assert [change.closed is None for change in found] == [True, False, True, False]
    assert found[1].closed == found[0].detected + LONGEST_ALERT_S and not found[1].end_known
    assert found[2].z > 0 and abs(found[2].started - (START + 9000)) < 5 and found[2].mean == pytest.approx(-0.4, abs=0.02)


def test_alert_is_left_out_of_the_baseline():
    seconds = stream(6000, shift=[(2000, 4500, -0.4)])
    mine = watch(seconds)
    mine.advance(seconds.end)
    assert float(mine._baselines(START + 5900, START + 5901).mean[0]) == pytest.approx(0, abs=0.01)


def test_slow_drift_is_not_an_alert():
    seconds = stream(20_000, seed=1)
    wave = 0.05 * np.sin(np.arange(20_000) / 600)
    seconds.total += seconds.count * wave
    assert len(opened(watch(seconds).advance(seconds.end))) <= 1


def test_watch_continues_after_a_gap_of_days():
    seconds = stream(2000, shift=[(1900, 2000, -0.4)])
    mine = watch(seconds)
    assert len(mine.advance(seconds.end)) == 1
    later = stream(3000, seed=5)
    table = np.stack([np.arange(3000) + START + 5 * 86_400, later.count, later.total, later.squares], axis=1)
    mine.seconds.put(table)
    found = mine.advance(mine.seconds.end)
    assert len(found) == 1 and found[0].closed is not None and mine.open is None


def test_points():
    assert (points(-1), points(0), points(1)) == (0, 50, 100)
    assert points(0.2) - points(0) == pytest.approx(10)


def test_a_calibration_keeps_the_budget_on_other_weeks():
    history = stream(6 * 3600, seed=11, rate=50)
    found = calibrate(history, 20.0, source="reviews", weeks=2)
    assert (found.source, found.weeks, found.history_s) == ("reviews", 2.0, 6 * 3600)
    assert found.messages_per_s == pytest.approx(50, rel=0.02)
    assert found.threshold == pytest.approx(default_threshold(20.0), abs=0.35)
    fresh = stream(4 * 86_400, seed=12, rate=50)
    assert len(opened(watch(fresh, Rules(found.threshold)).advance(fresh.end))) <= 4 / 7 * 20 * 2.5


def test_bursts_raise_the_threshold():
    history = stream(6 * 3600, seed=11, rate=50)
    chance = np.random.default_rng(0)
    history.total += history.count * np.repeat(0.15 * chance.standard_normal(6 * 720), 5)
    assert calibrate(history, 1.0, weeks=1).threshold > default_threshold(1.0) + 1


def test_too_little_quiet_history_gives_the_default_threshold():
    history = stream(7200)
    quiet = np.zeros(7200, dtype=bool)
    quiet[:1800] = True
    found = calibrate(history, 0.5, quiet=quiet)
    assert (found.threshold, found.weeks, found.history_s) == (round(default_threshold(0.5), 3), 0.0, 1800)


def test_tail_extends_beyond_the_simulated_peaks():
    peaks = np.sqrt(2 * np.random.default_rng(0).exponential(1.0, 5040 * 4) + 9)
    assert threshold_from(peaks, 4, 1.0) == pytest.approx(np.sqrt(9 + 2 * np.log(5040)), abs=0.1)
    assert threshold_from(peaks, 4, 0.01) == pytest.approx(np.sqrt(9 + 2 * np.log(504_000)), abs=0.1)
    assert threshold_from(peaks, 4, 1000.0) == pytest.approx(np.sqrt(9 + 2 * np.log(5.04)), abs=0.1)
    assert len(peaks_of(stream(1000))) == 8
