# scikit-learn has no annotations.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false, reportMissingTypeStubs=false
"""Peers with logistic regression: what costs an afternoon, on the leaderboard and never served.

`tfidf` reads words and pairs of words, and 2 to 5 letters within words, each weighted by its inverse document frequency.
`static` reads the mean of MiniLM's input embeddings (training/static_vectors.py). The classes are weighted by their inverse
frequency, as for the transformers. The regularization is the one with the best macro-recall on the validation rows.
"""

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from data.cleaning import clean
from data.errors import CandidateUnavailable
from data.labels import LABEL_IDS, LABELS
from training.candidates import Candidate
from training.finetune import TrainedCandidate, choose_rows, labeled, rows_by_dataset, write_trained
from training.settings import TrainingSettings

if TYPE_CHECKING:
    import pandas as pd

STRENGTHS = {"tfidf": (0.25, 0.5, 1.0, 2.0, 4.0), "static": (0.001, 0.01, 0.1, 1.0)}
"""Inverse regularization strengths that are tried (`C` of scikit-learn), by kind."""
MODEL = "model.joblib"


class LinearPredictor:
    """The fitted model."""

    def __init__(self, name: str, checkpoint: Path) -> None:
        import joblib

        if not (checkpoint / MODEL).is_file():
            raise CandidateUnavailable(f"{name} has not been trained.", remedy=f"Run `groundswell train --candidate {name}`.")
        self.name = name
        self._vectors, self._model = joblib.load(checkpoint / MODEL)

    def predict_proba(self, texts: Sequence[str], *, domains: Sequence[str] | None = None) -> np.ndarray:
        """Return probabilities, float32, shape (N, 3)."""
        if not len(texts):
            return np.empty((0, len(LABELS)), dtype=np.float32)
        return self._model.predict_proba(self._vectors.transform([clean(text) for text in texts])).astype(np.float32)


def fit_linear_peer(
    candidate: Candidate,
    train: "pd.DataFrame",
    val: "pd.DataFrame",
    out_dir: Path,
    settings: TrainingSettings,
    *,
    progress: Callable[[str, float | None], None] | None = None,
) -> TrainedCandidate:
    """Fit it on the rows that the transformers are trained on; `out_dir` gets `checkpoint/` and `report.json`.

    Args:
        candidate: Of a kind in `LINEAR`.
        train: Rows with `text` and `label`; at most `settings.max_train_rows` of them are used.
        val: Rows whose macro-recall selects the strength; at most `settings.max_val_rows`.
        out_dir: Replaced as a whole.
        settings: Rows and seed.
        progress: Called with a message and the fraction done.

    Raises:
        TrainingFailed: There are no labeled rows, or a class is missing.
    """
    import joblib
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import recall_score

    def show(message: str, done: float) -> None:
        if progress:
            progress(message, done)

    def save(folder: Path) -> None:
        joblib.dump((vectors, best), folder / MODEL)

    started = time.monotonic()
    train = labeled(train, "train")
    rows = choose_rows(train, settings.max_train_rows, settings.seed)
    held_out = choose_rows(labeled(val, "val"), settings.max_val_rows, settings.seed)
    show("reading texts", 0.0)
    vectors, strengths = _vectors(candidate), STRENGTHS[candidate.kind]
    features = vectors.fit_transform([clean(text) for text in rows["text"]])
    unseen = vectors.transform([clean(text) for text in held_out["text"]])
    labels, expected = (np.array([LABEL_IDS[label] for label in frame["label"]]) for frame in (rows, held_out))
    best, best_recall = None, -1.0
    for number, strength in enumerate(strengths):
        show(f"strength {strength:g}, {number + 1} of {len(strengths)}", (1 + number) / (1 + len(strengths)))
        model = LogisticRegression(C=strength, class_weight="balanced", max_iter=300, random_state=settings.seed)
        recall = float(recall_score(expected, model.fit(features, labels).predict(unseen), average="macro"))
        if recall > best_recall:
            best, best_recall = model, recall
    result = TrainedCandidate(
        name=candidate.name,
        directory=out_dir,
        from_scratch=False,
        rows=len(rows),
        epochs=1.0,
        seconds=round(time.monotonic() - started, 1),
        best_macro_recall=best_recall,
        bf16=False,
        seed=settings.seed,
        trained_at=datetime.now(UTC).isoformat(timespec="seconds"),
        datasets=rows_by_dataset(rows, train),
    )
    write_trained(out_dir, result, save)
    return result


def _vectors(candidate: Candidate) -> Any:
    if candidate.kind == "static":
        from training.static_vectors import StaticVectors

        return StaticVectors(candidate)
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.pipeline import make_union

    both: dict[str, Any] = {"sublinear_tf": True, "dtype": np.float32}  # half the memory of the default
    words = TfidfVectorizer(ngram_range=(1, 2), min_df=2, token_pattern=r"\S+", **both)
    letters = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), min_df=3, **both)
    return make_union(words, letters)
