"""Train candidates, each into its own folder."""

from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data.artifacts import KEY_FILE, digest, is_current, mark_current, read_json
from data.catalog import load_catalog
from data.errors import CandidateUnavailable, SettingsError
from orchestration.layout import Layout
from orchestration.progress import report
from orchestration.steps.data import read_splits, read_texts, training_datasets, unlabeled_texts
from orchestration.steps.tracking import log_candidate, log_training, open_tracking, parent_of
from training.candidates import LINEAR, Candidate, load_candidates, trainable
from training.heads import LEAST_ROWS, ONE_HEAD, SARCASM_ONLY
from training.settings import DistillationSettings, TrainingSettings

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
    from training.linear_peers import fit_linear_peer

    if candidate.kind == "vader":
        return True
    settings = layout.settings(TrainingSettings)
    key = _key(layout, candidate)
    target = candidate_folder(layout, candidate)
    if is_current(target, key):
        return True
    log = _TrainingLog(layout, candidate, run_name) if run_name else None
    # `finetune` replaces the whole folder itself, since it keeps checkpoints next to it to resume from.
    datasets = training_datasets()
    if candidate.kind == "student":
        train = _student_rows(layout)
    else:
        train = _flagged(read_texts(layout, "train", datasets=datasets, sarcasm=candidate.kind == "transformer"))
    val = read_texts(layout, "val", datasets=datasets)
    recorded = log.recorded if log else None
    if candidate.kind in LINEAR:
        with recorded(train, val) if recorded else nullcontext():
            trained = fit_linear_peer(candidate, train, val, target, settings, progress=report)
    else:
        trained = finetune(candidate, train, val, target, settings, progress=report, recorded=recorded)
    mark_current(target, key)
    if log:
        log.finish(trained)
    return False


def _flagged(frame: "pd.DataFrame") -> "pd.DataFrame":
    """Return the rows; where some are of a dataset with `sarcasm_only`, with a column that flags them."""
    only = frame["source"].isin([name for name, spec in load_catalog().items() if spec.sarcasm_only])
    return frame.assign(**{SARCASM_ONLY: only}) if only.any() else frame


def _student_rows(layout: Layout) -> "pd.DataFrame":
    """Return what a student learns: every text that is in no test or validation split, with the teacher's probabilities.

    It learns sarcasm, from the labels, if its teacher did.

    Raises:
        CandidateUnavailable: The teacher has not been trained.
    """
    from training.distill import soft_labels, student_rows
    from training.finetune import choose_rows
    from training.predictors import load_predictor

    teacher = teacher_of_students(layout)
    if not is_trained(layout, teacher):
        raise CandidateUnavailable(
            f"Students learn from {teacher.name}, which has not been trained.",
            remedy=f"Run `groundswell train --candidate {teacher.name}`, or set GROUNDSWELL_DISTILLATION__TEACHER.",
        )
    settings = layout.settings(TrainingSettings)
    rows = choose_rows(_flagged(unlabeled_texts(layout)), settings.max_train_rows, settings.seed)
    load = partial(load_predictor, teacher, candidate_folder(layout, teacher))
    key = predictor_key(layout, teacher)
    heads = trained_heads(layout, teacher)
    if not finds_sarcasm(layout, teacher):
        rows = rows.assign(sarcasm=None)
    domains = rows["domain"].tolist() if heads != ONE_HEAD else None
    soft = soft_labels(load, key, rows["text"].tolist(), layout.soft_labels, domains=domains, progress=report)
    return student_rows(rows, soft, training_datasets(), layout.settings(DistillationSettings), heads=heads)


def teacher_of_students(layout: Layout) -> Candidate:
    """Return the candidate that `distillation.teacher` names.

    Raises:
        SettingsError: There is none of this name, or it is a student itself.
    """
    teacher = trainable(layout.settings(DistillationSettings).teacher)
    if teacher.kind == "student":
        raise SettingsError(
            f"{teacher.name} is a student, and no teacher.", remedy="Set GROUNDSWELL_DISTILLATION__TEACHER to another candidate."
        )
    return teacher


def _key(layout: Layout, candidate: Candidate) -> dict[str, Any]:
    """Return what a trained candidate depends on."""
    key = {
        "candidate": candidate.model_dump(mode="json"),
        "settings": layout.settings(TrainingSettings).of_the_run(),
        "data": read_splits(layout).fingerprint,
        "sets": training_datasets(),
    }
    if candidate.kind == "student":
        key["distillation"] = layout.settings(DistillationSettings).model_dump(mode="json")
        key["teacher"] = predictor_key(layout, teacher_of_students(layout))
    return key


def is_up_to_date(layout: Layout, candidate: Candidate) -> bool:
    """Return whether a candidate has been trained on the present data with the present settings."""
    return is_current(candidate_folder(layout, candidate), _key(layout, candidate))


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
    old = [one.name for one in trained if not is_up_to_date(layout, one)]
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


def trained_heads(layout: Layout, candidate: Candidate) -> tuple[str, ...]:
    """Return the heads of a trained candidate; before models had heads, all had one."""
    return tuple(trained_report(layout, candidate).get("heads", ONE_HEAD))


def finds_sarcasm(layout: Layout, candidate: Candidate) -> bool:
    """Return whether a trained candidate has an output for sarcasm."""
    return bool(trained_report(layout, candidate).get("sarcasm", False))


def learned_targets(layout: Layout, candidate: Candidate) -> bool:
    """Return whether a trained candidate learned from texts about one company each."""
    used: dict[str, Any] = trained_report(layout, candidate).get("datasets", {})
    catalog = load_catalog()
    rows = sum(counts["rows"] for name, counts in used.items() if name in catalog and catalog[name].about)
    return rows >= LEAST_ROWS


def predictor_key(layout: Layout, candidate: Candidate) -> str:
    """Return a key that changes whenever the candidate would predict differently."""
    trained = (candidate_folder(layout, candidate) / KEY_FILE).read_text() if is_trained(layout, candidate) else ""
    return digest({"candidate": candidate.model_dump(mode="json"), "trained": trained})
