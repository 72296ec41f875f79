"""Candidates are trained, each to its own folder."""

from pathlib import Path

from data.artifacts import digest, is_current, mark_current
from data.contracts import Predictor
from orchestration.layout import Layout
from orchestration.progress import report
from orchestration.steps.data import read_splits, read_texts, training_sets
from training.candidates import Candidate
from training.settings import TrainingSettings


def candidate_folder(layout: Layout, candidate: Candidate) -> Path:
    """Where a trained candidate lies."""
    return layout.candidates / candidate.name


def train_candidate(layout: Layout, candidate: Candidate) -> bool:
    """Fine-tune one candidate on the training sets.

    Returns:
        True when an unchanged one was reused.
    """
    from training.finetune import finetune

    settings = TrainingSettings.load()
    splits = read_splits(layout)
    sets = training_sets()
    key = {
        "candidate": candidate.model_dump(mode="json"),
        "settings": settings.of_the_run(),
        "data": splits.fingerprint,
        "sets": sets,
    }
    target = candidate_folder(layout, candidate)
    if is_current(target, key):
        return True
    # `finetune` replaces the folder whole by itself, since it keeps checkpoints beside it to resume from.
    train, val = (read_texts(layout, split, sets=sets) for split in ("train", "val"))
    finetune(candidate, train, val, target, settings, progress=report)
    mark_current(target, key)
    return False


def predictor_key(layout: Layout, candidate: Candidate) -> str:
    """Changes whenever the candidate would answer differently."""
    key_file = candidate_folder(layout, candidate) / "key.json"
    trained = key_file.read_text() if key_file.is_file() else ""
    return digest({"candidate": candidate.model_dump(mode="json"), "trained": trained})


def predictor(layout: Layout, candidate: Candidate) -> Predictor:
    """The trained candidate, ready to judge."""
    from training.predictors import load_predictor

    return load_predictor(candidate, candidate_folder(layout, candidate))
