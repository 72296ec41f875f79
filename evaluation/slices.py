"""Slices: the same metrics on parts of the test split, which show where a candidate is weak."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import pandas as pd

from data.cleaning import clean, decoded
from data.emoji_words import has_emoji
from data.errors import DataError
from data.labels import LABEL_IDS, LABELS
from evaluation.metrics import RESAMPLES, Estimate, check_proba, score

MIN_ROWS = 30
"""A slice with fewer rows has no metrics, only its size: its interval would span most of the scale."""
UNCERTAIN_BELOW = 0.7
SHORT_WORDS, MEDIUM_WORDS = 10, 20
"""Short: at most 10 words; medium: at most 20; else long. White space separates words."""

# English negators and their contractions, with or without the apostrophe, including "hardly" and "without".
_NEGATION = re.compile(
    r"\b(?:not|no|never|none|nobody|nothing|nowhere|neither|nor|cannot|without|hardly|barely|scarcely|"
    r"\w+n['’]t|(?:ai|are|ca|could|did|do|does|had|has|have|is|must|should|was|were|wo|would)nt)\b",
    re.IGNORECASE,
)
_HASHTAG = re.compile(r"(?<![\w&/])#\w*[^\W\d_]")


@dataclass(frozen=True)
class SliceRow:
    """The metrics of one candidate on one slice."""

    slice: str
    n: int
    classes: tuple[str, ...]
    """Labels that occur; macro averages are over these only."""
    metrics: dict[str, Estimate]
    """Empty if the slice has too few rows."""

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        metrics = {name: estimate.to_dict() for name, estimate in self.metrics.items()}
        return {"slice": self.slice, "n": self.n, "classes": list(self.classes), "metrics": metrics}

    @classmethod
    def from_dict(cls, raw: dict[str, Any]) -> Self:
        """Return the row from its JSON form."""
        metrics = {name: Estimate.from_dict(value) for name, value in raw["metrics"].items()}
        return cls(raw["slice"], raw["n"], tuple(raw["classes"]), metrics)


def slice_masks(frame: pd.DataFrame) -> dict[str, np.ndarray]:
    """Return the rows of each slice; a row can be in several.

    Args:
        frame: Labeled text (columns of `data.labeled_text.LABELED_TEXT`), N rows.

    Returns:
        Boolean masks, shape (N,), by slice name: `source=<dataset>`, `domain=<domain>`, `length=short|medium|long`,
        `negation`, `emoji` (without emoticons such as `:)`), `hashtag`, `question` (a question mark outside
        URLs), `uncertain labels` (label_confidence under 0.7). Texts are cleaned first. Empty slices are left out.
    """
    texts = [clean(text) for text in frame["text"]]
    words = np.array([len(text.split()) for text in texts], dtype=np.int64)
    masks: dict[str, np.ndarray] = {}
    for column in ("source", "domain"):
        values = frame[column].astype(str).to_numpy()
        masks |= {f"{column}={value}": values == value for value in sorted(set(values))}
    masks["length=short"] = words <= SHORT_WORDS
    masks["length=medium"] = (words > SHORT_WORDS) & (words <= MEDIUM_WORDS)
    masks["length=long"] = words > MEDIUM_WORDS
    masks["negation"] = np.array([_NEGATION.search(text) is not None for text in texts], dtype=bool)
    masks["emoji"] = np.array([has_emoji(decoded(text)) for text in frame["text"]], dtype=bool)
    masks["hashtag"] = np.array([_HASHTAG.search(text) is not None for text in texts], dtype=bool)
    masks["question"] = np.array(["?" in text for text in texts], dtype=bool)
    confidence = pd.to_numeric(frame["label_confidence"], errors="coerce").to_numpy(dtype=float)
    masks["uncertain labels"] = np.nan_to_num(confidence, nan=1.0) < UNCERTAIN_BELOW
    return {name: mask for name, mask in masks.items() if mask.any()}


def label_ids(frame: pd.DataFrame) -> np.ndarray:
    """Return the class ids of a frame, int64, shape (N,); -1 where a row has no sentiment label.

    Raises:
        DataError: A label is not one of `LABELS`.
    """
    labels = frame["label"]
    unknown = sorted({str(value) for value in labels.dropna().unique()} - set(LABEL_IDS))
    if unknown:
        raise DataError("Unknown labels in the test split.", found=unknown, expected=", ".join(LABELS))
    return labels.map(LABEL_IDS).fillna(-1).to_numpy(dtype=np.int64)


def slice_report(
    frame: pd.DataFrame,
    proba: np.ndarray,
    *,
    min_rows: int = MIN_ROWS,
    resamples: int = RESAMPLES,
    seed: int = 0,
    masks: dict[str, np.ndarray] | None = None,
) -> list[SliceRow]:
    """Compute metrics on every slice.

    A dataset without neutral rows is evaluated with all three classes: a neutral prediction is an error there, and macro
    averages are over its two classes.

    Args:
        frame: Labeled text, N rows; rows without a sentiment label are ignored.
        proba: Probabilities of the same rows, shape (N, 3).
        min_rows: Slices with fewer labeled rows get no metrics.
        resamples: Bootstrap resamples.
        seed: Seed of the resampling.
        masks: `slice_masks(frame)`, if already computed: it does not depend on the candidate.
    """
    labels = label_ids(frame)
    proba = check_proba(proba, len(labels))
    rows: list[SliceRow] = []
    for name, mask in (slice_masks(frame) if masks is None else masks).items():
        chosen = mask & (labels >= 0)
        count = int(chosen.sum())
        if count == 0:
            continue
        present = tuple(LABELS[int(index)] for index in np.unique(labels[chosen]))
        metrics = score(labels[chosen], proba[chosen], resamples=resamples, seed=seed) if count >= min_rows else {}
        rows.append(SliceRow(name, count, present, metrics))
    return rows


def weakest(rows: Sequence[SliceRow], metric: str = "macro_recall") -> SliceRow | None:
    """Return the slice with the lowest value of a metric, or None."""
    measured = [row for row in rows if row.metrics and np.isfinite(row.metrics[metric].value)]
    return min(measured, key=lambda row: row.metrics[metric].value, default=None)
