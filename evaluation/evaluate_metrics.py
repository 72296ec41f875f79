"""The metrics of `evaluation.metrics` as `evaluate.Metric` classes that need no network.

`evaluate.load("accuracy")` fetches a script; these classes do not, so that `evaluate.combine([MacroRecall(), ...])` and
`evaluate.evaluator("text-classification")` work without network. Importing this module imports
`evaluate` (several CPU-seconds): import it where it is used.
"""

from typing import Any

import datasets
import evaluate
import numpy as np

from data.labels import LABELS
from evaluation import metrics

_LABEL = datasets.Value("int64")
_PROBABILITIES = datasets.Features({"predictions": datasets.Sequence(datasets.Value("float32")), "references": _LABEL})
_CLASS_IDS = datasets.Features({"predictions": _LABEL, "references": _LABEL})
_CITATION = "Guo et al., On Calibration of Modern Neural Networks, ICML 2017"


def _proba(predictions: Any) -> np.ndarray:
    """Return predictions as probabilities, shape (N, 3); class ids become one-hot rows."""
    array = np.asarray(predictions)
    return np.eye(len(LABELS))[array] if array.ndim == 1 else array


class _OwnMetric(evaluate.Metric):
    """Base class of our metrics. `predictions` are class ids (N,) or probabilities (N, 3) in `LABELS` order."""

    names: tuple[str, ...]
    accepts = (_PROBABILITIES, _CLASS_IDS)

    def __init__(self, *, resamples: int = metrics.RESAMPLES, seed: int = 0, **options: Any) -> None:
        self.resamples, self.bootstrap_seed = resamples, seed
        # In memory: otherwise `evaluate` writes Arrow files into the cache folder of the user.
        super().__init__(**({"keep_in_memory": True, "experiment_id": type(self).__name__} | options))

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=(metrics.score.__doc__ or "").strip(),
            citation=_CITATION,
            features=list(self.accepts),
            inputs_description="predictions: class ids or rows of three probabilities; references: class ids",
        )

    def _estimates(self, predictions: Any, references: Any) -> dict[str, metrics.Estimate]:
        counts = metrics.confusion(np.asarray(references), _proba(predictions))
        return metrics.score_confusion(counts, resamples=self.resamples, seed=self.bootstrap_seed)

    def _compute(self, predictions: Any, references: Any, intervals: bool = False) -> dict[str, Any]:
        """Return the metric by name: a number, or `{value, low, high}` with `intervals=True`."""
        estimates = self._estimates(predictions, references)
        return {name: estimates[name].to_dict() if intervals else float(estimates[name].value) for name in self.names}


class Accuracy(_OwnMetric):
    """Share of rows with the correct class."""

    names = ("accuracy",)


class MacroF1(_OwnMetric):
    """Mean F1 over the classes that occur."""

    names = ("macro_f1",)


class MacroRecall(_OwnMetric):
    """Mean recall over the classes that occur: the metric of TweetEval sentiment."""

    names = ("macro_recall",)


class PerClass(_OwnMetric):
    """Recall and F1 of each class, as `recall_negative`, `f1_negative` and so on."""

    names = tuple(f"{kind}_{label}" for kind in ("recall", "f1") for label in LABELS)


class CalibrationError(_OwnMetric):
    """Expected calibration error over 15 bins; needs probabilities."""

    names = ("ece",)
    accepts = (_PROBABILITIES,)

    def _estimates(self, predictions: Any, references: Any) -> dict[str, metrics.Estimate]:
        labels, proba = np.asarray(references), np.asarray(predictions)
        error = metrics.expected_calibration_error(labels, proba, resamples=self.resamples, seed=self.bootstrap_seed)
        return {"ece": error}


def all_metrics(**options: Any) -> evaluate.CombinedEvaluations:
    """Return all metrics, combined: `all_metrics().compute(predictions=proba, references=labels)`."""
    modules = [Accuracy, MacroF1, MacroRecall, PerClass, CalibrationError]
    return evaluate.combine([module(**options) for module in modules])
