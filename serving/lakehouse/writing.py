"""How micro-batches are written: each takes effect once, however often it runs."""

from typing import TYPE_CHECKING

from pyspark.sql import functions as F
from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_random_exponential

from serving.lakehouse import gold, silver
from serving.lakehouse.bronze import as_bronze
from serving.lakehouse.locks import committing
from serving.lakehouse.paths import table

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from pyspark.sql import DataFrame, SparkSession

ATTEMPTS = 6
"""Compaction or re-scoring may have rewritten what a merge was reading; then it reads anew."""


def write_bronze(root: str, lines: "DataFrame", app: str, batch: int) -> None:
    """Append lines of `read_source`. The same batch of the same stream again is skipped by Delta itself.

    Args:
        root: Of the tables.
        lines: Of one micro-batch.
        app: The stream's own id, which lives as long as its checkpoint.
        batch: Its number.
    """
    _append(as_bronze(lines), table(root, "bronze"), app, batch)


def write_silver(root: str, bronze: "DataFrame", app: str, batch: int) -> None:
    """Settle rows of Bronze: merge the winners, or append them where none of their ids is there.

    The side table comes first: a crash between the two is healed when the batch runs again, since the side table then skips it
    and Silver has not seen it.
    """
    spark = bronze.sparkSession
    from pyspark import StorageLevel

    conformed = silver.conform(bronze).persist(StorageLevel.MEMORY_AND_DISK)
    try:
        low, high = conformed.where(F.col("reason").isNull()).agg(F.min("id"), F.max("id")).first() or (None, None)
        there = spark.read.format("delta").load(table(root, "silver"))
        ids = conformed.where(F.col("reason").isNull()).select("id").distinct()
        before = there.where(F.col("id").between(F.lit(low), F.lit(high))).join(ids, "id", "left_semi")
        ranked = silver.ranked(conformed, before).persist(StorageLevel.MEMORY_AND_DISK)
        try:
            _append(silver.aside(conformed, ranked), table(root, "silver_rejected"), app, batch)
            if low is None:
                return  # no message among them: no empty version of Silver for Gold to read
            winners = silver.winners(ranked)
            if ranked.where("known").isEmpty():
                # None of these ids is there: nothing to compare with. Twice the same batch finds them, and comes to the merge.
                commit(table(root, "silver"), lambda: winners.write.format("delta").mode("append").save(table(root, "silver")))
            else:
                _merge(spark, table(root, "silver"), winners, low, high)
        finally:
            ranked.unpersist()
    finally:
        conformed.unpersist()


def write_gold(root: str, changes: "DataFrame", judge: "Callable[..., Any]") -> None:
    """Judge Silver's changes and merge them. A row whose copy is in Gold already is left as it is."""
    from pyspark import StorageLevel

    spark = changes.sparkSession
    rows = gold.newest(changes)
    # Judged once, however often the merge has to read it.
    judged = gold.judged(rows, judge, spark.sparkContext.defaultParallelism).persist(StorageLevel.MEMORY_AND_DISK)
    try:
        low, high = judged.agg(F.min("id"), F.max("id")).first() or (None, None)
        _merge(spark, table(root, "gold"), judged, low, high)
    finally:
        judged.unpersist()


def _append(rows: "DataFrame", path: str, app: str, batch: int) -> None:
    writer = rows.write.format("delta").mode("append").option("txnAppId", f"{app}").option("txnVersion", batch)
    commit(path, lambda: writer.save(path))


def _merge(spark: "SparkSession", path: str, rows: "DataFrame", low: str | None, high: str | None) -> None:
    from delta.tables import DeltaTable

    if low is None or high is None:
        return
    # The range lets Delta leave out files by their statistics, as ids rise with time in most sources.
    same = (F.col("t.id") == F.col("s.id")) & F.col("t.id").between(low, high)

    def merge() -> None:
        merging = DeltaTable.forPath(spark, path).alias("t").merge(rows.alias("s"), same)
        merging = merging.whenMatchedUpdateAll(condition="s.copy > t.copy")
        merging.whenNotMatchedInsertAll().execute()

    commit(path, merge)


def commit(path: str, write: "Callable[[], object]") -> None:
    """Let `write` commit to a table, alone on this machine; where storage is shared, again when another commit overtook it.

    Raises:
        LakehouseError: Others kept the table for `locks.WAIT_S`.
    """
    attempts = Retrying(
        stop=stop_after_attempt(ATTEMPTS),
        wait=wait_random_exponential(multiplier=0.2, max=5),
        retry=retry_if_exception(_overtaken),
        reraise=True,
    )
    for attempt in attempts:
        with attempt, committing(path):
            write()


def _overtaken(error: BaseException) -> bool:
    from delta.exceptions import DeltaConcurrentModificationException

    return isinstance(error, DeltaConcurrentModificationException)
