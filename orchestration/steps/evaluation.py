"""The leaderboard: every candidate and its bundles, evaluated on the same frozen rows. One function writes every format."""

from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data.artifacts import KEY_FILE, digest, is_current, mark_current, read_json, reuse_or_build, write_json
from data.errors import BundleError, CandidateUnavailable
from data.settings import project_root
from evaluation import leaderboard
from evaluation.cost import Cost, measure_cost
from evaluation.gates import Gates, load_gates
from evaluation.leaderboard import LeaderboardRow, SampledClasses
from evaluation.published import PublishedFigure, published_figures
from evaluation.settings import EvaluationSettings
from orchestration.layout import Layout
from orchestration.progress import report
from orchestration.steps.data import only_sample, read_splits
from orchestration.steps.large_models import evaluated_large_models, rows_key
from orchestration.steps.predictions import EvaluatedCandidate, evaluate, frozen_rows, label_ids, primary_mask
from orchestration.steps.served import evaluate_bundle, known_row
from orchestration.steps.training import candidate_folder, is_trained, predictor_key
from serving.bundle import Bundle, production_bundle, read_bundle
from training.candidates import Candidate, load_candidates
from training.predictors import load_predictor

if TYPE_CHECKING:
    import numpy as np

    from evaluation.metrics import Estimate

IN_PRODUCTION, EXPORTED = "in production", "exported"
_FORMAT = 2
"""Of the files; raise it when what they hold changes."""


def trained(layout: Layout) -> list[Candidate]:
    """Return the candidates that can be evaluated: VADER, and those with a checkpoint.

    Raises:
        CandidateUnavailable: There is none.
    """
    candidates = [one for one in load_candidates().values() if one.kind == "vader" or is_trained(layout, one)]
    if not any(candidate.exportable for candidate in candidates):
        raise CandidateUnavailable("No candidate has been trained.", remedy="Run `groundswell train`.")
    return candidates


def evaluate_candidate(layout: Layout, candidate: Candidate) -> EvaluatedCandidate:
    """Evaluate one candidate on the frozen rows; kept while neither it nor the rows change."""
    load = partial(load_predictor, candidate, candidate_folder(layout, candidate))
    return evaluate(layout, candidate.name, {"candidate": predictor_key(layout, candidate)}, load)


def load_rules(layout: Layout) -> Gates:
    """Return the rules of the gate: `configs/gates.yaml`, or on the sample of this project `gates-sample.yaml`."""
    return load_gates(project_root() / "configs" / "gates-sample.yaml" if only_sample(layout) else None)


def read_leaderboard(layout: Layout) -> list[LeaderboardRow]:
    """Return the rows of the last benchmark, best first.

    Raises:
        ModelError: There was none.
    """
    return leaderboard.read_leaderboard(layout.leaderboard / "leaderboard.json")


def read_published(layout: Layout) -> list[PublishedFigure]:
    """Return the published figures of the last benchmark; none before it."""
    path = layout.leaderboard / "published.json"
    return [PublishedFigure(**raw) for raw in read_json(path)] if path.is_file() else []


def write_leaderboard(layout: Layout) -> list[LeaderboardRow]:
    """Write the leaderboard as JSON, Markdown, page and plots, where anything in it has changed.

    Candidates come from the last benchmark, and are measured here when they have changed. The exported bundle, the production
    bundle and large models are included once they have been evaluated on the present rows.

    Returns:
        The rows of `leaderboard.json`, best first.
    """
    from evaluation import leaderboard_page

    candidates, bundles, large = trained(layout), _bundles(layout), evaluated_large_models(layout)
    settings = layout.settings(EvaluationSettings)
    published = published_figures({name.removesuffix("/test") for name in read_splits(layout).rows if name.endswith("/test")})
    key = _key(layout, candidates) | {
        "bundles": {row.version: row.role for _, row in bundles},
        "large_models": rows_key(large),
        "published": [one.model_dump() for one in published],
    }
    if is_current(layout.leaderboard, key):
        return read_leaderboard(layout)
    evaluated = {c.name: evaluate_candidate(layout, c) for c in candidates}
    costs, measured_at = _candidate_costs(layout, candidates)
    rows = [replace(evaluated[c.name].row, from_scratch=c.from_scratch, cost=costs[c.name]) for c in candidates]
    for bundle, row in bundles:
        name = row.candidate if row.candidate not in evaluated else f"{row.candidate} {row.version}"
        rows.append(replace(row, candidate=name))
        evaluated[name] = evaluate_bundle(layout, bundle)
    test = frozen_rows(layout, "test")
    main = primary_mask(layout, test)
    labels = label_ids(test)[main]
    probas = {name: one.proba_test[main] for name, one in evaluated.items()}
    _cross_check(layout, candidates, {row.candidate: row.metrics for row in rows}, labels, probas)
    predictions: dict[str, np.ndarray | SampledClasses] = {**probas, **{one.row.candidate: one.predicted for one in large}}
    board = leaderboard.build_leaderboard(
        [*rows, *(one.row for one in large)],
        labels,
        predictions,
        dataset=str(test["source"][main].iloc[0]),
        about={
            "Test rows": f"{main.sum():,}",
            "Data fingerprint": read_splits(layout).fingerprint[:16],
            "Measured": measured_at,
        },
        published=published,
        resamples=settings.bootstrap_resamples,
        seed=settings.seed,
    )
    report("drawing")
    leaderboard_page.write_leaderboard(board, layout.leaderboard, labels=labels, probas=predictions)
    mark_current(layout.leaderboard, key)
    return read_leaderboard(layout)


