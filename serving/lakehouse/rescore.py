"""Re-scoring: another version judges a time range of Gold, beside the answers that are there, while the stream goes on."""

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from serving.bundle import Bundle
from serving.lakehouse import gold
from serving.lakehouse.errors import explained
from serving.lakehouse.judge import bundle_udf
from serving.lakehouse.paths import table
from serving.lakehouse.writing import commit

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def rescore(
    spark: "SparkSession",
    root: str,
    bundle: Bundle,
    *,
    since: datetime,
    until: datetime,
    make_current: bool,
    seen: Callable[[str, float], None] = lambda day, share: None,
) -> int:
    """Judge rows of Gold with `bundle`: an entry in `answers` under its version. Rows that have one keep it, so a run that was
    interrupted goes on, and going back to an old version costs no model.

    A day is one commit. A row that the stream corrects meanwhile is left to the stream.

    Args:
        spark: A session.
        root: Of the tables.
        bundle: The version that judges.
        since: From this event time on.
        until: Before this one.
        make_current: Whether its answers become those that readers see (`label`, `confidence`, ..., `model_version`).
        seen: Told of each finished day, and the share of days that are done.

    Returns:
        Rows that this version had not judged before.

    Raises:
        LakehouseError: Spark cannot go on; the days before are done.
    """
    version, path = bundle.manifest.version, table(root, "gold")
    in_range = (F.col("event_at") >= F.lit(since)) & (F.col("event_at") < F.lit(until))
    with explained(root):
        rows = spark.read.format("delta").load(path).where(in_range)
        days = [row[0] for row in rows.select("event_date").distinct().orderBy("event_date").collect()]
        added = 0
        for number, day in enumerate(days, 1):
            added += _judge_day(spark, path, bundle, in_range & (F.col("event_date") == F.lit(day)), day)
            if make_current:
                _make_current(spark, path, version, in_range & (F.col("event_date") == F.lit(day)))
            seen(str(day), number / len(days))
    return added


def _judge_day(spark: "SparkSession", path: str, bundle: Bundle, rows_of_day, day: object) -> int:
    from delta.tables import DeltaTable
    from pyspark import StorageLevel

    version = bundle.manifest.version
    lacking = spark.read.format("delta").load(path).where(rows_of_day & (F.col("answers").getItem(version).isNull()))
    texts = lacking.select(*gold.FROM_SILVER, F.col("text").alias("cleaned"))
    judged = gold.judged(texts, bundle_udf(spark, bundle), spark.sparkContext.defaultParallelism)
    judged = judged.persist(StorageLevel.MEMORY_AND_DISK)
    try:
        if count := judged.count():
            same = (F.col("t.id") == F.col("s.id")) & (F.col("t.copy") == F.col("s.copy")) & (F.col("t.event_date") == F.lit(day))
            both = F.when(F.col("t.answers").isNull(), F.col("s.answers")).otherwise(F.map_concat("t.answers", "s.answers"))

            def merge() -> None:
                merging = DeltaTable.forPath(spark, path).alias("t").merge(judged.alias("s"), same)
                merging.whenMatchedUpdate(condition="s.answers IS NOT NULL", set={"answers": both}).execute()

            commit(path, merge)
        return count
    finally:
        judged.unpersist()


def _make_current(spark: "SparkSession", path: str, version: str, rows_of_day) -> None:
    from delta.tables import DeltaTable

    answer = F.col("answers").getItem(version)
    given = {name: answer.getField(name) for name in (*gold.SCORES, "predicted_at")}
    other = ~F.col("model_version").eqNullSafe(F.lit(version))

    def update() -> None:
        DeltaTable.forPath(spark, path).update(
            rows_of_day & answer.isNotNull() & other, {**given, "model_version": F.lit(version)}
        )

    commit(path, update)
