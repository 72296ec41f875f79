# scikit-learn has no annotations.
# pyright: reportMissingTypeStubs=false, reportUnknownVariableType=false, reportUnknownMemberType=false, reportUnknownArgumentType=false
"""How well a model finds sarcasm, by dataset, and the calibration of its probabilities."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from data.labels import SARCASTIC
from evaluation.metrics import RESAMPLES, Estimate

if TYPE_CHECKING:
    import pandas as pd

_TINY = 1e-6


@dataclass(frozen=True)
class SarcasmRow:
    """One candidate on the test rows of one dataset that labels sarcasm."""

    dataset: str
    n: int
    sarcastic: int
    """Of them, by their label."""
    f1: Estimate
    """Of the sarcastic class, 0 to 1."""
    precision: float
    recall: float

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {**asdict(self), "f1": self.f1.to_dict()}

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Self:
        """Return the row from its JSON form."""
        fields: dict[str, Any] = {**raw, "f1": Estimate.from_dict(raw["f1"])}
        return cls(**fields)


@dataclass(frozen=True)
class SarcasmReport:
    """What a candidate finds, and `sigmoid(scale * logit + offset)`, which makes its logit a probability."""

    scale: float = 1.0
    offset: float = 0.0
    rows: tuple[SarcasmRow, ...] = field(default=())

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {"scale": self.scale, "offset": self.offset, "rows": [row.to_dict() for row in self.rows]}

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Self:
        """Return the report from its JSON form."""
        return cls(raw["scale"], raw["offset"], tuple(SarcasmRow.from_dict(row) for row in raw["rows"]))


def fit_calibration(sarcastic: np.ndarray, proba: np.ndarray) -> tuple[float, float]:
    """Return scale and offset of the logit that fit the labels best (Platt 1999); 1 and 0 where one class is missing.

    Args:
        sarcastic: Whether each of N texts is, bool.
        proba: Probabilities that are not calibrated, shape (N,).
    """
    from sklearn.linear_model import LogisticRegression

    if len(np.unique(sarcastic)) < 2:
        return 1.0, 0.0
    fitted = LogisticRegression().fit(_logit(proba)[:, np.newaxis], sarcastic)
    scale = float(fitted.coef_[0, 0])
    # A model that ranks no better than chance keeps its own scale: a negative one would turn its order around.
    return (round(scale, 4), round(float(fitted.intercept_[0]), 4)) if scale > 0 else (1.0, 0.0)


def calibrate(proba: np.ndarray, scale: float, offset: float) -> np.ndarray:
    """Return calibrated probabilities, shape (N,)."""
    return 1 / (1 + np.exp(-(scale * _logit(proba) + offset)))


def sarcasm_rows(
    frame: "pd.DataFrame", proba: np.ndarray, *, resamples: int = RESAMPLES, seed: int = 0
) -> tuple[SarcasmRow, ...]:
    """Return one row for each dataset.

    Args:
        frame: Test rows with `source` and `sarcasm`, none of them missing.
        proba: Calibrated probabilities, shape (N,).
        resamples: Resamples of the bootstrap.
        seed: Its seed.
    """
    rows: list[SarcasmRow] = []
    for source, part in frame.assign(found=proba >= SARCASTIC).groupby("source", sort=True):
        sarcastic, found = part["sarcasm"].to_numpy(dtype=bool), part["found"].to_numpy(dtype=bool)
        counts = np.array([[(true & one).sum() for one in (~found, found)] for true in (~sarcastic, sarcastic)])
        scores = score_counts(counts, resamples=resamples, seed=seed)
        f1, precision, recall = (scores[f"sarcasm_{name}"] for name in ("f1", "precision", "recall"))
        rows.append(SarcasmRow(str(source), len(part), int(sarcastic.sum()), f1, precision.value, recall.value))
    return tuple(rows)


def score_counts(counts: np.ndarray, *, resamples: int = RESAMPLES, seed: int = 0) -> dict[str, Estimate]:
    """Return F1, precision and recall of the sarcastic class, with 95 % intervals by the bootstrap over texts.

    Args:
        counts: Texts, int, shape (2, 2): row = whether one is sarcastic, column = whether it was found.
        resamples: Resamples of the bootstrap.
        seed: Its seed.
    """
    # A resample of texts is a draw of the four counts.
    shares = counts.ravel() / counts.sum()
    draws = np.random.default_rng(seed).multinomial(int(counts.sum()), shares, resamples)
    values, samples = _scores(counts.reshape(1, 4)), _scores(draws)
    return {
        f"sarcasm_{name}": Estimate(float(values[name][0]), *map(float, np.quantile(samples[name], [0.025, 0.975])))
        for name in values
    }


def _scores(counts: np.ndarray) -> dict[str, np.ndarray]:
    """Return the metrics of N sets of counts, shape (N, 4); 0 where nothing is or was found sarcastic."""
    _, wrong, missed, right = counts.T
    return {
        "f1": 2 * right / np.maximum(2 * right + wrong + missed, 1),
        "precision": right / np.maximum(right + wrong, 1),
        "recall": right / np.maximum(right + missed, 1),
    }


def _logit(proba: np.ndarray) -> np.ndarray:
    sure = np.clip(proba.astype(np.float64), _TINY, 1 - _TINY)
    return np.log(sure / (1 - sure))
