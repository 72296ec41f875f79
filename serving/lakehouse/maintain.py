"""Maintenance of the tables: merge small files, remove old versions, delete Bronze records past their retention.

The streams may continue: on this machine commits to a table wait for each other; elsewhere the second commit is retried.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from serving.lakehouse.errors import translate_spark_errors
from serving.lakehouse.paths import LAYERS, Layer, table
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
    """Records removed because they are older than `keep_raw_days`."""


def maintain(spark: "SparkSession", root: str, settings: LakehouseSettings) -> list[MaintainedTable]:
    """Run OPTIMIZE, the retention of Bronze, and VACUUM of files that no version within `keep_versions_hours` needs. Blocks.

    Raises:
        LakehouseError: Spark failed; finished tables stay maintained.
    """
    done = []
    with translate_spark_errors(root):
        for layer in LAYERS:
            done.append(_one(spark, root, layer, settings))
    return done


def _one(spark: "SparkSession", root: str, layer: Layer, settings: LakehouseSettings) -> MaintainedTable:
    from delta.tables import DeltaTable

    path = table(root, layer)
    at = DeltaTable.forPath(spark, path)
    before = _detail(at)["numFiles"]
    forgotten = 0
    if layer == "bronze" and settings.keep_raw_days:
        forgotten = _forget(spark, root, datetime.now(UTC) - timedelta(days=settings.keep_raw_days))
    commit(path, lambda: at.optimize().executeCompaction())
    # Readers may still use versions younger than a week, so Delta asks for a confirmation that they may be removed.
    spark.conf.set("spark.databricks.delta.retentionDurationCheck.enabled", str(settings.keep_versions_hours >= 168).lower())
    commit(path, lambda: at.vacuum(float(settings.keep_versions_hours)))
    after = _detail(at)
    return MaintainedTable(layer, before, after["numFiles"], after["sizeInBytes"], forgotten)


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
