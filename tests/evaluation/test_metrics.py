import math
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score, recall_score

from data.errors import DataError, ModelError
from data.labels import LABELS
from evaluation.metrics import (
    METRICS,
    Estimate,
    apply_temperature,
    confusion,
    expected_calibration_error,
    fit_temperature,
    is_real,
    paired_difference,
    reliability,
    score,
    score_confusion,
)


def _proba(predicted: np.ndarray, confidence: float = 0.8) -> np.ndarray:
    proba = np.full((len(predicted), 3), (1 - confidence) / 2)
    proba[np.arange(len(predicted)), predicted] = confidence
    return proba


def _noisy(rows: int, right: float, seed: int = 0, labels: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 3, rows) if labels is None else labels
    predicted = np.where(generator.random(rows) < right, labels, generator.integers(0, 3, rows))
    return labels, _proba(predicted)


PAIRS = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=60)


@given(PAIRS)
@settings(max_examples=200, deadline=None)
def test_values_are_those_of_scikit_learn(pairs):
    labels, predicted = np.array(pairs).T
    found = score(labels, _proba(predicted), resamples=20)
    assert tuple(found) == METRICS
    present = np.unique(labels)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn warns of predicted classes that no label has
        assert found["accuracy"].value == pytest.approx(accuracy_score(labels, predicted))
        assert found["macro_recall"].value == pytest.approx(balanced_accuracy_score(labels, predicted))
        f1 = f1_score(labels, predicted, labels=present, average="macro", zero_division=0.0)
        assert found["macro_f1"].value == pytest.approx(f1)
        recalls = recall_score(labels, predicted, labels=[0, 1, 2], average=None, zero_division=0.0)
        f1s = f1_score(labels, predicted, labels=[0, 1, 2], average=None, zero_division=0.0)
    for index, label in enumerate(LABELS):
        if index in present:
            assert found[f"recall_{label}"].value == pytest.approx(recalls[index])
            assert found[f"f1_{label}"].value == pytest.approx(f1s[index])
        else:
            assert math.isnan(found[f"recall_{label}"].value) and math.isnan(found[f"f1_{label}"].high)
    for estimate in found.values():
        if math.isfinite(estimate.value):
            assert 0 <= estimate.low <= estimate.high <= 1