def refresh_leaderboard(layout: Layout) -> None:
    """Write the leaderboard again after another bundle was promoted. It evaluates nothing."""
    try:
        known = read_json(layout.leaderboard / KEY_FILE)["key"]
        candidates = trained(layout)
    except (OSError, ValueError, KeyError, CandidateUnavailable):
        return
    if all(known.get(name) == value for name, value in _key(layout, candidates).items()):
        write_leaderboard(layout)


def winner(layout: Layout) -> Candidate:
    """Return the candidate to export: the best macro-recall on the validation rows; test rows are not used to choose.

    Candidates that are teachers only are left out, see configs/candidates.yaml.

    Raises:
        CandidateUnavailable: Only teachers have been trained.
    """
    candidates = [c for c in trained(layout) if c.exportable and not c.teacher_only]
    if not candidates:
        raise CandidateUnavailable(
            "Only candidates that are too slow to serve have been trained.", remedy="Run `groundswell train`."
        )
    return max(candidates, key=lambda c: evaluate_candidate(layout, c).val_macro_recall)


def benchmark_digest(layout: Layout) -> str:
    """Return a digest of the candidates, the large models, the rows and the settings of the benchmark."""
    large = rows_key(evaluated_large_models(layout))
    return digest(_key(layout, trained(layout)) | ({"large_models": large} if large else {}))


def _key(layout: Layout, candidates: list[Candidate]) -> dict[str, Any]:
    """Return what the candidates' rows depend on."""
    return {
        "format": _FORMAT,
        "candidates": {c.name: predictor_key(layout, c) for c in candidates},
        "data": read_splits(layout).fingerprint,
        "settings": layout.settings(EvaluationSettings).model_dump(mode="json"),
    }


def _candidate_costs(layout: Layout, candidates: list[Candidate]) -> tuple[dict[str, Cost], str]:
    """Return the cost of each candidate, all measured in one run, and when; kept while candidates, rows and settings are."""
    folder, key = layout.evaluations / "costs", _key(layout, candidates)
    if not is_current(folder, key):
        test = frozen_rows(layout, "test")
        costs = measure_cost(
            {c.name: partial(load_predictor, c, candidate_folder(layout, c)) for c in candidates},
            test["text"][primary_mask(layout, test)].tolist(),
            layout.settings(EvaluationSettings),
            file_bytes={c.name: _bytes(layout, c) for c in candidates},
            progress=report,
        )
        at = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
        write_json(folder / "costs.json", {"at": at, "costs": {name: cost.to_dict() for name, cost in costs.items()}})
        mark_current(folder, key)
    stored = read_json(folder / "costs.json")
    return {name: Cost.from_dict(cost) for name, cost in stored["costs"].items()}, stored["at"]


def _cross_check(
    layout: Layout,
    candidates: list[Candidate],
    metrics: dict[str, "dict[str, Estimate]"],
    labels: "np.ndarray",
    probas: "dict[str, np.ndarray]",
) -> None:
    """Compare the candidates' metrics with those of Hugging Face `evaluate`; once for the same candidates, rows and settings.

    Raises:
        ModelError: They differ.
    """

    def check(folder: Path) -> None:
        report("cross-checking the metrics with evaluate")
        from evaluation.evaluate_metrics import cross_check  # takes several CPU-seconds to import

        found = {c.name: cross_check(c.name, metrics[c.name], labels, probas[c.name]) for c in candidates}
        write_json(folder / "evaluate.json", found)

    reuse_or_build(layout.evaluations / "cross_check", _key(layout, candidates), check)


def _bundles(layout: Layout) -> list[tuple[Bundle, LeaderboardRow]]:
    """Return the production bundle and the last exported one with their rows, where they were evaluated on the present rows."""
    bundles: dict[str, tuple[Bundle, LeaderboardRow]] = {}
    for read, role in ((lambda: production_bundle(layout.var), IN_PRODUCTION), (lambda: _exported(layout), EXPORTED)):
        try:
            bundle = read()
        except (BundleError, OSError):
            continue
        if bundle.manifest.version not in bundles and (row := known_row(layout, bundle)) is not None:
            bundles[bundle.manifest.version] = bundle, replace(row, role=role)
    return list(bundles.values())


def _exported(layout: Layout) -> Bundle:
    return read_bundle(layout.bundles / read_json(layout.export_report)["bundle"])


def _bytes(layout: Layout, candidate: Candidate) -> int:
    folder = candidate_folder(layout, candidate) / "checkpoint"
    return sum(path.stat().st_size for path in folder.glob("*")) if folder.is_dir() else 0
