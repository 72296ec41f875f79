"""How good the production model is on what is labeled today."""

from collections.abc import Iterator
from datetime import timedelta

import dagster as dg

from orchestration import keys
from orchestration.assets.stepping import OWNERS, every_core, step
from orchestration.progress import note
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
    deps=[keys.SPLITS],
    freshness_policy=_STALE,
    output_required=False,
    description=(
        "Macro-recall of the production model on the newest labeled rows; the sensor `production_quality` reads it. Skipped "
        "while there is no production model."
    ),
)
def production_quality(context: dg.AssetExecutionContext, workplace: Workplace) -> Iterator[dg.MaterializeResult]:
    """Measure, or say why there is nothing to measure."""
    with step(context, "Measure the production model"), every_core(workplace.layout()):
        found = measure_production(workplace.layout())
        if isinstance(found, str):
            note(found)
            return
    yield dg.MaterializeResult(metadata={"macro_recall": float(found["macro_recall"]), "version": found["version"]})


def quality_assets() -> list[dg.AssetsDefinition]:
    """The assets of this step."""
    return [production_quality]
