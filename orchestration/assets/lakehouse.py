"""The lakehouse: its three tables, their maintenance, the model's quality, and the reconciliation with the stream."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import dagster as dg

from data.errors import LakehouseError
from orchestration import keys
from orchestration.assets.schema import ddl_columns, table
from orchestration.assets.stepping import OWNERS, step
from orchestration.checks import suite_check
from orchestration.progress import note
from orchestration.resources import VarDirResource
from orchestration.steps.lakehouse import (
    Filled,
    check_sample,
    fill_tables,
    maintain_tables,
    root,
    table_uri,
)
from orchestration.steps.lakehouse_quality import measure_quality
from orchestration.steps.reconciliation import reconcile_predictions
from serving.lakehouse.paths import Layer
from serving.lakehouse.reading import rows_written_at
from serving.lakehouse.status import read_status
from serving.lakehouse.tables import COLUMNS

LAYERS: tuple[Layer, ...] = ("bronze", "silver", "gold")
FRESH_WITHIN = timedelta(hours=24)
"""A table to which nothing has been written for longer needs attention: its source may have stopped."""
RETRY_AFTER_S = 60
"""Object stores, brokers and other writers of a table are unavailable for minutes, and these runs start unattended."""
_GROUP = "lakehouse"
_NONE = "There is no lakehouse yet. Set GROUNDSWELL_LAKEHOUSE__SOURCE to a folder, an s3a:// URI, or kafka."


def _spec(layer: Layer, description: str, *deps: dg.AssetKey) -> dg.AssetSpec:
    return dg.AssetSpec(
        keys.table(layer),
        deps=deps,
        group_name=_GROUP,
        kinds={"deltalake", "spark"},
        owners=OWNERS,
        tags={"layer": layer},
        skippable=True,
        description=f"{description} Skipped while no source is set.",
        metadata={"dagster/column_schema": ddl_columns(COLUMNS[layer]), "fresh_within_hours": FRESH_WITHIN / timedelta(hours=1)},
    )


def _may_pass(error: Exception) -> bool:
    return isinstance(error, LakehouseError)


@dg.multi_asset(
    name="lakehouse_tables",
    specs=[
        _spec("bronze", "Records as they arrive, none dropped: from files or from the stream's topic."),
        _spec(
            "silver",
            "One clean row per id; invalid records go to the rejects table with the reason.",
            keys.table("bronze"),
        ),
        _spec("gold", "Silver's rows, classified by the production bundle.", keys.table("silver"), keys.DEPLOYMENT),
    ],
)
def lakehouse_tables(context: dg.AssetExecutionContext, var_dir: VarDirResource) -> Iterator[dg.MaterializeResult]:
    """Fill all three tables from the source in one Spark session."""
    layout = var_dir.layout()
    with step(context, "Fill the lakehouse", retry=_may_pass, wait_s=RETRY_AFTER_S):
        filled = fill_tables(layout)
        if filled is None:
            note(_NONE)
            return
    for result in filled:
        yield _result(result, table_uri(layout, result.layer))


def _result(filled: Filled, uri: str) -> dg.MaterializeResult:
    return dg.MaterializeResult(
        asset_key=keys.table(filled.layer),
        metadata={
            "dagster/uri": uri,
            "dagster/row_count": filled.rows,
            "rows": float(filled.rows),
            "files": float(filled.files),
            "MiB": round(filled.bytes / 2**20, 2),
            "delta_version": filled.version,
            "newest": dg.MetadataValue.timestamp(filled.newest) if filled.newest else "no rows",
        },
        data_version=dg.DataVersion(str(filled.version)),
    )


@dg.asset_check(
    asset=keys.table("silver"),
    description="Records of Bronze = rows of Silver + rejected records: no record is lost, none is counted twice.",
)
def every_record_is_accounted_for(var_dir: VarDirResource) -> dg.AssetCheckResult:
    """Compare the counts of the newest versions, including records deleted from Bronze."""
    status = read_status(root(var_dir.layout()))
    behind = status.behind_silver
    return dg.AssetCheckResult(
        passed=behind == 0,
        metadata={
            "bronze": status.rows("bronze"),
            "silver": status.rows("silver"),
            "rejected": status.rows("silver_rejected"),
            "forgotten": status.forgotten,
            "missing": behind,
            "reasons": dg.MetadataValue.json(status.reasons),
        },
    )


@dg.asset_check(asset=keys.table("gold"), description="Rows of Gold = rows of Silver: every message is classified, once.")
def every_message_is_classified(var_dir: VarDirResource) -> dg.AssetCheckResult:
    """Compare the counts of the newest versions."""
    status = read_status(root(var_dir.layout()))
    return dg.AssetCheckResult(
        passed=status.behind_gold == 0,
        metadata={
            "silver": status.rows("silver"),
            "gold": status.rows("gold"),
            "missing": status.behind_gold,
            "classified_by": dg.MetadataValue.json(status.versions),
        },
    )


def _freshness(layer: Layer) -> dg.AssetChecksDefinition:
    # Not a freshness policy: Dagster sees only its own writes, and `groundswell lakehouse run` writes too.
    @dg.asset_check(
        asset=keys.table(layer),
        name="is_fresh",
        description="Rows were written to the table within `fresh_within_hours`, by Dagster or by `groundswell lakehouse run`.",
    )
    def is_fresh(var_dir: VarDirResource) -> dg.AssetCheckResult:
        written = rows_written_at(root(var_dir.layout()), layer)
        return dg.AssetCheckResult(
            passed=written is not None and datetime.now(UTC) - written <= FRESH_WITHIN,
            severity=dg.AssetCheckSeverity.WARN,
            metadata={
                "written": dg.MetadataValue.timestamp(written) if written else "longer ago than the table's log goes back",
                "fresh_within_hours": FRESH_WITHIN / timedelta(hours=1),
            },
        )

    return is_fresh


def _suite(layer: Layer) -> dg.AssetChecksDefinition:
    return suite_check(
        asset=keys.table(layer),
        name="sample_suite",
        description="Great Expectations suite on the rows written last: ids, texts, labels, times. Skipped while there are none.",
        validate=lambda layout: check_sample(layout, layer),
    )


@dg.asset(
    key=keys.LAKEHOUSE_MAINTENANCE,
    group_name=_GROUP,
    kinds={"deltalake", "spark"},
    owners=OWNERS,
    deps=[keys.table(layer) for layer in LAYERS],
    output_required=False,
    description=(
        "Merges small files, removes old versions, and deletes Bronze records past their retention. Streams may continue."
    ),
)
def maintenance(context: dg.AssetExecutionContext, var_dir: VarDirResource) -> Iterator[dg.MaterializeResult]:
    """Maintain all four tables."""
    with step(context, "Maintain the lakehouse", retry=_may_pass, wait_s=RETRY_AFTER_S):
        maintained = maintain_tables(var_dir.layout())
        if maintained is None:
            note(_NONE)
            return
    records = [
        {
            "table": row.layer,
            "files_before": row.files_before,
            "files_after": row.files_after,
            "MiB": round(row.bytes / 2**20, 2),
            "forgotten": row.forgotten,
        }
        for row in maintained
    ]
    yield dg.MaterializeResult(
        metadata={
            "files_before": float(sum(row.files_before for row in maintained)),
            "files_after": float(sum(row.files_after for row in maintained)),
            "forgotten": float(sum(row.forgotten for row in maintained)),
            "tables": table(records),
        }
    )


@dg.asset(
    key=keys.LAKEHOUSE_QUALITY,
    group_name=_GROUP,
    kinds={"mlflow", "deltalake"},
    owners=OWNERS,
    deps=[keys.table("silver"), keys.table("gold")],
    output_required=False,
    description=(
        "Gold's predictions compared with the labels that records arrived with, as an MLflow run that names the Delta versions "
        "it read. Skipped while no record has a label."
    ),
)
def quality(context: dg.AssetExecutionContext, var_dir: VarDirResource) -> Iterator[dg.MaterializeResult]:
    """Evaluate, or log why there is nothing to evaluate."""
    with step(context, "Evaluate Gold on labeled records", retry=_may_pass, wait_s=RETRY_AFTER_S):
        found = measure_quality(var_dir.layout(), f"lakehouse-{context.run.run_id}")
        if found is None:
            note("No record of Gold arrived with a label: there is nothing to measure, and no MLflow run was made.")
            return
    numbers = {name: float(value) for name, value in found.metrics.items()}
    yield dg.MaterializeResult(metadata={**found.params, **numbers, "mlflow_run": found.run})


class TimeRange(dg.Config):
    """A range of event times, ISO 8601. Default: the 24 hours that ended two hours ago, which both sides have processed."""

    since: str = ""
    until: str = ""


@dg.asset(
    key=keys.RECONCILIATION,
    group_name=_GROUP,
    kinds={"clickhouse", "deltalake"},
    owners=OWNERS,
    deps=[keys.table("gold")],
    output_required=False,
    description=(
        "The stream's predictions in the warehouse compared with Gold's, id by id: missing rows, and rows that differ. The time "
        "range is a setting of the run, so any past day can be compared again."
    ),
)
def reconciliation(
    context: dg.AssetExecutionContext, config: TimeRange, var_dir: VarDirResource
) -> Iterator[dg.MaterializeResult]:
    """Compare the stream's predictions with Gold's in a time range."""
    with step(context, "Reconcile the stream with Gold", retry=_may_pass, wait_s=RETRY_AFTER_S):
        result = reconcile_predictions(var_dir.layout(), config.since, config.until)
        if isinstance(result, str):
            note(result)
            return
    found = result.found
    examples = [{name: "" if value is None else str(value) for name, value in example.items()} for example in found.examples]
    yield dg.MaterializeResult(
        metadata={
            "since": dg.MetadataValue.timestamp(result.since),
            "until": dg.MetadataValue.timestamp(result.until),
            "gold_delta_version": result.gold_version,
            "differences": float(found.differences),
            **{kind: float(count) for kind, count in found.counts.items()},
            **({"examples": table(examples)} if examples else {}),
        }
    )


def lakehouse_assets() -> tuple[list[dg.AssetsDefinition], list[dg.AssetChecksDefinition]]:
    """The assets of the lakehouse, and their checks."""
    assets = [lakehouse_tables, maintenance, quality, reconciliation]
    checks = [
        every_record_is_accounted_for,
        every_message_is_classified,
        *(_freshness(layer) for layer in LAYERS),
        *(_suite(layer) for layer in LAYERS if layer != "bronze"),
    ]
    return assets, checks
