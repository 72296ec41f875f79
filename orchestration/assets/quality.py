"""The quality of the production model on the newest labeled rows."""

from collections.abc import Iterator
from datetime import timedelta

import dagster as dg

from orchestration import keys
from orchestration.assets.stepping import OWNERS, every_core, step
from orchestration.progress import ended
from orchestration.resources import VarDirResource
from orchestration.steps.quality import measure_production

_STALE = dg.FreshnessPolicy.time_window(fail_window=timedelta(days=7), warn_window=timedelta(days=2))
"""The schedule `daily_quality`, when it is on, measures daily; a measurement older than a week is stale."""


@dg.asset(
    key=keys.QUALITY,
    group_name="quality",
    kinds={"scikitlearn"},
    owners=OWNERS,
    tags={"model": "sentiment"},
    freshness_policy=_STALE,
    output_required=False,
    description=(
        "Macro-recall of the production model, with its interval, on the newest rows of its own traffic that were labeled after "
        "its promotion: feedback and labeled rows of the lakehouse. The sensor `production_quality` reads it. Skipped while "
        "there are too few such rows."
    ),
)
def production_quality(context: dg.AssetExecutionContext, var_dir: VarDirResource) -> Iterator[dg.MaterializeResult]:
    """Measure the production model, or end as skipped with the reason."""
    with step(context, "Measure the production model"), every_core(var_dir.layout()):
        measured = measure_production(var_dir.layout())
        if measured is None or measured.skipped:
            ended("skipped", "no model is in production yet" if measured is None else measured.skipped)
            return
    recall = measured.metadata["macro_recall"]
    yield dg.MaterializeResult(
        metadata={
            "version": measured.version,
            "macro_recall": float(recall["value"]),
            "macro_recall_low": float(recall["low"]),
            "macro_recall_high": float(recall["high"]),
            "rows": float(measured.metadata["rows"]),
            "rows_by_origin": dg.MetadataValue.json(measured.metadata["rows_by_origin"]),
            "labeled_since": measured.metadata["since"],
        }
    )


def quality_assets() -> list[dg.AssetsDefinition]:
    """Return the assets of this step."""
    return [production_quality]
