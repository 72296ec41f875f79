# Neither evaluate nor scikit-learn has annotations.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false, reportMissingTypeStubs=false, reportIncompatibleMethodOverride=false
"""The metrics of the benchmark again, through Hugging Face `evaluate`: a cross-check of `evaluation.metrics`.

`evaluate.load("accuracy")` fetches a script from the hub. The classes here compute what the scripts `accuracy`, `recall` and `f1`
compute, with scikit-learn as they do, and work without network, also in `evaluate.combine` and `evaluate.evaluator`. Importing
this module imports `evaluate` (several CPU-seconds): import it where it is used.
"""

from collections.abc import Mapping
from typing import Any

import datasets
import evaluate
import numpy as np
from sklearn.metrics import accuracy_score, f1_score, recall_score

from data.errors import ModelError
from data.labels import LABELS
from evaluation.metrics import Estimate

TOLERANCE = 1e-5
"""Reports keep six decimals."""


class _ClassIds(evaluate.Metric):
    """A metric of predicted class ids."""

    def __init__(self) -> None:
        # In memory: otherwise `evaluate` writes Arrow files into the cache folder of the user.
        super().__init__(keep_in_memory=True, experiment_id=type(self).__name__)

    def _info(self) -> evaluate.MetricInfo:
        label = datasets.Value("int64")
        return evaluate.MetricInfo(
            description=(type(self).__doc__ or "").strip(),
            citation="",
            features=datasets.Features({"predictions": label, "references": label}),
            inputs_description="predictions and references: class ids",
        )


class Accuracy(_ClassIds):
    """Share of rows with the correct class."""

    def _compute(self, predictions: Any, references: Any) -> dict[str, float]:
        return {"accuracy": float(accuracy_score(references, predictions))}


class Recall(_ClassIds):
    """Recall of each class that occurs, and their mean: the metric of TweetEval sentiment."""

    def _compute(self, predictions: Any, references: Any) -> dict[str, float]:
        return _by_class("recall", recall_score, predictions, references)


class F1(_ClassIds):
    """F1 of each class that occurs, and their mean."""

    def _compute(self, predictions: Any, references: Any) -> dict[str, float]:
        return _by_class("f1", f1_score, predictions, references)


def _by_class(name: str, score: Any, predictions: Any, references: Any) -> dict[str, float]:
    present = sorted(set(references))
    macro = score(references, predictions, labels=present, average="macro", zero_division=0)
    each = score(references, predictions, labels=present, average=None, zero_division=0)
    by_class = {f"{name}_{LABELS[index]}": float(value) for index, value in zip(present, each, strict=True)}
    return {f"macro_{name}": float(macro)} | by_class


def cross_check(name: str, metrics: Mapping[str, Estimate], labels: np.ndarray, proba: np.ndarray) -> dict[str, float]:
    """Compute the metrics through `evaluate` and compare them.

    Args:
        name: Of the candidate, for the error.
        metrics: What `evaluation.metrics.score` found; metrics that `evaluate` does not compute here (ECE) are not compared.
        labels: Class ids, shape (N,).
        proba: Probabilities of the same rows, shape (N, 3).

    Returns:
        The values by metric, as `evaluate` computes them.

    Raises:
        ModelError: A metric differs by more than `TOLERANCE`; the error has both numbers.
    """
    found = evaluate.combine([Accuracy(), Recall(), F1()]).compute(predictions=proba.argmax(axis=1), references=labels)
    differ = [
        f"{metric} {metrics[metric].value:.6f}, evaluate {value:.6f}"
        for metric, value in found.items()
        if not abs(metrics[metric].value - value) <= TOLERANCE  # NaN differs too
    ]
    if differ:
        raise ModelError(
            f"Metrics of {name} disagree with Hugging Face evaluate.",
            found="; ".join(differ),
            expected=f"the same values within {TOLERANCE:g}",
            remedy="Delete the evaluation's folder under var/ and run the benchmark again; if they still differ, report a bug.",
        )
    return found
