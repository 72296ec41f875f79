"""How well a model scores the sentiment of a text towards one company, see data/targets.py."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from data.labels import LABEL_IDS
from data.targets import contrasts, mark_target
from evaluation.behavior import wilson
from evaluation.metrics import RESAMPLES, Estimate

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class TargetReport:
    """One candidate on the test rows with a score for a company, and on made sentences about two companies."""

    n: int
    """Test rows."""
    correlation: Estimate
    """Of P(positive) - P(negative) with the scores (Pearson), -1 to 1, with a 95 % interval by the bootstrap over rows."""
    pairs: int
    """Pairs of companies that one text names, with different scores."""
    order: Estimate | None
    """Share of them whose order is right, 0 to 1, with a Wilson interval; None: there are none."""
    sentences: int
    """Made ones, with other phrases and names than those that were learned from."""
    made: Estimate
    """Share of them whose order is right."""

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "n": self.n,
            "correlation": self.correlation.to_dict(),
            "pairs": self.pairs,
            "order": self.order.to_dict() if self.order else None,
            "sentences": self.sentences,
            "made": self.made.to_dict(),
        }

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Self:
        """Return the report from its JSON form."""
        order = Estimate.from_dict(raw["order"]) if raw["order"] else None
        parts = Estimate.from_dict(raw["correlation"]), raw["pairs"], order, raw["sentences"], Estimate.from_dict(raw["made"])
        return cls(raw["n"], *parts)


def report_targets(
    scored: "pd.DataFrame", predict: Callable[[Sequence[str]], np.ndarray], *, resamples: int = RESAMPLES, seed: int = 0
) -> TargetReport:
    """Measure a model.

    Args:
        scored: Test rows with `text`, `marked` and `score`, two at least.
        predict: Returns the probabilities of N marked texts, shape (N, 3).
        resamples: Resamples of the bootstrap.
        seed: Its seed.
    """
    rows = contrasts("test")
    found = _towards(predict([*scored["marked"], *(mark_target(row.text, row.target)[0] for row in rows)]))
    ours, made = found[: len(scored)], found[len(scored) :]
    scores = scored["score"].to_numpy(dtype=np.float64)
    right, pairs = _in_order(scored["text"].tolist(), scores, ours)
    right_made = int((made[0::2] > made[1::2]).sum())
    return TargetReport(
        n=len(scored),
        correlation=_correlation(scores, ours, resamples, seed),
        pairs=pairs,
        order=wilson(right, pairs) if pairs else None,
        sentences=len(rows) // 2,
        made=wilson(right_made, len(rows) // 2),
    )


def target_cells(report: TargetReport) -> list[list[str]]:
    """Return the rows of a table: what is measured, on what, and the value with its interval."""
    value = f"{report.correlation.value:.2f} [{report.correlation.low:.2f}, {report.correlation.high:.2f}]"
    cells = [["Correlation with the scores", f"{report.n:,} texts", value]]
    if report.order:
        cells.append(["Right order of two companies, %", f"{report.pairs:,} pairs", report.order.text()])
    return [*cells, ["The same in made sentences, %", f"{report.sentences:,} sentences", report.made.text()]]


def _towards(proba: np.ndarray) -> np.ndarray:
    return proba[:, LABEL_IDS["positive"]] - proba[:, LABEL_IDS["negative"]]


def _correlation(scores: np.ndarray, found: np.ndarray, resamples: int, seed: int) -> Estimate:
    """Return the correlation; 0 where one of both is constant."""
    drawn = np.random.default_rng(seed).integers(len(scores), size=(resamples, len(scores)))
    value = float(_pearson(scores[np.newaxis], found[np.newaxis])[0])
    return Estimate(value, *map(float, np.quantile(_pearson(scores[drawn], found[drawn]), [0.025, 0.975])))


def _pearson(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the correlation of each row of two arrays of shape (R, N)."""
    a, b = a - a.mean(axis=1, keepdims=True), b - b.mean(axis=1, keepdims=True)
    scale = np.sqrt((a * a).sum(axis=1) * (b * b).sum(axis=1))
    return np.divide((a * b).sum(axis=1), scale, out=np.zeros_like(scale), where=scale > 0)


def _in_order(texts: Sequence[str], scores: np.ndarray, found: np.ndarray) -> tuple[int, int]:
    """Return how many pairs of rows of one text with different scores are in the right order, and their number."""
    places: dict[str, list[int]] = {}
    for place, text in enumerate(texts):
        places.setdefault(text, []).append(place)
    right = pairs = 0
    for rows in places.values():
        for position, one in enumerate(rows):
            for other in rows[:position]:
                if scores[one] != scores[other]:
                    pairs += 1
                    right += int((scores[one] - scores[other]) * (found[one] - found[other]) > 0)
    return right, pairs
