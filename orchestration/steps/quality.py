"""The production model is measured."""

from datetime import UTC, datetime
from typing import Any

from data.artifacts import write_json
from orchestration.layout import Layout
from orchestration.steps.export import judge_bundle
from serving.bundle import production_bundle, read_ledger


def measure_production(layout: Layout) -> dict[str, Any] | str:
    """Measure the production bundle on the frozen test rows, and keep the result where the sensors read it.

    Returns:
        `macro_recall`, `version` and `at`; or why there is nothing to measure.
    """
    if not any(move["alias"] == "production" for move in read_ledger(layout.var)):
        return "No model is 'production' yet: there is nothing to measure."
    bundle = production_bundle(layout.var)
    found = judge_bundle(layout, bundle).report["metrics"]["macro_recall"]
    result = {"macro_recall": found["value"], "version": bundle.manifest.version, "at": datetime.now(UTC).isoformat()}
    write_json(layout.quality, result)
    return result
