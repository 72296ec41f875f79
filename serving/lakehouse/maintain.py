"""Maintenance of the tables: merge small files, remove old versions, delete Bronze records past their retention.

The streams may continue: on this machine commits to a table wait for each other; elsewhere the second commit is retried.
"""

from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from data.errors import GroundswellError
from serving.lakehouse import forget, forgotten
from serving.lakehouse.errors import translate_spark_errors
from serving.lakehouse.locks import exclusive_run
from serving.lakehouse.paths import LAYERS, Layer, table
from serving.lakehouse.run import Lakehouse, run_once
from serving.lakehouse.status import FORGOTTEN, forgotten_records, open_table
from serving.lakehouse.writing import commit
from serving.settings import LakehouseSettings

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


@dataclass(frozen=True)
class MaintainedTable:
    """What maintenance changed in one table."""

    layer: Layer
    files_before: int
    files_after: int
    bytes: int
    forgotten: int
    """Records removed because they are older than `keep_raw_days`, or forgotten."""


def maintain(spark: "SparkSession", root: str, settings: LakehouseSettings) -> list[MaintainedTable]:
    """Run OPTIMIZE, the retention of Bronze, and VACUUM of files that no version within `keep_versions_hours` needs. Blocks.

    Records of Bronze that are forgotten are deleted. If messages were forgotten since the last maintenance and no driver runs the
    streams, all old versions are removed, whatever their age, since they hold these messages.

    Raises:
        LakehouseError: Spark failed; finished tables stay maintained.
    """
    with translate_spark_errors(root), ExitStack() as held:
        newest = forgotten.unpurged(root)
        hours = 0 if newest and _may_purge(spark, root, settings, held) else settings.keep_versions_hours
        purged = forget.scrub(root) + forget.purge_bronze(root)
        done = [_one(spark, root, layer, settings, hours) for layer in LAYERS]
        if newest and hours == 0:
            forgotten.mark_purged(root, newest)
    return [replace(one, forgotten=one.forgotten + purged) if one.layer == "bronze" else one for one in done]


def _may_purge(spark: "SparkSession", root: str, settings: LakehouseSettings, held: ExitStack) -> bool:
    """Return whether no stream needs an old version: no other driver runs, and the streams have read all changes.

    They are then kept from starting until `held` ends.
    """
    try:
        held.enter_context(exclusive_run(root))
        run_once(Lakehouse(spark, root, settings), None)
    except GroundswellError:  # another driver runs, or there is no model for what is left to classify
        return False
    return True


def _one(spark: "SparkSession", root: str, layer: Layer, settings: LakehouseSettings, hours: int) -> MaintainedTable:
    from delta.tables import DeltaTable

    path = table(root, layer)
    at = DeltaTable.forPath(spark, path)
    before = _detail(at)["numFiles"]
    deleted = 0
    if layer == "bronze" and settings.keep_raw_days:
        deleted = _forget(spark, root, datetime.now(UTC) - timedelta(days=settings.keep_raw_days))
    commit(path, lambda: at.optimize().executeCompaction())
    # Readers may still use versions younger than a week, so Delta asks for a confirmation that they may be removed.
    spark.conf.set("spark.databricks.delta.retentionDurationCheck.enabled", str(hours >= 168).lower())
    commit(path, lambda: at.vacuum(float(hours)))
    after = _detail(at)
    return MaintainedTable(layer, before, after["numFiles"], after["sizeInBytes"], deleted)


def _forget(spark: "SparkSession", root: str, oldest: datetime) -> int:
    """Delete Bronze records ingested before `oldest`. The same commit stores the total of all deleted records, for `status`."""
    from delta.tables import DeltaTable

    old, counted = F.col("ingested_at") < F.lit(oldest), 0
    own = spark.newSession()  # the settings below are for this commit alone
    own.conf.set("spark.databricks.delta.write.txnAppId", FORGOTTEN)
    bronze = DeltaTable.forPath(own, table(root, "bronze"))

    def forget() -> None:
        nonlocal counted
        # No older record can be ingested meanwhile, so these are the rows that will be deleted.
        if counted := bronze.toDF().where(old).count():
            own.conf.set("spark.databricks.delta.write.txnVersion", forgotten_records(open_table(root, "bronze")) + counted)
            bronze.delete(old)

    commit(table(root, "bronze"), forget)
    return counted


def _detail(at) -> dict:
    row = at.detail().select("numFiles", "sizeInBytes").first()
    return row.asDict() if row else {}
