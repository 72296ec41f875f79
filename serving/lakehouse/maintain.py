"""Housekeeping of the tables: few large files, old versions gone, Bronze no longer than it is kept.

The streams may go on: on this machine each waits for the other's commit to a table, elsewhere the second commit is tried again.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from serving.lakehouse.errors import explained
from serving.lakehouse.paths import LAYERS, Layer, table
from serving.lakehouse.status import FORGOTTEN, forgotten_records, open_table
from serving.lakehouse.writing import commit
from serving.settings import LakehouseSettings

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


@dataclass(frozen=True)
class Kept:
    """What housekeeping found and left of a table."""

    layer: Layer
    files_before: int
    files_after: int
    bytes: int
    forgotten: int
    """Records removed because they are older than `keep_raw_days`."""


def maintain(spark: "SparkSession", root: str, settings: LakehouseSettings) -> list[Kept]:
    """OPTIMIZE, retention of Bronze, VACUUM of what no version within `keep_versions_hours` needs. Blocks meanwhile.

    Raises:
        LakehouseError: Spark cannot go on; what was done stays done.
    """
    done = []
    with explained(root):
        for layer in LAYERS:
            done.append(_one(spark, root, layer, settings))
    return done


def _one(spark: "SparkSession", root: str, layer: Layer, settings: LakehouseSettings) -> Kept:
    from delta.tables import DeltaTable

    path = table(root, layer)
    at = DeltaTable.forPath(spark, path)
    before = _detail(at)["numFiles"]
    forgotten = 0
    if layer == "bronze" and settings.keep_raw_days:
        forgotten = _forget(spark, root, datetime.now(UTC) - timedelta(days=settings.keep_raw_days))
    commit(path, lambda: at.optimize().executeCompaction())
    # Versions younger than a week may be under a reader's feet: Delta wants to be told that this is meant.
    spark.conf.set("spark.databricks.delta.retentionDurationCheck.enabled", str(settings.keep_versions_hours >= 168).lower())
    commit(path, lambda: at.vacuum(float(settings.keep_versions_hours)))
    after = _detail(at)
    return Kept(layer, before, after["numFiles"], after["sizeInBytes"], forgotten)


def _forget(spark: "SparkSession", root: str, oldest: datetime) -> int:
    """Remove from Bronze what came in before `oldest`. How many ever were removed is kept in the same commit, for `status`."""
    from delta.tables import DeltaTable

    old, counted = F.col("ingested_at") < F.lit(oldest), 0
    own = spark.newSession()  # the settings below are for this commit alone
    own.conf.set("spark.databricks.delta.write.txnAppId", FORGOTTEN)
    bronze = DeltaTable.forPath(own, table(root, "bronze"))

    def forget() -> None:
        nonlocal counted
        # Nothing older can come in meanwhile, so these are the rows that will be deleted.
        if counted := bronze.toDF().where(old).count():
            own.conf.set("spark.databricks.delta.write.txnVersion", forgotten_records(open_table(root, "bronze")) + counted)
            bronze.delete(old)

    commit(table(root, "bronze"), forget)
    return counted


def _detail(at) -> dict:
    row = at.detail().select("numFiles", "sizeInBytes").first()
    return row.asDict() if row else {}
