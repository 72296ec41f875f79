"""Evaluate a bundle once on the frozen rows. Model card, leaderboard, `/v1/model` and MLflow all use this result."""

from dataclasses import replace
from functools import partial
from typing import Any

from data.artifacts import digest, read_json, write_json
from evaluation.cost import Cost, measure_cost
from evaluation.leaderboard import LeaderboardRow
from evaluation.settings import EvaluationSettings
from orchestration.layout import Layout
from orchestration.progress import report
from orchestration.steps.predictions import (
    REPORT,
    EvaluatedCandidate,
    evaluate,
    evaluation_key,
    frozen_rows,
    is_evaluated,
    primary_mask,
)
from serving.bundle import MODEL, Bundle


def evaluate_bundle(layout: Layout, bundle: Bundle) -> EvaluatedCandidate:
    """Evaluate a bundle on the frozen rows; kept while neither the bundle nor the rows change."""
    from serving.classifier import open_classifier

    load = partial(open_classifier, bundle.directory)
    return evaluate(layout, _name(bundle), _key(bundle), load, temperature=1.0)


def bundle_row(layout: Layout, bundle: Bundle) -> LeaderboardRow:
    """Return the leaderboard row of a bundle: its quality on the test rows, its CPU time, memory and size."""
    evaluated = evaluate_bundle(layout, bundle)
    return _row(bundle, evaluated.row, _cost(layout, bundle) or _measure_cost(layout, bundle))


def known_row(layout: Layout, bundle: Bundle) -> LeaderboardRow | None:
    """Return `bundle_row` where the bundle was evaluated on the present rows; else None. Computes nothing."""
    cost = _cost(layout, bundle)
    if cost is None or not is_evaluated(layout, _name(bundle), _key(bundle)):
        return None
    return _row(bundle, LeaderboardRow.from_dict(read_json(layout.evaluations / _name(bundle) / REPORT)), cost)


def title(bundle: Bundle) -> str:
    """Return the name of a bundle in tables, such as `minilm int8_rowwise`."""
    return f"{bundle.manifest.name} {bundle.manifest.quantization}"


def _name(bundle: Bundle) -> str:
    return f"bundle-{bundle.manifest.version}"


def _key(bundle: Bundle) -> dict[str, Any]:
    return {"bundle": bundle.fingerprint}


def _row(bundle: Bundle, evaluated: LeaderboardRow, cost: Cost) -> LeaderboardRow:
    return replace(
        evaluated,
        candidate=title(bundle),
        version=bundle.manifest.version,
        temperature=bundle.manifest.temperature,
        from_scratch=bool(bundle.manifest.training.get("from_scratch", False)),
        cost=cost,
    )


def _cost_key(layout: Layout, bundle: Bundle) -> str:
    return digest(evaluation_key(layout, _key(bundle)))


def _cost(layout: Layout, bundle: Bundle) -> Cost | None:
    try:
        known = read_json(layout.evaluations / _name(bundle) / "cost.json")
    except OSError:
        return None
    return Cost.from_dict(known["cost"]) if known["key"] == _cost_key(layout, bundle) else None


def _measure_cost(layout: Layout, bundle: Bundle) -> Cost:
    from serving.classifier import open_classifier

    test = frozen_rows(layout, "test")
    name = title(bundle)
    cost = measure_cost(
        {name: partial(open_classifier, bundle.directory)},
        test["text"][primary_mask(layout, test)].tolist(),
        layout.settings(EvaluationSettings),
        file_bytes={name: (bundle.directory / MODEL).stat().st_size},
        progress=report,
    )[name]
    path = layout.evaluations / _name(bundle) / "cost.json"
    write_json(path, {"key": _cost_key(layout, bundle), "cost": cost.to_dict()})
    return cost