@given(PAIRS)
@settings(max_examples=50, deadline=None)
def test_parts_of_a_file_add_up(pairs):
    labels, predicted = np.array(pairs).T
    half = max(1, len(labels) // 2)
    parts = [confusion(labels[:half], _proba(predicted[:half]))]
    if half < len(labels):
        parts.append(confusion(labels[half:], _proba(predicted[half:])))
    whole = score(labels, _proba(predicted), resamples=50, seed=3)
    # As text: NaN, for an absent class, is not equal to itself.
    expected = {name: str(value) for name, value in whole.items() if name != "ece"}
    assert {name: str(value) for name, value in score_confusion(sum(parts), resamples=50, seed=3).items()} == expected


def test_the_interval_is_that_of_a_plain_row_bootstrap():
    labels, proba = _noisy(800, 0.6)
    predicted = proba.argmax(1)
    generator, plain = np.random.default_rng(1), []
    for _ in range(1500):
        rows = generator.integers(0, len(labels), len(labels))
        plain.append(balanced_accuracy_score(labels[rows], predicted[rows]))
    found = score(labels, proba, resamples=3000)["macro_recall"]
    assert found.low == pytest.approx(np.percentile(plain, 2.5), abs=0.004)
    assert found.high == pytest.approx(np.percentile(plain, 97.5), abs=0.004)


def test_the_interval_covers_the_true_value_in_about_95_percent_of_samples():
    held = 0
    for seed in range(200):
        labels, proba = _noisy(400, 0.55, seed=seed)  # right in 0.55 + 0.45 / 3 = 70 % of rows
        accuracy = score_confusion(confusion(labels, proba), resamples=400, seed=seed)["accuracy"]
        held += accuracy.low <= 0.70 <= accuracy.high
    assert 180 <= held <= 199


def test_same_seed_same_interval_and_another_seed_another():
    labels, proba = _noisy(300, 0.6)
    assert score(labels, proba, seed=5) == score(labels, proba, seed=5)
    assert score(labels, proba, seed=5)["ece"] != score(labels, proba, seed=6)["ece"]


def test_calibration_error_by_hand():
    # Two bins: 0.9 with one of two right (gap 0.4), 0.5 always right (gap 0.5); each holds half of the rows.
    proba = np.array([[0.9, 0.05, 0.05], [0.9, 0.05, 0.05], [0.25, 0.5, 0.25], [0.25, 0.25, 0.5]])
    found = expected_calibration_error(np.array([0, 1, 1, 2]), proba)
    assert found.value == pytest.approx(0.45)
    assert found.low <= found.value <= found.high
    confidence, accuracy, rows = reliability(np.array([0, 1, 1, 2]), proba)
    assert rows.sum() == 4 and rows[13] == 2 and accuracy[13] == pytest.approx(0.5)
    assert confidence[7] == pytest.approx(0.5) and math.isnan(confidence[0])


def test_a_paired_difference_is_narrower_than_two_intervals_and_has_a_sign():
    labels, a = _noisy(4000, 0.6, seed=1)
    b = a.copy()
    worse = np.arange(0, 4000, 50)  # 80 of 4,000 predictions changed to a wrong label
    b[worse] = _proba((labels[worse] + 1) % 3)
    difference = paired_difference(labels, a, b)
    alone = score(labels, a)["macro_recall"]
    assert difference.value == pytest.approx(alone.value - score(labels, b)["macro_recall"].value)
    assert is_real(difference) and difference.low > 0
    assert difference.high - difference.low < 0.7 * (alone.high - alone.low)
    back = paired_difference(labels, b, a)
    mirrored = (-difference.high, -difference.value, -difference.low)
    assert (back.low, back.value, back.high) == pytest.approx(mirrored, abs=0.001)  # other draws, the same law
    same = paired_difference(labels, a, a)
    assert same == Estimate(0.0, 0.0, 0.0) and not is_real(same)


@pytest.mark.parametrize("metric", ["accuracy", "macro_f1", "recall_neutral", "ece"])
def test_a_paired_difference_of_any_metric_is_the_difference_of_the_metric(metric):
    labels, a = _noisy(500, 0.6, seed=1)
    _, b = _noisy(500, 0.4, seed=2, labels=labels)
    expected = score(labels, a)[metric].value - score(labels, b)[metric].value
    found = paired_difference(labels, a, b, metric)
    assert found.value == pytest.approx(expected) and found.low <= found.value <= found.high


def test_temperature_repairs_overconfidence_and_changes_no_label():
    generator = np.random.default_rng(0)
    logits = generator.normal(size=(4000, 3)) * 1.5
    true = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    labels = np.array([generator.choice(3, p=row) for row in true])
    loud = apply_temperature(true, 1 / 3)  # logits times three
    found = fit_temperature(labels, loud)
    assert found == pytest.approx(3.0, rel=0.1)
    calm = apply_temperature(loud, found)
    assert (calm.argmax(1) == loud.argmax(1)).all()
    before, after = (expected_calibration_error(labels, proba).value for proba in (loud, calm))
    assert after < 0.03 < before


@given(st.floats(0.05, 20.0), st.integers(0, 10_000))
@settings(max_examples=60, deadline=None)
def test_a_temperature_keeps_the_order_of_the_classes(temperature, seed):
    proba = np.random.default_rng(seed).dirichlet([1, 1, 1], size=20)
    found = apply_temperature(proba, temperature)
    assert found.dtype == np.float32
    assert np.allclose(found.sum(1), 1, atol=1e-5)
    assert np.array_equal(apply_temperature(proba, 1.0).argsort(1), proba.argsort(1))
    top = np.take_along_axis(found, proba.argmax(1)[:, None], 1)[:, 0]
    assert np.all(top >= found.max(1) - 1e-6)  # equal within float32 where a high temperature flattens


def test_hard_zeros_and_ones_stay_finite():
    assert np.isfinite(fit_temperature(np.array([0, 1, 2, 0]), np.eye(3)[[0, 1, 2, 1]]))
    assert np.isfinite(apply_temperature(np.eye(3), 0.05)).all()


@pytest.mark.parametrize(
    ("labels", "proba", "error", "message"),
    [
        (np.array([], int), np.empty((0, 3)), DataError, "no labeled rows"),
        (np.array([0, 3]), np.eye(3)[[0, 1]], DataError, "class ids 0 to 2"),
        (np.array([0.0, 1.0]), np.eye(3)[[0, 1]], DataError, "class ids 0 to 2"),
        (np.array([0, 1]), np.eye(3), ModelError, r"shape \(3, 3\)"),
        (np.array([0, 1]), np.array([[1, 0, 0], [np.nan, 0, 1]]), ModelError, "1 rows that are not finite"),
        (np.array([0, 1]), np.array([[1.0, 0, 0], [0.2, 0.2, 0.2]]), ModelError, "sums to 0.6000"),
        (np.array([0, 1]), np.array([[1.0, 0, 0], [2.0, -1.0, 0]]), ModelError, "values from -1 to 2"),
    ],
)
def test_invalid_input_is_refused_with_what_was_found(labels, proba, error, message):
    with pytest.raises(error, match=message):
        score(labels, proba)


def test_an_unknown_metric_is_refused_with_the_known_ones():
    with pytest.raises(DataError, match=r"'recal'[\s\S]*macro_recall"):
        paired_difference(np.array([0]), np.eye(3)[[0]], np.eye(3)[[0]], "recal")


def test_an_estimate_survives_json():
    for estimate in (Estimate(0.5, 0.4, 0.6), Estimate(math.nan, math.nan, math.nan), Estimate(0.0, 0.0, 0.0)):
        assert str(Estimate.from_dict(estimate.to_dict())) == str(estimate)
    assert Estimate(math.nan, math.nan, math.nan).to_dict() == {"value": None, "low": None, "high": None}
    assert Estimate(0.7067, 0.6991, 0.7142).text() == "70.7 [69.9, 71.4]"
