"""Metrics with intervals. Every interval is a 95 % percentile interval of a seeded row bootstrap.

Labels are class ids, int, shape (N,), in `data.labels.LABELS` order; probabilities are shape (N, 3), same order.

Resampling rows with replacement and then counting is equivalent to drawing the counts from a multinomial over the cells
(label, prediction), or (label, prediction of a, prediction of b) for a pair: exact, and independent of N. Only the
calibration error needs the rows themselves.
"""

import math
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from data.errors import DataError, ModelError
from data.labels import LABELS

CLASSES = len(LABELS)
NO_CLASS = CLASSES
"""The prediction of a system that predicted no class: wrong, whatever the true class."""
ECE_BINS = 15
RESAMPLES = 1000
_TAILS = (2.5, 97.5)
_TINY = 1e-7  # a float32 probability can be exactly 0; its logarithm must stay finite

METRICS = (
    "accuracy",
    "macro_f1",
    "macro_recall",
    *(f"recall_{label}" for label in LABELS),
    *(f"f1_{label}" for label in LABELS),
    "ece",
)
"""Names of all metrics, each from 0 to 1; higher is better, except for `ece`."""


@dataclass(frozen=True)
class Estimate:
    """A number and its 95 % interval. All three are NaN if the number is undefined (recall of an absent class)."""

    value: float
    low: float
    high: float

    def to_dict(self) -> dict[str, float | None]:
        """Return the JSON form, rounded to 6 decimals; NaN becomes null, since JSON has no NaN."""
        return {
            key: round(x, 6) if math.isfinite(x) else None
            for key, x in (("value", self.value), ("low", self.low), ("high", self.high))
        }

    @classmethod
    def from_dict(cls, raw: dict[str, float | None]) -> Self:
        """Return the estimate from its JSON form."""
        return cls(*(math.nan if raw[key] is None else float(raw[key] or 0.0) for key in ("value", "low", "high")))

    def text(self, digits: int = 1) -> str:
        """Return the estimate in points of 100, such as `70.7 [69.9, 71.4]`; a dash if it is undefined."""
        if not math.isfinite(self.value):
            return "–"
        value, low, high = (f"{100 * x:.{digits}f}" for x in (self.value, self.low, self.high))
        return f"{value} [{low}, {high}]"


def check_labels(labels: np.ndarray) -> np.ndarray:
    """Return labels as int64, shape (N,).

    Raises:
        DataError: There are no labels, or one is not a class id.
    """
    labels = np.asarray(labels)
    if labels.ndim != 1 or labels.size == 0:
        raise DataError(
            "There are no labeled rows to score.",
            found=f"shape {labels.shape}",
            expected="labels of shape (N,), N > 0",
            remedy="Check that the test split is not empty.",
        )
    if labels.dtype.kind not in "iu" or labels.min() < 0 or labels.max() >= CLASSES:
        raise DataError(
            "Labels cannot be scored.",
            found=f"{labels.dtype} values such as {labels[:5].tolist()}",
            expected=f"class ids 0 to {CLASSES - 1} ({', '.join(LABELS)})",
        )
    return labels.astype(np.int64)


def check_proba(proba: np.ndarray, rows: int) -> np.ndarray:
    """Return probabilities as float64, shape (rows, 3).

    Raises:
        ModelError: Wrong shape, not finite, outside 0..1, or rows that do not sum to 1 (tolerance 0.001).
    """
    proba = np.asarray(proba, dtype=np.float64)
    wrong = None
    if proba.shape != (rows, CLASSES):
        wrong = f"shape {proba.shape}"
    elif not np.isfinite(proba).all():
        wrong = f"{int((~np.isfinite(proba)).any(axis=1).sum())} rows that are not finite"
    elif proba.min() < -1e-6 or proba.max() > 1 + 1e-6:
        wrong = f"values from {proba.min():.4g} to {proba.max():.4g}"
    elif np.abs(proba.sum(axis=1) - 1).max() > 1e-3:
        wrong = f"a row that sums to {proba.sum(axis=1)[np.abs(proba.sum(axis=1) - 1).argmax()]:.4f}"
    if wrong:
        raise ModelError(
            "Probabilities cannot be scored.",
            found=wrong,
            expected=f"shape ({rows}, {CLASSES}), each in 0..1, each row summing to 1",
        )
    return proba.clip(0, 1)


