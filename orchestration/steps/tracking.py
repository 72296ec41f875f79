"""Log a benchmark to MLflow: a parent run, and nested runs for each candidate and the exported bundle."""

import platform
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data.artifacts import read_json, write_json
from evaluation.leaderboard import LeaderboardRow
from orchestration.layout import Layout
from orchestration.steps.data import read_splits, training_datasets
from serving.processes import mark_lives, process_mark
from training.candidates import Candidate
from training.settings import TrainingSettings
from training.tracking import PROCESS_TAG, Tracking

if TYPE_CHECKING:
    import numpy as np

    from training.finetune import TrainedCandidate
    from training.tracking import Ended

_QUALITY = ("macro_recall", "accuracy", "macro_f1", "ece", "recall_negative", "recall_neutral", "recall_positive")


_begun: dict[str, str] = {}
"""Parent runs that this process works on, by Dagster run."""


def open_tracking(layout: Layout) -> Tracking:
    """Open the MLflow store; runs whose process was killed are ended as FAILED first."""
    tracking = Tracking(layout.var)
    here = platform.node()

    def is_left(process: str | None) -> bool:
        machine, _, mark = (process or "").rpartition(" ")
        return process is None or (machine == here and not mark_lives(mark))

    tracking.end_left_behind(is_left)
    return tracking


def parent_of(layout: Layout, tracking: Tracking, dagster_run: str, what: str) -> str:
    """Return the parent run of a Dagster run; create it if there is none: "training 2026-11-28 04:26, 123,232 rows"."""
    name = f"{what} {datetime.now(UTC):%Y-%m-%d %H:%M}, {sum(read_splits(layout).rows.values()):,} rows"
    tags = {"dagster.run_id": dagster_run, PROCESS_TAG: f"{platform.node()} {process_mark()}"}
    known = tracking.find_parent(dagster_run)
    if known and what == "benchmark":  # the training of the same Dagster run made it
        tracking.client.update_run(known, name=name)
    _begun[dagster_run] = known or tracking.parent_run(dagster_run, name, tags)
    return _begun[dagster_run]


def logged_benchmark(layout: Layout) -> dict[str, str]:
    """Return leaderboard (`board`) and parent run (`parent`) of the benchmark that was logged last; empty if there was none."""
    try:
        return read_json(_logged_file(layout))
    except OSError:
        return {}


def mark_logged(layout: Layout, board: str, parent: str) -> None:
    """Record that a leaderboard is in MLflow, and under which parent run."""
    write_json(_logged_file(layout), {"board": board, "parent": parent})


def benchmark_parent(layout: Layout, tracking: Tracking, dagster_run: str) -> str:
    """Return the parent run of the benchmark that was logged last; where the store has none, one of this Dagster run."""
    known = logged_benchmark(layout).get("parent")
    if known and tracking.has_run(known):
        return known
    return parent_of(layout, tracking, dagster_run, "release")


def _logged_file(layout: Layout) -> Path:
    return layout.var / "mlflow" / "benchmark.json"


def end_parent(layout: Layout, dagster_run: str, status: "Ended") -> None:
    """End the parent run that this process started for a Dagster run, if it has not ended yet."""
    if parent := _begun.pop(dagster_run, None):
        Tracking(layout.var).end(parent, status)


def log_candidate(layout: Layout, tracking: Tracking, run: str, candidate: Candidate, *, rows: int | None, state: str) -> None:
    """Log what a candidate's run depends on: every parameter, the data, and where its checkpoint comes from."""
    settings = layout.settings(TrainingSettings)
    given = {**candidate.model_dump(mode="json"), **settings.of_the_run()}
    if candidate.exportable:
        given["epochs"] = settings.epochs or candidate.epochs
    fingerprint, datasets = read_splits(layout).fingerprint, ", ".join(training_datasets())
    tracking.log_params(run, {**given, "rows_used": rows, "data_fingerprint": fingerprint, "datasets": datasets})
    tracking.client.set_tag(run, "groundswell.state", state)


def log_training(tracking: Tracking, run: str, trained: "TrainedCandidate") -> None:
    """Log the curves and the result of a training."""
    tracking.log_curves(run, trained.history)
    numbers = {
        "val_macro_recall": trained.best_macro_recall,
        "cost/train_seconds": trained.seconds,
        "epochs_done": trained.epochs,
    }
    tracking.log_metrics(run, numbers)


def row_metrics(row: LeaderboardRow) -> dict[str, float]:
    """Return the metrics of a leaderboard row.

    Quality and CPU cost keep their names; the rest of the cost is named `cost/…`.
    """
    quality = {name: row.metrics[name].to_dict()["value"] for name in _QUALITY if name in row.metrics}
    metrics = {name: value for name, value in quality.items() if value is not None}
    for name, value in (row.cost.to_dict() if row.cost else {}).items():
        number = value["value"] if isinstance(value, dict) else value
        if isinstance(number, int | float) and name not in {"rounds", "bulk_texts", "single_texts"}:
            metrics["cpu_us_per_text" if name == "cpu_us_per_text" else f"cost/{name}"] = float(number)
    return metrics


def log_row(tracking: Tracking, run: str, row: LeaderboardRow) -> None:
    """Log a leaderboard row: its metrics, and its slices as a table."""
    tracking.log_metrics(run, row_metrics(row))
    slices = {
        "slice": [part.slice for part in row.slices],
        "rows": [part.n for part in row.slices],
        **{
            name: [part.metrics[name].to_dict()["value"] if name in part.metrics else None for part in row.slices]
            for name in ("macro_recall", "accuracy", "macro_f1")
        },
    }
    tracking.client.log_table(run, slices, "slices.json")


def log_large_model(tracking: Tracking, run: str, row: LeaderboardRow) -> None:
    """Log the row of a large model: what was asked as parameters; quality, price and latency as metrics."""
    facts = row.large_model
    assert facts is not None
    tracking.log_params(
        run, {"kind": "llm", "model": facts.model, "prompt": facts.prompt, "rows": row.n, "concurrency": facts.concurrency}
    )
    tracking.client.set_tag(run, "groundswell.state", "evaluated only")
    prices = {} if facts.usd_per_million is None else {"cost/usd_per_million": facts.usd_per_million}
    latencies = {"cost/latency_p50_ms": facts.latency_p50_ms, "cost/latency_p95_ms": facts.latency_p95_ms}
    tracking.log_metrics(run, row_metrics(row) | prices | latencies | {"rows_without_label": float(facts.without_label)})


def log_pictures(tracking: Tracking, run: str, name: str, labels: "np.ndarray", proba: "np.ndarray") -> None:
    """Log the confusion and reliability plots of one candidate on the test rows."""
    from evaluation.plots import plot_confusion, plot_reliability

    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        confusion = plot_confusion(labels, {name: proba}, place / "confusion.png")
        reliability = plot_reliability(labels, {name: proba}, place / "reliability.png")
        tracking.log_pictures(run, {"confusion": confusion, "reliability": reliability})


def log_test_rows(layout: Layout, tracking: Tracking, run: str, frame: Any) -> None:
    """Log the test rows, which metrics without a prefix refer to."""
    name = "+".join(sorted(frame["source"].unique()))
    tracking.log_dataset(run, frame, source=layout.splits / "texts.parquet", name=name, context="test")
