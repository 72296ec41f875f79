"""Backfill: another model version classifies a time range of Gold while the stream runs; existing predictions are kept."""

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from data.domains import domains_of_sources
from serving.bundle import Bundle
from serving.lakehouse import gold
from serving.lakehouse.classify import bundle_udf
from serving.lakehouse.errors import translate_spark_errors
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
    on_day: Callable[[str, float], None] = lambda day, share: None,
) -> int:
    """Classify rows of Gold with `bundle` and add an entry to `answers` under its version.

    Rows that already have an entry keep it: an interrupted run resumes, and returning to an old version runs no model. Each day
    is one commit. A row that the stream corrects meanwhile is left to the stream.

    Args:
        spark: A session.
        root: The folder or URI of the tables.
        bundle: The version that classifies.
        since: First event time.
        until: End of the event times (exclusive).
        make_current: Whether readers see its predictions from now on (`label`, `confidence`, ..., `model_version`).
        on_day: Called with each finished day and the share of finished days.

    Returns:
        Number of rows that this version had not classified before.

    Raises:
        LakehouseError: Spark failed; finished days stay classified.
    """
    version, path = bundle.manifest.version, table(root, "gold")
    in_range = (F.col("event_at") >= F.lit(since)) & (F.col("event_at") < F.lit(until))
    with translate_spark_errors(root):
        rows = spark.read.format("delta").load(path).where(in_range)
        days = [row[0] for row in rows.select("event_date").distinct().orderBy("event_date").collect()]
        added = 0
        for number, day in enumerate(days, 1):
            added += _classify_day(spark, path, bundle, in_range & (F.col("event_date") == F.lit(day)), day)
            if make_current:
                _make_current(spark, path, version, in_range & (F.col("event_date") == F.lit(day)))
            on_day(str(day), number / len(days))
    return added


def _classify_day(spark: "SparkSession", path: str, bundle: Bundle, rows_of_day, day: object) -> int:
    from delta.tables import DeltaTable
    from pyspark import StorageLevel

    version = bundle.manifest.version
    lacking = spark.read.format("delta").load(path).where(rows_of_day & (F.col("answers").getItem(version).isNull()))
    texts = lacking.select(*gold.FROM_SILVER, F.col("text").alias("cleaned"))
    classified = gold.classified(
        texts, bundle_udf(spark, bundle, domains=domains_of_sources()), spark.sparkContext.defaultParallelism
    )
    classified = classified.persist(StorageLevel.MEMORY_AND_DISK)
    try:
        if count := classified.count():
            same = (F.col("t.id") == F.col("s.id")) & (F.col("t.copy") == F.col("s.copy")) & (F.col("t.event_date") == F.lit(day))
            both = F.when(F.col("t.answers").isNull(), F.col("s.answers")).otherwise(F.map_concat("t.answers", "s.answers"))

            def merge() -> None:
                merging = DeltaTable.forPath(spark, path).alias("t").merge(classified.alias("s"), same)
                merging.whenMatchedUpdate(condition="s.answers IS NOT NULL", set={"answers": both}).execute()

            commit(path, merge)
        return count
    finally:
        classified.unpersist()


def _make_current(spark: "SparkSession", path: str, version: str, rows_of_day) -> None:
    from delta.tables import DeltaTable

    prediction = F.col("answers").getItem(version)
    given = {name: prediction.getField(name) for name in (*gold.SCORES, "predicted_at")}
    other = ~F.col("model_version").eqNullSafe(F.lit(version))

    def update() -> None:
        DeltaTable.forPath(spark, path).update(
            rows_of_day & prediction.isNotNull() & other, {**given, "model_version": F.lit(version)}
        )

    commit(path, update)