def confusion(labels: np.ndarray, proba: np.ndarray) -> np.ndarray:
    """Return counts, int64, shape (3, 3): row = true class, column = predicted class (the most probable)."""
    labels = check_labels(labels)
    predicted = check_proba(proba, len(labels)).argmax(axis=1)
    return np.bincount(labels * CLASSES + predicted, minlength=CLASSES**2).reshape(CLASSES, CLASSES)


def _from_counts(counts: np.ndarray) -> dict[str, np.ndarray]:
    """Compute every metric except `ece` from confusion matrices of shape (..., 3, 3), or (..., 3, 4) with `NO_CLASS`."""
    hits = np.diagonal(counts, axis1=-2, axis2=-1).astype(float)
    support, predicted = counts.sum(axis=-1), counts[..., :CLASSES].sum(axis=-2)
    present = support > 0
    recall = np.where(present, hits / np.maximum(support, 1), np.nan)
    f1 = np.where(present, 2 * hits / np.maximum(support + predicted, 1), np.nan)
    values = {
        "accuracy": hits.sum(axis=-1) / counts.sum(axis=(-2, -1)),
        "macro_f1": np.nanmean(f1, axis=-1),
        "macro_recall": np.nanmean(recall, axis=-1),
    }
    values |= {f"recall_{label}": recall[..., index] for index, label in enumerate(LABELS)}
    return values | {f"f1_{label}": f1[..., index] for index, label in enumerate(LABELS)}


def score_classes(labels: np.ndarray, predicted: np.ndarray, *, resamples: int = RESAMPLES, seed: int = 0) -> dict[str, Estimate]:
    """Compute every metric except `ece` from predicted classes: without probabilities there is no calibration to measure.

    Args:
        labels: Class ids, shape (N,).
        predicted: Class ids or `NO_CLASS`, shape (N,).
        resamples: Bootstrap resamples.
        seed: Seed of the resampling.
    """
    shape = (CLASSES, CLASSES + 1)
    cells = np.bincount(np.ravel_multi_index((check_labels(labels), predicted), shape), minlength=math.prod(shape))
    return score_confusion(cells.reshape(shape), resamples=resamples, seed=seed)


def _draw(cells: np.ndarray, resamples: int, seed: int) -> np.ndarray:
    """Draw row-bootstrap counts of `cells` (K,), int64, shape (resamples, K)."""
    used = np.flatnonzero(cells)  # an empty cell stays empty, independent of rounding in the other shares
    total = int(cells.sum())
    drawn = np.zeros((resamples, len(cells)), dtype=np.int64)
    drawn[:, used] = np.random.default_rng(seed).multinomial(total, cells[used] / total, size=resamples)
    return drawn


def _interval(value: float, resampled: np.ndarray) -> Estimate:
    if not np.isfinite(value):
        return Estimate(math.nan, math.nan, math.nan)
    low, high = np.nanpercentile(resampled, _TAILS)
    return Estimate(float(value), float(low), float(high))


def macro_recall(labels: np.ndarray, proba: np.ndarray) -> float:
    """Return the mean recall of the classes that occur, 0 to 1, without an interval."""
    decided = proba.argmax(axis=1)
    return float(np.mean([float((decided[labels == k] == k).mean()) for k in np.unique(labels)]))


