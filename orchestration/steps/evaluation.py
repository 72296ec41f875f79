"""All candidates are judged on the same frozen rows, in the same run."""

from functools import partial
from typing import Any

from data.artifacts import KEY_FILE, digest, mark_current, read_json
from data.artifacts import is_current as _is_current
from data.errors import CandidateUnavailable, ModelError
from evaluation.settings import EvaluationSettings
from orchestration.layout import Layout
from orchestration.progress import report
from orchestration.steps.data import read_splits
from orchestration.steps.judging import Judged, frozen_rows, judge, label_ids, primary_mask
from orchestration.steps.tracking import (
    log_candidate,
    log_pictures,
    log_row,
    log_test_rows,
    logged_benchmark,
    mark_logged,
    open_tracking,
    parent_of,
    row_metrics,
)
from orchestration.steps.training import candidate_folder, predictor_key, trained_report
from training.candidates import Candidate, load_candidates
from training.predictors import load_predictor


def trained(layout: Layout) -> list[Candidate]:
    """The candidates that can be judged: VADER, and those with a checkpoint.

    Raises:
        CandidateUnavailable: There is none.
    """
    found = [
        candidate
        for candidate in load_candidates().values()
        if candidate.kind == "vader" or (candidate_folder(layout, candidate) / "key.json").is_file()
    ]
    if not any(candidate.exportable for candidate in found):
        raise CandidateUnavailable("No candidate has been trained.", remedy="groundswell train")
    return found


def judge_candidate(layout: Layout, candidate: Candidate) -> Judged:
    """One candidate on the frozen rows; kept while neither it nor the rows change."""
    load = partial(load_predictor, candidate, candidate_folder(layout, candidate))
    return judge(layout, candidate.name, {"candidate": predictor_key(layout, candidate)}, load)


def benchmark(layout: Layout) -> list[dict[str, Any]]:
    """Judge every trained candidate, measure what it costs, and write the leaderboard.

    Returns:
        The rows of `leaderboard.json`, best first.
    """
    from evaluation.cost import measure_cost
    from evaluation.leaderboard import Row, build_leaderboard
    from evaluation.leaderboard_page import write_leaderboard

    candidates = trained(layout)
    settings = EvaluationSettings.load()
    key = {
        "candidates": {c.name: predictor_key(layout, c) for c in candidates},
        "data": read_splits(layout).fingerprint,
        "settings": settings.model_dump(mode="json"),
    }
    if _is_current(layout.leaderboard, key):
        return read_leaderboard(layout)
    judged = {c.name: judge_candidate(layout, c) for c in candidates}
    test = frozen_rows(layout, "test")
    main = primary_mask(test)
    costs = measure_cost(
        {c.name: partial(load_predictor, c, candidate_folder(layout, c)) for c in candidates},
        test["text"][main].tolist(), settings, file_bytes={c.name: _bytes(layout, c) for c in candidates},
        progress=report,
    )  # fmt: skip
    rows = [
        Row.from_dict({**judged[c.name].report, "from_scratch": c.from_scratch, "cost": costs[c.name].to_dict()})
        for c in candidates
    ]
    labels = label_ids(test)[main]
    probas = {name: one.proba_test[main] for name, one in judged.items()}
    board = build_leaderboard(
        rows, labels, probas, dataset=str(test["source"][main].iloc[0]),
        about={"Data fingerprint": read_splits(layout).fingerprint[:16], "Rows": f"{main.sum():,}"},
        resamples=settings.bootstrap_resamples, seed=settings.seed,
    )  # fmt: skip
    report("drawing")
    write_leaderboard(board, layout.leaderboard, labels=labels, probas=probas)
    mark_current(layout.leaderboard, key)
    return read_leaderboard(layout)


def read_leaderboard(layout: Layout) -> list[dict[str, Any]]:
    """The rows of the last benchmark, best first.

    Raises:
        ModelError: There was none.
    """
    try:
        return read_json(layout.leaderboard / "leaderboard.json")
    except OSError as error:
        raise ModelError("There is no leaderboard yet.", remedy="Run `groundswell benchmark`, or make demo.") from error


def winner(layout: Layout) -> Candidate:
    """The exportable candidate with the best macro-recall on the validation rows: the test rows choose nothing."""
    candidates = [c for c in trained(layout) if c.exportable]
    return max(candidates, key=lambda c: judge_candidate(layout, c).report["val_macro_recall"])


def _bytes(layout: Layout, candidate: Candidate) -> int:
    folder = candidate_folder(layout, candidate) / "checkpoint"
    return sum(path.stat().st_size for path in folder.glob("*")) if folder.is_dir() else 0


def log_leaderboard(layout: Layout, dagster_run: str) -> None:
    """Write the benchmark to MLflow, once: one that was reused is there already.

    A nested run for each candidate with its numbers, slices and plots; the winner's numbers and the leaderboard on the parent.
    """
    board = digest(read_json(layout.leaderboard / KEY_FILE))
    if logged_benchmark(layout).get("board") == board:
        return
    report("logging to MLflow")
    tracking = open_tracking(layout)
    parent = parent_of(layout, tracking, dagster_run, "benchmark")
    test = frozen_rows(layout, "test")
    main = primary_mask(test)
    test_rows, labels = test[main], label_ids(test)[main]
    rows = {row["candidate"]: row for row in read_leaderboard(layout)}
    for candidate in trained(layout):
        with tracking.nested_run(parent, candidate.name) as run:
            if "groundswell.state" not in tracking.client.get_run(run).data.tags:
                state = "reused" if candidate.exportable else "not trained"
                trained_rows = trained_report(layout, candidate).get("rows")
                log_candidate(layout, tracking, run, candidate, rows=trained_rows, state=state)
            log_row(tracking, run, rows[candidate.name])
            log_pictures(tracking, run, candidate.title, labels, judge_candidate(layout, candidate).proba_test[main])
            log_test_rows(layout, tracking, run, test_rows)
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


def _as_columns(rows: list[dict[str, Any]]) -> dict[str, list[Any]]:
    names = ("macro_recall", "accuracy", "macro_f1", "ece")
    numbers = {f"{name}{end}": [row[name][part] for row in rows] for name in names for end, part in _PARTS.items()}
    cpu = [row_metrics(row).get("cpu_us_per_text") for row in rows]
    return {"candidate": [row["candidate"] for row in rows], **numbers, "cpu_us_per_text": cpu}


_PARTS = {"": "value", " low": "low", " high": "high"}
