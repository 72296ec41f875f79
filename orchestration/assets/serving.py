"""The gate's yes becomes a registered version, a Bento, and the process that answers."""

from collections.abc import Iterator
from datetime import UTC, datetime

import dagster as dg

from data.artifacts import write_json
from data.errors import GateRefused
from orchestration.assets.stepping import step
from orchestration.progress import note
from orchestration.resources import Workplace
from orchestration.steps.release import build_staged, deploy_staged, register
from serving.bundle import production_bundle, read_ledger


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
    deps=["core_sentiment__splits"],
    output_required=False,
    description="Macro-recall of the production bundle on the newest test rows; the sensor `production_quality` reads it.",
)
def report_production__quality(context: dg.AssetExecutionContext, workplace: Workplace) -> Iterator[dg.MaterializeResult]:
    """Judge what answers now on what is known now; before the first promotion there is nothing to judge."""
    from orchestration.steps.served import judge_bundle

    layout = workplace.layout()
    if not any(move["alias"] == "production" for move in read_ledger(layout.var)):
        context.log.info("No model is 'production' yet: there is nothing to measure.")
        return
    with step(context, "Judge the production model"):
        bundle = production_bundle(layout.var)
        found = judge_bundle(layout, bundle).report["metrics"]["macro_recall"]
    write_json(
        layout.quality, {"macro_recall": found["value"], "version": bundle.manifest.version, "at": datetime.now(UTC).isoformat()}
    )
    yield dg.MaterializeResult(metadata={"macro_recall": found["value"], "version": bundle.manifest.version})


def serving_assets() -> tuple[list[dg.AssetsDefinition], list[dg.AssetChecksDefinition]]:
    """The assets of this step, and their checks."""
    assets = [registry_sentiment__version, service_sentiment__bento, service_sentiment__deployment, report_production__quality]
    return assets, []
