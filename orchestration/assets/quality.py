"""How good the production model is on what is labeled today."""

from collections.abc import Iterator
from datetime import timedelta

import dagster as dg

from orchestration import keys
from orchestration.assets.stepping import OWNERS, every_core, step
from orchestration.progress import ended
from orchestration.resources import Workplace
from orchestration.steps.quality import measure_production

_STALE = dg.FreshnessPolicy.time_window(fail_window=timedelta(days=7), warn_window=timedelta(days=2))
"""Measured daily once the schedule `daily_quality` is on; a number of last week says nothing about today."""


@dg.asset(
    key=keys.QUALITY,
    group_name="quality",
    kinds={"scikitlearn"},
    owners=OWNERS,
    tags={"model": "sentiment"},
    freshness_policy=_STALE,
    output_required=False,
    description=(
        "Macro-recall of the production model, with its interval, on the newest rows of what it really saw and that were labeled "
        "since it was promoted: feedback and labeled rows of the lakehouse. The sensor `production_quality` reads it. Skipped "
        "while there are too few such rows."
    ),
)
def production_quality(context: dg.AssetExecutionContext, workplace: Workplace) -> Iterator[dg.MaterializeResult]:
    """Measure what classifies now by what is labeled now."""
    with step(context, "Measure the production model"), every_core(workplace.layout()):
        found = measure_production(workplace.layout())
        if found is None or found.skipped:
            ended("skipped", "no model is in production yet" if found is None else found.skipped)
            return
    recall = found.metadata["macro_recall"]
    yield dg.MaterializeResult(
        metadata={
            "version": found.version,
            "macro_recall": float(recall["value"]),
            "macro_recall_low": float(recall["low"]),
            "macro_recall_high": float(recall["high"]),
            "rows": float(found.metadata["rows"]),
            "rows_by_origin": dg.MetadataValue.json(found.metadata["rows_by_origin"]),
            "labeled_since": found.metadata["since"],
        }
    )


def quality_assets() -> list[dg.AssetsDefinition]:
    """The assets of this step."""
    return [production_quality]
