"""Distillation: the probabilities that a teacher gives to texts are what a student learns.

A student learns from more texts than have labels: every text of a training split, also of datasets whose labels are of another
kind. Gold labels of the datasets for training are mixed in. Source of the method: Hinton, Vinyals and Dean 2015,
"Distilling the Knowledge in a Neural Network" (softened probabilities, mixed with gold labels).
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from zipfile import BadZipFile

import numpy as np

from data.artifacts import atomic_file, digest
from data.cleaning import CLEANING_VERSION
from data.contracts import Predictor
from data.domains import GENERAL
from data.errors import TrainingFailed
from data.labels import LABEL_IDS, LABELS
from training.heads import ONE_HEAD, SARCASM, SARCASM_ONLY
from training.settings import DistillationSettings

if TYPE_CHECKING:
    import pandas as pd

TARGET = "target"
"""Column of the rows of a student: what it learns for a text, three numbers of at least 0 in the order of the labels."""
CHUNK = 2048
"""Texts between two files: what a killed run loses at most."""

Progress = Callable[[str, float | None], None]


def soft_labels(
    teacher: Callable[[], Predictor],
    teacher_key: str,
    texts: Sequence[str],
    store: Path,
    *,
    domains: Sequence[str] | None = None,
    progress: Progress | None = None,
) -> np.ndarray:
    """Return the teacher's probabilities of N texts, float32, shape (N, 3). Blocks for minutes where they are not stored yet.

    They are stored by text, teacher and cleaning version. A run that is killed loses at most `CHUNK` texts.

    Args:
        teacher: Loads the teacher; called only if a text is not stored.
        teacher_key: Changes whenever the teacher would predict differently.
        texts: Raw texts, as a predictor takes them.
        domains: The domain of each text, of a teacher with heads for domains; else None.
        store: Folder of the files of all teachers; soft labels of other teachers and cleaning versions are left alone.
        progress: Called with a message and the fraction done.
    """
    folder = store / digest([teacher_key, CLEANING_VERSION])[:16]
    known = _stored(folder)
    asked = [(text, None) for text in texts] if domains is None else list(zip(texts, domains, strict=True))
    keys = [digest(text if domain is None else [text, domain]) for text, domain in asked]
    missing = list({key: one for key, one in zip(keys, asked, strict=True) if key not in known}.items())
    if missing:
        folder.mkdir(parents=True, exist_ok=True)
        predictor = teacher()
        missing.sort(key=lambda entry: len(entry[1][0]))
        for start in range(0, len(missing), CHUNK):
            part = missing[start : start + CHUNK]
            if progress:
                progress(f"soft labels: {start:,} of {len(missing):,}", start / len(missing))
            of_each = None if domains is None else [domain or GENERAL for _, (_, domain) in part]
            proba = predictor.predict_proba([text for _, (text, _) in part], domains=of_each)
            _store(folder, [key for key, _ in part], proba)
            known.update(zip((key for key, _ in part), proba, strict=True))
    return np.array([known[key] for key in keys], dtype=np.float32).reshape(-1, len(LABELS))


def student_rows(
    frame: "pd.DataFrame",
    soft: np.ndarray,
    gold_datasets: Sequence[str],
    settings: DistillationSettings,
    *,
    heads: tuple[str, ...] = ONE_HEAD,
) -> "pd.DataFrame":
    """Return the rows with a column `target`: softened probabilities of the teacher, mixed with the gold label where it counts.

    Gold labels are weighted by the inverse frequency of their class, over all domains; the teacher's probabilities are already
    balanced, since it was trained that way. Rows of a domain for which the teacher has no head become `general`: a student has
    the heads of its teacher.

    Args:
        frame: Rows with `text`, `label` and `source`.
        soft: The teacher's probabilities, shape (N, 3).
        gold_datasets: Datasets whose labels are mixed in.
        settings: Temperature and share of gold.
        heads: Of the teacher.

    Raises:
        TrainingFailed: There are no rows.
    """
    if frame.empty:
        raise TrainingFailed("There are no texts to distill from.", remedy="Enable a dataset in configs/datasets.yaml.")
    softened = np.power(np.maximum(soft, 1e-7), 1.0 / settings.temperature)
    target = softened / softened.sum(axis=1, keepdims=True)
    has_gold = (frame["source"].isin(gold_datasets) & frame["label"].notna()).to_numpy()
    if has_gold.any():
        ids = frame["label"].map(LABEL_IDS).to_numpy()[has_gold].astype(int)
        weights = len(ids) / (len(LABELS) * np.maximum(np.bincount(ids, minlength=len(LABELS)), 1))
        gold = np.eye(len(LABELS))[ids] * weights[ids, None]
        target[has_gold] = (1 - settings.gold) * target[has_gold] + settings.gold * gold
    # A sarcastic text is not positive, whatever the teacher takes it for; of satire nothing is known.
    if SARCASM in frame:
        sarcastic = frame[SARCASM].eq(True).fillna(False).to_numpy(dtype=bool) & ~has_gold
        if SARCASM_ONLY in frame:
            sarcastic &= ~frame[SARCASM_ONLY].to_numpy(dtype=bool)
        target[sarcastic, LABEL_IDS["positive"]] = 0.0
        target[sarcastic] /= target[sarcastic].sum(axis=1, keepdims=True)
    if "domain" in frame:
        frame = frame.assign(domain=frame["domain"].where(frame["domain"].isin(heads), GENERAL))
    return frame.assign(**{TARGET: list(target.astype(np.float32))})


def _stored(folder: Path) -> dict[str, np.ndarray]:
    known: dict[str, np.ndarray] = {}
    for path in sorted(folder.glob("*.npz")):
        try:
            with np.load(path) as stored:
                known.update(zip(stored["keys"].tolist(), stored["proba"], strict=True))
        except (OSError, ValueError, KeyError, BadZipFile):  # damaged: its texts are computed again
            path.unlink(missing_ok=True)
    return known


def _store(folder: Path, keys: list[str], proba: np.ndarray) -> None:
    with atomic_file(folder / f"{digest(keys)[:16]}.npz") as temporary, temporary.open("wb") as out:
        np.savez(out, keys=np.array(keys), proba=proba)
