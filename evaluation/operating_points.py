"""Operating points: which tier of a bundle classifies a text, with what to expect of it. Works on arrays; runs no model.

A cascade classifies with a small tier where that is confident enough, and asks `base` for the rest. With calibrated
confidence, the texts that escalate are those that the small tier gets wrong most often. Each threshold is a point: its
macro-recall and its CPU time are measured on the validation rows, and only points that no other point dominates are kept.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from data.pareto import pareto_front
from evaluation.metrics import macro_recall

SHARES = tuple(round(0.05 * step, 2) for step in range(15))
"""Shares of the rows that escalate, 0 to 0.7, for which a threshold is tried. Beyond that a cascade costs more than it saves."""


@dataclass(frozen=True)
class Point:
    """A tier, the confidence below which `base` classifies a text instead, and what to expect."""

    tier: str
    threshold: float
    """0: the tier classifies every text."""
    escalated: float
    """Share of the rows that `base` classifies, 0 to 1."""
    macro_recall: float
    cpu_us: float
    """CPU microseconds per text: those of the tier, plus those of `base` for the share that escalates."""


@dataclass(frozen=True)
class Measured:
    """A model on the validation rows."""

    proba: np.ndarray
    """Calibrated probabilities, shape (N, 3)."""
    cpu_us: float


def operating_points(labels: np.ndarray, base: str, models: Mapping[str, Measured]) -> list[Point]:
    """Return the points that no other point dominates, the cheapest first and `base` last.

    Both macro-recall and CPU time rise from point to point. The last point is `base`: one that would be better on these rows,
    by chance or not, costs less and is kept, but never replaces it.

    Args:
        labels: Class ids, shape (N,).
        base: Name of the model that texts escalate to.
        models: Every model by name, `base` too.
    """
    reference = models[base]
    whole = Point(base, 0.0, 0.0, macro_recall(labels, reference.proba), reference.cpu_us)
    tried = [
        _point(labels, name, threshold, model, reference)
        for name, model in models.items()
        if name != base
        for threshold in (0.0, *_thresholds(model.proba))
    ]
    cheaper = [point for point in tried if point.cpu_us < whole.cpu_us and point.macro_recall < whole.macro_recall]
    equal = [point for point in tried if point.cpu_us < whole.cpu_us and point.macro_recall >= whole.macro_recall]
    if equal:  # the cheapest that is not worse than base on these rows: expected to be as good, not better
        best = min(equal, key=lambda point: point.cpu_us)
        cheaper.append(Point(best.tier, best.threshold, best.escalated, whole.macro_recall, best.cpu_us))
    front = pareto_front([(point.cpu_us, point.macro_recall) for point in cheaper])
    return [*(cheaper[index] for index in front), whole]


def cascaded(small: np.ndarray, base: np.ndarray, threshold: float) -> np.ndarray:
    """Return the probabilities of a cascade, shape (N, 3): those of the small model, or of `base` below the threshold."""
    return np.where(small.max(axis=1, keepdims=True) < threshold, base, small)


def _thresholds(proba: np.ndarray) -> list[float]:
    confidence = proba.max(axis=1)
    found = np.quantile(confidence, [share for share in SHARES if share])
    return sorted({round(float(value), 4) for value in found})


def _point(labels: np.ndarray, name: str, threshold: float, model: Measured, base: Measured) -> Point:
    share = float((model.proba.max(axis=1) < threshold).mean())
    recall = macro_recall(labels, cascaded(model.proba, base.proba, threshold))
    return Point(name, threshold, share, recall, model.cpu_us + share * base.cpu_us)
