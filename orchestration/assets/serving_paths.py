"""The reconciliation of the serving paths, and the check that they predict the same."""

from collections.abc import Iterator

import dagster as dg
from pydantic import Field

from data.errors import BundleError
from orchestration import keys
from orchestration.assets.schema import table
from orchestration.assets.stepping import OWNERS, step
from orchestration.progress import ended
from orchestration.resources import VarDirResource
from orchestration.steps.serving_paths.compare import PathReconciliation
from orchestration.steps.serving_paths.run import ROWS, choose_paths, differences, read_reconciliation, reconcile_paths
from serving.bundle import production_bundle

MAX_LISTED = 100
"""Differences in the metadata of the check; the report lists more."""


class Texts(dg.Config):
    """How many texts are sent, and through which paths."""

    rows: int = Field(default=ROWS, ge=2, le=10_000)
    paths: str | None = None
    """With commas between them; none: all."""


@dg.asset(
    key=keys.PATH_RECONCILIATION,
    group_name="release",
    kinds={"bentoml", "kafka", "spark"},
    owners=OWNERS,
    tags={"model": "sentiment"},
    deps=[keys.DEPLOYMENT],
    output_required=False,
    description=(
        "The same texts through every serving path with the production bundle: classifier, HTTP, job, stream, Spark, Lambda, "
        "MLflow, Bento. Takes minutes. Skipped while nothing is in production; a path that cannot run here is reported so."
    ),
)
def path_reconciliation(
    context: dg.AssetExecutionContext, config: Texts, var_dir: VarDirResource
) -> Iterator[dg.MaterializeResult]:
    """Send texts through the paths and compare the outcomes."""
    layout = var_dir.layout()
    with step(context, "Reconcile the serving paths"):
        try:
            bundle = production_bundle(layout.var)
        except BundleError as error:
            ended("skipped", error.message)
            return
        result = reconcile_paths(layout, bundle, rows=config.rows, paths=choose_paths(config.paths))
    yield dg.MaterializeResult(
        metadata={
            "version": result.bundle,
            "rows": float(result.rows),
            "paths_compared": float(result.compared),
            "differences": float(sum(sum(path.differences.values()) for path in result.paths)),
            "paths": _paths(result),
        }
    )


@dg.asset_check(
    asset=keys.PATH_RECONCILIATION,
    description="Labels are equal on all paths and probabilities within 0.0001; no path failed, and at least two were compared.",
)
def every_path_predicts_the_same(var_dir: VarDirResource) -> dg.AssetCheckResult:
    """Read the last report."""
    result = read_reconciliation(var_dir.layout())
    listed = [
        {"path": path.name, "kind": one.kind, "row": one.row, "reference": one.of_reference, "found": one.of_path}
        for path in result.paths
        for one in path.listed
    ]
    return dg.AssetCheckResult(
        passed=result.are_equal,
        metadata={
            "version": result.bundle,
            "paths": _paths(result),
            **({"differences": table(listed[:MAX_LISTED])} if listed else {}),
        },
    )


def _paths(result: PathReconciliation) -> dg.MetadataValue:
    return table(
        [
            {
                "path": path.name,
                "state": path.state,
                "outcomes": path.rows,
                "refused": path.refused,
                "differences": differences(path),
                "largest_gap": path.largest_gap,
                "models": ", ".join(path.models),
                "note": path.note,
            }
            for path in result.paths
        ]
    )


def serving_path_assets() -> tuple[list[dg.AssetsDefinition], list[dg.AssetChecksDefinition]]:
    """Return the asset and its check."""
    return [path_reconciliation], [every_path_predicts_the_same]
