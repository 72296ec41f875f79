"""Train candidates, each into its own folder."""

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data.artifacts import KEY_FILE, digest, is_current, mark_current, read_json
from data.errors import CandidateUnavailable
from orchestration.layout import Layout
from orchestration.progress import report
from orchestration.steps.data import read_splits, read_texts, training_datasets
from orchestration.steps.tracking import log_candidate, log_training, open_tracking, parent_of
from training.candidates import Candidate, load_candidates
from training.settings import TrainingSettings

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pandas as pd

    from training.finetune import TrainedCandidate
    from training.tracking import Tracking


def candidate_folder(layout: Layout, candidate: Candidate) -> Path:
    """Return the folder of a trained candidate."""
    return layout.candidates / candidate.name


def is_trained(layout: Layout, candidate: Candidate) -> bool:
    """Return whether a candidate has been trained, on whatever data."""
    return (candidate_folder(layout, candidate) / KEY_FILE).is_file()


def train_candidate(layout: Layout, candidate: Candidate, *, run_name: str | None = None) -> bool:
    """Fine-tune one candidate on the datasets for training, and log the run to MLflow.

    Args:
        layout: Where splits are read and the candidate is written.
        candidate: The candidate. VADER needs no training.
        run_name: The Dagster run, whose parent run in MLflow gets a nested run; None: nothing is logged.

    Returns:
        True when an unchanged one was reused.
    """
    from training.finetune import finetune

    if candidate.kind == "vader":
        return True
    settings = layout.settings(TrainingSettings)
    datasets = training_datasets()
    key = _key(layout, candidate)
    target = candidate_folder(layout, candidate)
    if is_current(target, key):
        return True
    log = _TrainingLog(layout, candidate, run_name) if run_name else None
    # `finetune` replaces the whole folder itself, since it keeps checkpoints next to it to resume from.
    train, val = (read_texts(layout, split, datasets=datasets) for split in ("train", "val"))
    trained = finetune(candidate, train, val, target, settings, progress=report, recorded=log.recorded if log else None)
    mark_current(target, key)
    if log:
        log.finish(trained)
    return False


def _key(layout: Layout, candidate: Candidate) -> dict[str, Any]:
    """Return what a trained candidate depends on."""
    return {
        "candidate": candidate.model_dump(mode="json"),
        "settings": layout.settings(TrainingSettings).of_the_run(),
        "data": read_splits(layout).fingerprint,
        "sets": training_datasets(),
    }


def require_trained(layout: Layout) -> str | None:
    """Check that a candidate has been trained.

    Returns:
        The candidates that were trained on other data or with other settings, in one line; None when all are up to date.

    Raises:
        CandidateUnavailable: No candidate has been trained.
    """
    candidates = [one for one in load_candidates().values() if one.exportable]
    trained = [one for one in candidates if is_trained(layout, one)]
    if not trained or not (layout.splits / "report.json").is_file():
        raise CandidateUnavailable(
            "Nothing has been trained yet.",
            found=f"no checkpoint in {layout.candidates}" if not trained else f"no splits in {layout.splits}",
            expected=f"at least one of {', '.join(one.name for one in candidates)}",
            remedy="Run `groundswell train` (about an hour on all rows), or this command with --with-upstream.",
        )
    old = [one.name for one in trained if not is_current(candidate_folder(layout, one), _key(layout, one))]
    if not old:
        return None
    return f"Used as trained, though data or settings have changed since: {', '.join(old)}. `groundswell train` updates them."


class _TrainingLog:
    """The nested run of one training in MLflow; it is running as long as the model is trained."""

    def __init__(self, layout: Layout, candidate: Candidate, dagster_run: str) -> None:
        self.layout, self.candidate, self.dagster_run = layout, candidate, dagster_run

    @contextmanager
    def _run(self) -> "Iterator[tuple[Tracking, str]]":
        tracking = open_tracking(self.layout)
        parent = parent_of(self.layout, tracking, self.dagster_run, "training")
        with tracking.nested_run(parent, self.candidate.name) as run:
            yield tracking, run

    @contextmanager
    def recorded(self, train: "pd.DataFrame", val: "pd.DataFrame") -> "Iterator[None]":
        """Log parameters and datasets. Entered with the rows that are used, once the base model is available."""
        with self._run() as (tracking, run):
            log_candidate(self.layout, tracking, run, self.candidate, rows=len(train), state="trained")
            for frame, context in ((train, "training"), (val, "validation")):
                name = "+".join(sorted(frame["source"].unique()))
                tracking.log_dataset(run, frame, source=self.layout.splits / "texts.parquet", name=name, context=context)
            yield

    def finish(self, trained: "TrainedCandidate") -> None:
        """Log the result; a model that is used as published was not recorded before."""
        report("logging to MLflow")
        with self._run() as (tracking, run):
            if self.candidate.kind == "as_is":
                log_candidate(self.layout, tracking, run, self.candidate, rows=None, state="as published")
            log_training(tracking, run, trained)


def trained_report(layout: Layout, candidate: Candidate) -> dict[str, Any]:
    """Return the report of the training; empty for VADER."""
    path = candidate_folder(layout, candidate) / "report.json"
    return read_json(path) if path.is_file() else {}


def predictor_key(layout: Layout, candidate: Candidate) -> str:
    """Return a key that changes whenever the candidate would predict differently."""
    trained = (candidate_folder(layout, candidate) / KEY_FILE).read_text() if is_trained(layout, candidate) else ""
    return digest({"candidate": candidate.model_dump(mode="json"), "trained": trained})
