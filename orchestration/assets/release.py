"""A bundle that passed the gate becomes a registered version, a Bento, and the process that serves it."""

from collections.abc import Iterator
from datetime import timedelta

import dagster as dg

from data.errors import GateRefused
from orchestration import keys
from orchestration.assets.stepping import OWNERS, step
from orchestration.progress import note
from orchestration.resources import VarDirResource
from orchestration.steps.release import build_staged, deploy_staged, register

_GROUP = "release"
_STALE = dg.FreshnessPolicy.time_window(fail_window=timedelta(days=45), warn_window=timedelta(days=30))
"""45 days is the default of `retraining.max_age_days`, after which the sensor `production_quality` asks for a retraining."""


@dg.asset(
    key=keys.REGISTERED,
    group_name=_GROUP,
    kinds={"mlflow"},
    owners=OWNERS,
    tags={"model": "sentiment"},
    deps=[keys.GATE],
    output_required=False,
    description=(
        "The bundle as a version of the MLflow model `sentiment`, with alias `staging`. If the gate refused, the version is "
        "registered with the reasons, but this asset and those after it are skipped: the current model stays."
    ),
)
def registered_version(context: dg.AssetExecutionContext, var_dir: VarDirResource) -> Iterator[dg.MaterializeResult]:
    """Register the bundle, and stage it if it passed the gate."""
    with step(context, "Register the bundle"):
        try:
            version = register(var_dir.layout(), context.run.run_id)
        except GateRefused as error:
            note(f"Trained, not promoted: {error.found}")
            return
    yield dg.MaterializeResult(metadata={"version": float(version), "alias": "staging"})


@dg.asset(
    key=keys.BENTO,
    group_name=_GROUP,
    kinds={"bentoml"},
    owners=OWNERS,
    tags={"model": "sentiment"},
    deps=[registered_version],
    description="The staged version as a Bento: the bundle, the service and its locked environment. A bundle is built once.",
)
def bento(context: dg.AssetExecutionContext, var_dir: VarDirResource) -> dg.MaterializeResult:
    """Build the Bento of the staged version."""
    with step(context, "Build the Bento"):
        tag = build_staged(var_dir.layout())
    return dg.MaterializeResult(metadata={"tag": tag})


@dg.asset(
    key=keys.DEPLOYMENT,
    group_name=_GROUP,
    kinds={"bentoml", "fastapi"},
    owners=OWNERS,
    tags={"model": "sentiment"},
    deps=[bento],
    freshness_policy=_STALE,
    description=(
        "The process that serves the staged version on this machine. It is tested on known texts first; then its version gets "
        "the alias `production`. If it fails, the old one keeps serving."
    ),
)
def deployment(context: dg.AssetExecutionContext, var_dir: VarDirResource) -> dg.MaterializeResult:
    """Start the new deployment, test it, replace the old one, and move the alias."""
    with step(context, "Deploy"):
        deployed = deploy_staged(var_dir.layout())
    return dg.MaterializeResult(
        metadata={"url": dg.MetadataValue.url(f"{deployed.url}/docs"), "version": deployed.version, "pid": deployed.pid}
    )


def release_assets() -> list[dg.AssetsDefinition]:
    """Return the assets of this step."""
    return [registered_version, bento, deployment]
