"""The lakehouse: its three tables, their housekeeping, and what they say of the model and of the stream."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import dagster as dg

from orchestration.assets.stepping import step
from orchestration.checks import suite_check
from orchestration.progress import note
from orchestration.resources import Workplace
from orchestration.steps.lakehouse import (
    Filled,
    check_sample,
    count_tables,
    fill_tables,
    keep_tidy,
    measure_quality,
    reconcile_answers,
    rows_came_at,
)
from serving.lakehouse.paths import Layer

TABLES: dict[Layer, str] = {
    "bronze": "lake_bronze__records",
    "silver": "lake_silver__messages",
    "gold": "lake_gold__predictions",
}
FRESH_WITHIN = timedelta(hours=24)
"""A table to which nothing has been written for longer is worth a look: its source may have dried up."""
_GROUP = "lakehouse"
_NONE = "There is no lakehouse yet. Name a source with GROUNDSWELL_LAKEHOUSE__SOURCE: a folder, an s3a:// URI, or kafka."


def _spec(layer: Layer, description: str, *deps: str) -> dg.AssetSpec:
    return dg.AssetSpec(
        TABLES[layer],
        deps=deps,
        group_name=_GROUP,
        kinds={"deltalake", "spark"},
        skippable=True,
        description=description,
        metadata={"fresh_within_hours": FRESH_WITHIN / timedelta(hours=1)},
    )


@dg.multi_asset(
    name="lakehouse_tables",
    specs=[
        _spec("bronze", "Records as they came, none dropped: from files or from the stream's topic."),
        _spec("silver", "One clean row an id; what is no message, and copies that lost, go aside.", TABLES["bronze"]),
        _spec("gold", "Silver's rows, judged by the production bundle.", TABLES["silver"], "service_sentiment__deployment"),
    ],
)
def lakehouse_tables(context: dg.AssetExecutionContext, workplace: Workplace) -> Iterator[dg.MaterializeResult]:
    """One Spark session brings all three up to what is there now."""
    with step(context, "Fill the lakehouse"):
        filled = fill_tables(workplace.layout())
        if filled is None:
            note(_NONE)
            return
    for found in filled:
        yield _result(found)


def _result(found: Filled) -> dg.MaterializeResult:
    return dg.MaterializeResult(
        asset_key=TABLES[found.layer],
        metadata={
            "rows": found.rows,
            "files": found.files,
            "MiB": round(found.bytes / 2**20, 2),
            "delta_version": found.version,
            "newest": dg.MetadataValue.timestamp(found.newest) if found.newest else "no rows",
        },
        data_version=dg.DataVersion(str(found.version)),
    )


@dg.asset_check(asset=TABLES["silver"], description="Bronze = Silver + aside: no record is lost, none counted twice.")
def every_record_is_accounted_for(workplace: Workplace) -> dg.AssetCheckResult:
    """Counts of the newest versions and of what Bronze was told to forget."""
    status = count_tables(workplace.layout())
    behind = status.behind_silver
    return dg.AssetCheckResult(
        passed=behind == 0,
        metadata={
            "bronze": status.rows("bronze"),
            "silver": status.rows("silver"),
            "aside": status.rows("silver_rejected"),
            "forgotten": status.forgotten,
            "missing": behind,
            "reasons": dg.MetadataValue.json(status.reasons),
        },
    )


@dg.asset_check(asset=TABLES["gold"], description="Gold = Silver: every message is judged, once.")
def every_message_is_judged(workplace: Workplace) -> dg.AssetCheckResult:
    """Counts of the newest versions."""
    status = count_tables(workplace.layout())
    return dg.AssetCheckResult(
        passed=status.behind_gold == 0,
        metadata={
            "silver": status.rows("silver"),
            "gold": status.rows("gold"),
            "missing": status.behind_gold,
            "judged_by": dg.MetadataValue.json(status.versions),
        },
    )


def _freshness(layer: Layer) -> dg.AssetChecksDefinition:
    # Dagster's own freshness checks know only of what Dagster wrote; `groundswell lakehouse run` writes too.
    @dg.asset_check(asset=TABLES[layer], name="is_fresh", description="Rows were written to it within fresh_within_hours.")
    def is_fresh(workplace: Workplace) -> dg.AssetCheckResult:
        written = rows_came_at(workplace.layout(), layer)
        return dg.AssetCheckResult(
            passed=written is not None and datetime.now(UTC) - written <= FRESH_WITHIN,
            severity=dg.AssetCheckSeverity.WARN,
            metadata={
                "written": dg.MetadataValue.timestamp(written) if written else "longer ago than the log tells",
                "fresh_within_hours": FRESH_WITHIN / timedelta(hours=1),
            },
        )

    return is_fresh


def _suite(layer: Layer) -> dg.AssetChecksDefinition:
    return suite_check(asset=TABLES[layer], name="sample_suite", validate=lambda layout: check_sample(layout, layer))


@dg.asset(
    group_name=_GROUP,
    kinds={"deltalake", "spark"},
    deps=list(TABLES.values()),
    output_required=False,
    description="Small files merged, old versions removed, and from Bronze what is older than it is kept. Streams may go on.",
)
def lake_tables__maintenance(context: dg.AssetExecutionContext, workplace: Workplace) -> Iterator[dg.MaterializeResult]:
    """Look after all four tables."""
    with step(context, "Tidy the lakehouse"):
        kept = keep_tidy(workplace.layout())
        if kept is None:
            note(_NONE)
            return
    records = [
        dg.TableRecord(
            {
                "table": row.layer,
                "files_before": row.files_before,
                "files_after": row.files_after,
                "MiB": round(row.bytes / 2**20, 2),
                "forgotten": row.forgotten,
            }
        )
        for row in kept
    ]
    yield dg.MaterializeResult(
        metadata={
            "files_before": sum(row.files_before for row in kept),
            "files_after": sum(row.files_after for row in kept),
            "forgotten": sum(row.forgotten for row in kept),
            "tables": dg.MetadataValue.table(records),
        }
    )


@dg.asset(
    group_name=_GROUP,
    kinds={"mlflow", "deltalake"},
    deps=[TABLES["silver"], TABLES["gold"]],
    output_required=False,
    description="Gold's answers against the labels that records came with, as an MLflow run that names the Delta versions read.",
)
def report_lake__quality(context: dg.AssetExecutionContext, workplace: Workplace) -> Iterator[dg.MaterializeResult]:
    """Measure; a stream without labels has nothing to measure."""
    with step(context, "Judge the labelled stream"):
        found = measure_quality(workplace.layout(), f"lakehouse-{context.run.run_id}")
        if found is None:
            note("No record of Gold came with a label: there is nothing to measure, and no run was made.")
            return
    yield dg.MaterializeResult(metadata={**found.params, **found.metrics, "mlflow_run": found.run})


class TimeRange(dg.Config):
    """Of event times, ISO 8601; by default the day that ended two hours ago, which both lists have settled."""

    since: str = ""
    until: str = ""


@dg.asset(
    group_name=_GROUP,
    kinds={"clickhouse", "deltalake"},
    deps=[TABLES["gold"]],
    output_required=False,
    description="The stream's answers in the warehouse against Gold's, id by id: what only one has, and where they disagree.",
)
def report_lake__reconciliation(
    context: dg.AssetExecutionContext, config: TimeRange, workplace: Workplace
) -> Iterator[dg.MaterializeResult]:
    """Compare both lists in a time range."""
    with step(context, "Reconcile the stream with Gold"):
        result = reconcile_answers(workplace.layout(), config.since, config.until)
        if isinstance(result, str):
            note(result)
            return
    found = result.found
    examples = [
        dg.TableRecord({name: "" if value is None else str(value) for name, value in example.items()})
        for example in found.examples
    ]
    yield dg.MaterializeResult(
        metadata={
            "since": dg.MetadataValue.timestamp(result.since),
            "until": dg.MetadataValue.timestamp(result.until),
            "gold_delta_version": result.gold_version,
            "differences": found.differences,
            **found.counts,
            **({"examples": dg.MetadataValue.table(examples)} if examples else {}),
        }
    )


def lakehouse_assets() -> tuple[list[dg.AssetsDefinition], list[dg.AssetChecksDefinition]]:
    """The assets of the lakehouse, and their checks."""
    assets = [lakehouse_tables, lake_tables__maintenance, report_lake__quality, report_lake__reconciliation]
    checks = [
        every_record_is_accounted_for,
        every_message_is_judged,
        *(_freshness(layer) for layer in TABLES),
        *(_suite(layer) for layer in TABLES if layer != "bronze"),
    ]
    return assets, checks
