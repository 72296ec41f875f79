"""The gate's yes becomes a registered version, a Bento, and the process that answers."""

from collections.abc import Iterator

import dagster as dg

from data.errors import GateRefused
from orchestration.assets.stepping import step
from orchestration.progress import ended, note
from orchestration.resources import Workplace
from orchestration.steps.quality import measure_production
from orchestration.steps.release import build_staged, deploy_staged, register


@dg.asset(
    group_name="serving",
    kinds={"mlflow"},
    deps=["report_sentiment__gate"],
    output_required=False,
    description="The bundle in the MLflow registry; staged when the gate said yes. After a no, nothing behind this runs.",
)
def registry_sentiment__version(context: dg.AssetExecutionContext, workplace: Workplace) -> Iterator[dg.MaterializeResult]:
    """Register, and stage what passed."""
    with step(context, "Register the bundle"):
        try:
            version = register(workplace.layout(), context.run_id)
        except GateRefused as error:
            note(f"Trained, not promoted: {error.found}")
            return
    yield dg.MaterializeResult(metadata={"version": version, "alias": "staging"})


@dg.asset(group_name="serving", kinds={"bentoml"}, deps=[registry_sentiment__version], description="What is staged, as a Bento.")
def service_sentiment__bento(context: dg.AssetExecutionContext, workplace: Workplace) -> dg.MaterializeResult:
    """Build it; the same bundle is built once."""
    with step(context, "Build the Bento"):
        tag = build_staged(workplace.layout())
    return dg.MaterializeResult(metadata={"tag": tag})


@dg.asset(
    group_name="serving",
    kinds={"http"},
    deps=[service_sentiment__bento],
    description="The process that answers on this machine, proved on known texts; then its version is production.",
)
def service_sentiment__deployment(context: dg.AssetExecutionContext, workplace: Workplace) -> dg.MaterializeResult:
    """Start the new one, prove it, replace the old one, move the alias."""
    with step(context, "Deploy"):
        deployment = deploy_staged(workplace.layout())
    return dg.MaterializeResult(
        metadata={"url": dg.MetadataValue.url(f"{deployment.url}/docs"), "version": deployment.version, "pid": deployment.pid}
    )


@dg.asset(
    group_name="serving",
    kinds={"python"},
    output_required=False,
    description=(
        "Macro-recall of the production model, with its interval, on the newest rows of what it really saw and that were labeled "
        "since it was promoted: feedback and labeled rows of the lakehouse. The sensor `production_quality` reads it."
    ),
)
def report_production__quality(context: dg.AssetExecutionContext, workplace: Workplace) -> Iterator[dg.MaterializeResult]:
    """Measure what classifies now by what is labeled now."""
    with step(context, "Measure the production model"):
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
            "rows": found.metadata["rows"],
            "rows_by_origin": dg.MetadataValue.json(found.metadata["rows_by_origin"]),
            "labeled_since": found.metadata["since"],
        }
    )


def serving_assets() -> tuple[list[dg.AssetsDefinition], list[dg.AssetChecksDefinition]]:
    """The assets of this step, and their checks."""
    assets = [registry_sentiment__version, service_sentiment__bento, service_sentiment__deployment, report_production__quality]
    return assets, []