def score_confusion(counts: np.ndarray, *, resamples: int = RESAMPLES, seed: int = 0) -> dict[str, Estimate]:
    """Compute every metric except `ece` from counts, for files too large to keep their probabilities in memory.

    Args:
        counts: Confusion matrix from `confusion`, shape (3, 3); matrices of parts of a file can be added. Or shape (3, 4):
            the last column is `NO_CLASS`.
        resamples: Bootstrap resamples.
        seed: Seed of the resampling.

    Returns:
        Estimates by metric name. Macro averages are over the classes that occur among the labels, as in
        `balanced_accuracy_score` of scikit-learn; recall and F1 of a class that does not occur are NaN.
    """
    counts = np.asarray(counts, dtype=np.int64)
    if counts.shape not in ((CLASSES, CLASSES), (CLASSES, CLASSES + 1)) or counts.sum() == 0:
        raise DataError("There are no labeled rows to score.", found=f"counts of shape {counts.shape}, sum {counts.sum()}")
    values = _from_counts(counts)
    drawn = _from_counts(_draw(counts.ravel(), resamples, seed).reshape(-1, *counts.shape))
    return {name: _interval(float(values[name]), drawn[name]) for name in values}


def score(labels: np.ndarray, proba: np.ndarray, *, resamples: int = RESAMPLES, seed: int = 0) -> dict[str, Estimate]:
    """Compute every metric of `METRICS` with its interval.

    Args:
        labels: Class ids, int, shape (N,), N > 0.
        proba: Probabilities, shape (N, 3).
        resamples: Bootstrap resamples.
        seed: Seed of the resampling; the same seed gives the same interval.

    Raises:
        DataError: There are no rows, or a label is not a class id.
        ModelError: Probabilities have a wrong shape, are not finite, or do not sum to 1.
    """
    estimates = score_confusion(confusion(labels, proba), resamples=resamples, seed=seed)
    return estimates | {"ece": expected_calibration_error(labels, proba, resamples=resamples, seed=seed)}


