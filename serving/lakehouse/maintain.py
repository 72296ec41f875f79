"""Housekeeping of the tables: few large files, old versions gone, Bronze no longer than it is kept. The streams may go on."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from serving.lakehouse.errors import explained
from serving.lakehouse.paths import LAYERS, Layer, table
from serving.lakehouse.writing import again
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

    at = DeltaTable.forPath(spark, table(root, layer))
    before = _detail(at)["numFiles"]
    forgotten = 0
    if layer == "bronze" and settings.keep_raw_days:
        oldest = datetime.now(UTC) - timedelta(days=settings.keep_raw_days)
        rows = at.toDF()
        forgotten = rows.where(F.col("ingested_at") < F.lit(oldest)).count()
        if forgotten:
            for attempt in again():
                with attempt:
                    at.delete(F.col("ingested_at") < F.lit(oldest))
    for attempt in again():
        with attempt:
            at.optimize().executeCompaction()
    # Versions younger than a week may be under a reader's feet: Delta wants to be told that this is meant.
    spark.conf.set("spark.databricks.delta.retentionDurationCheck.enabled", str(settings.keep_versions_hours >= 168).lower())
    at.vacuum(float(settings.keep_versions_hours))
    after = _detail(at)
    return Kept(layer, before, after["numFiles"], after["sizeInBytes"], forgotten)


def _detail(at) -> dict:
    row = at.detail().select("numFiles", "sizeInBytes").first()
    return row.asDict() if row else {}
