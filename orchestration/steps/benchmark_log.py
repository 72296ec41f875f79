"""Log the benchmark to MLflow: one parent run, and a nested run for each candidate."""

from typing import Any

from data.artifacts import KEY_FILE, write_json
from evaluation.leaderboard import LeaderboardRow
from evaluation.transfer import Transfer
from orchestration.layout import Layout
from orchestration.progress import report
from orchestration.steps.data import read_splits
from orchestration.steps.evaluation import benchmark_digest, evaluate_candidate, read_leaderboard, trained, winner
from orchestration.steps.large_models import evaluated_large_models
from orchestration.steps.predictions import frozen_rows, label_ids, primary_mask
from orchestration.steps.tracking import (
    log_candidate,
    log_large_model,
    log_pictures,
    log_row,
    log_test_rows,
    logged_benchmark,
    mark_logged,
    open_tracking,
    parent_of,
    row_metrics,
)
from orchestration.steps.training import trained_report


def log_leaderboard(layout: Layout, dagster_run: str) -> None:
    """Log the benchmark to MLflow once; a reused benchmark is not logged again.

    Each candidate has a nested run with its metrics, slices and plots, a large model one with its metrics. The parent has the
    winner's metrics and the leaderboard.
    """
    board = benchmark_digest(layout)
    if logged_benchmark(layout).get("board") == board:
        return
    report("logging to MLflow")
    tracking = open_tracking(layout)
    parent = parent_of(layout, tracking, dagster_run, "benchmark")
    test = frozen_rows(layout, "test")
    main = primary_mask(layout, test)
    test_rows, labels = test[main], label_ids(test)[main]
    rows = {row.candidate: row for row in read_leaderboard(layout)}
    for candidate in trained(layout):
        with tracking.nested_run(parent, candidate.name) as run:
            if "groundswell.state" not in tracking.client.get_run(run).data.tags:
                state = "reused" if candidate.is_trained_here else "not trained"
                trained_rows = trained_report(layout, candidate).get("rows")
                log_candidate(layout, tracking, run, candidate, rows=trained_rows, state=state)
            log_row(tracking, run, rows[candidate.name])
            log_pictures(tracking, run, candidate.title, labels, evaluate_candidate(layout, candidate).proba_test[main])
            log_test_rows(layout, tracking, run, test_rows)
    for one in evaluated_large_models(layout):
        with tracking.nested_run(parent, one.row.candidate) as run:
            log_large_model(tracking, run, rows[one.row.candidate])
            log_test_rows(layout, tracking, run, test_rows.iloc[one.predicted.rows])
    best = winner(layout)
    tracking.log_params(
        parent,
        {
            "winner": best.name,
            "candidates": ", ".join(rows),
            "test_rows": len(test_rows),
            "checked_rows": sum(read_splits(layout).rows.values()),
            "data_fingerprint": read_splits(layout).fingerprint,
        },
    )
    log_row(tracking, parent, rows[best.name])
    log_test_rows(layout, tracking, parent, test_rows)
    tracking.log_pictures(parent, {path.stem: path for path in layout.leaderboard.glob("*.png")})
    tracking.client.log_table(parent, _as_columns(list(rows.values())), "leaderboard.json")
    for path in sorted(layout.leaderboard.iterdir()):
        if path.suffix in {".png", ".md", ".html", ".json"} and path.name != KEY_FILE:
            tracking.client.log_artifact(parent, str(path), "leaderboard")
    tracking.end(parent, "FINISHED")
    mark_logged(layout, board, parent)


def log_transfer(layout: Layout, dagster_run: str, transfer: Transfer) -> None:
    """Log the domain-transfer matrix to MLflow once: a run with every cell as a metric, the table and the heat map."""
    logged = layout.transfer / "mlflow.json"  # goes with the folder when the matrix is measured again
    if logged.is_file():
        return
    report("logging to MLflow")
    tracking = open_tracking(layout)
    run = parent_of(layout, tracking, dagster_run, "domain transfer")
    tracking.log_params(run, {"candidate": transfer.candidate, "epochs": transfer.epochs, "seed": transfer.seed})
    tracking.log_metrics(run, {f"{cell.learned}/{cell.domain}": cell.macro_recall.value for cell in transfer.cells})
    matrix = {
        "learned from": list(transfer.learned),
        **{
            domain: [transfer.at(learned, domain).macro_recall.text() for learned in transfer.learned]
            for domain in transfer.domains
        },
    }
    tracking.client.log_table(run, matrix, "transfer.json")
    tracking.log_pictures(run, {"transfer": layout.transfer / "transfer.png"})
    tracking.end(run, "FINISHED")
    write_json(logged, {"run": run})


def _as_columns(rows: list[LeaderboardRow]) -> dict[str, list[Any]]:
    names = ("macro_recall", "accuracy", "macro_f1", "ece")
    numbers = {
        f"{name}{end}": [row.metrics[name].to_dict()[part] if name in row.metrics else None for row in rows]
        for name in names
        for end, part in _PARTS.items()
    }
    cpu = [row_metrics(row).get("cpu_us_per_text") for row in rows]
    return {"candidate": [row.candidate for row in rows], **numbers, "cpu_us_per_text": cpu}


_PARTS = {"": "value", " low": "low", " high": "high"}