def _calibration_gaps(labels: np.ndarray, proba: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the bin (N,) and `correct - confidence` (N,) of each row."""
    confidence = proba.max(axis=1)
    bins = np.ceil(confidence * ECE_BINS).astype(np.int64).clip(1, ECE_BINS) - 1
    return bins, (proba.argmax(axis=1) == labels) - confidence


def _resampled_ece(bins: np.ndarray, gaps: np.ndarray, resamples: int, seed: int) -> np.ndarray:
    generator, rows = np.random.default_rng(seed), len(gaps)
    result = np.empty(resamples)
    for index in range(resamples):
        chosen = generator.integers(0, rows, size=rows)
        result[index] = np.abs(np.bincount(bins[chosen], weights=gaps[chosen])).sum() / rows
    return result


def expected_calibration_error(labels: np.ndarray, proba: np.ndarray, *, resamples: int = RESAMPLES, seed: int = 0) -> Estimate:
    """Compute the calibration error: the sum over 15 equal bins of `n_b / N * |accuracy_b - confidence_b|`.

    A resample adds noise to each bin and is biased upward; if the interval misses the value, it is extended to it.

    Source:
        Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, equation 3; bins (0, 1/15], (1/15, 2/15] ...
    """
    labels = check_labels(labels)
    bins, gaps = _calibration_gaps(labels, check_proba(proba, len(labels)))
    value = float(np.abs(np.bincount(bins, weights=gaps)).sum() / len(gaps))
    raw = _interval(value, _resampled_ece(bins, gaps, resamples, seed))
    return Estimate(value, min(raw.low, value), max(raw.high, value))


def reliability(labels: np.ndarray, proba: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return mean confidence, accuracy and rows of the 15 bins, each shape (15,); NaN for an empty bin."""
    labels = check_labels(labels)
    proba = check_proba(proba, len(labels))
    bins, gaps = _calibration_gaps(labels, proba)
    rows = np.bincount(bins, minlength=ECE_BINS)
    total = np.where(rows > 0, rows, np.nan)
    confidence = np.bincount(bins, weights=proba.max(axis=1), minlength=ECE_BINS) / total
    return confidence, confidence + np.bincount(bins, weights=gaps, minlength=ECE_BINS) / total, rows


def paired_difference(
    labels: np.ndarray,
    proba_a: np.ndarray,
    proba_b: np.ndarray,
    metric: str = "macro_recall",
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Estimate:
    """Compute a metric of `a` minus that of `b` on the same rows, resampled together, with the interval of the difference.

    It is much narrower than two separate intervals suggest, since both models predict the same rows. A difference is real if
    the interval excludes 0 (`is_real`).

    Raises:
        DataError: The metric is unknown, there are no rows, or a label is not a class id.
        ModelError: Probabilities are invalid, see `check_proba`.
    """
    if metric not in METRICS:
        raise DataError(f"Unknown metric {metric!r}.", expected=", ".join(METRICS))
    labels = check_labels(labels)
    a, b = check_proba(proba_a, len(labels)), check_proba(proba_b, len(labels))
    if metric == "ece":
        (bins_a, gaps_a), (bins_b, gaps_b) = _calibration_gaps(labels, a), _calibration_gaps(labels, b)
        drawn = _resampled_ece(bins_a, gaps_a, resamples, seed) - _resampled_ece(bins_b, gaps_b, resamples, seed)
        value = expected_calibration_error(labels, a, resamples=1).value
        return _interval(value - expected_calibration_error(labels, b, resamples=1).value, drawn)
    return paired_class_difference(labels, a.argmax(1), b.argmax(1), metric, resamples=resamples, seed=seed)


def paired_class_difference(
    labels: np.ndarray,
    predicted_a: np.ndarray,
    predicted_b: np.ndarray,
    metric: str = "macro_recall",
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Estimate:
    """Compute `paired_difference` from predicted classes, for a system that has no probabilities.

    Args:
        labels: Class ids, shape (N,).
        predicted_a: Class ids or `NO_CLASS`, shape (N,).
        predicted_b: The same of the other.
        metric: Any except `ece`.
        resamples: Bootstrap resamples.
        seed: Seed of the resampling.
    """
    shape = (CLASSES, CLASSES + 1, CLASSES + 1)
    cells = np.bincount(np.ravel_multi_index((check_labels(labels), predicted_a, predicted_b), shape), minlength=math.prod(shape))
    both = np.vstack([cells, _draw(cells, resamples, seed)]).reshape(-1, *shape)
    differences = _from_counts(both.sum(axis=3))[metric] - _from_counts(both.sum(axis=2))[metric]
    return _interval(float(differences[0]), differences[1:])


def is_real(difference: Estimate) -> bool:
    """Return whether the interval of a difference excludes 0."""
    return difference.low > 0 or difference.high < 0


def apply_temperature(proba: np.ndarray, temperature: float) -> np.ndarray:
    """Soften (temperature > 1) or sharpen (< 1) probabilities: `softmax(log p / T)`. Labels do not change.

    Args:
        proba: Shape (N, 3).
        temperature: Greater than 0, dimensionless; 1 changes nothing.

    Returns:
        Probabilities, float32, shape (N, 3).
    """
    if not temperature > 0:
        raise ModelError("A temperature must be greater than 0.", found=temperature)
    scaled = np.log(np.maximum(np.asarray(proba, dtype=np.float64), _TINY)) / temperature
    scaled = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    return (scaled / scaled.sum(axis=1, keepdims=True)).astype(np.float32)


def fit_temperature(labels: np.ndarray, proba: np.ndarray) -> float:
    """Fit the temperature, from 0.05 to 20, that maximizes the likelihood of the validation labels.

    Args:
        labels: Class ids of the validation rows, shape (N,). Never the test rows.
        proba: Their uncalibrated probabilities, shape (N, 3).

    Source:
        Guo et al., ICML 2017, section 4.2; one parameter, fitted on the log scale.
    """
    from scipy import optimize  # pyright: ignore[reportMissingTypeStubs]

    labels = check_labels(labels)
    log_proba = np.log(np.maximum(check_proba(proba, len(labels)), _TINY))
    rows = np.arange(len(labels))

    def loss(log_temperature: float) -> float:
        scaled = log_proba / math.exp(log_temperature)
        top = scaled.max(axis=1)
        return float((np.log(np.exp(scaled - top[:, None]).sum(axis=1)) + top - scaled[rows, labels]).mean())

    optimum: Any = optimize.minimize_scalar(  # pyright: ignore[reportUnknownMemberType]
        loss, bounds=(math.log(0.05), math.log(20.0)), method="bounded"
    )
    return math.exp(optimum.x)
