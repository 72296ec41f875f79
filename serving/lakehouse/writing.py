"""Write micro-batches so that each takes effect exactly once, even if it runs again."""

from typing import TYPE_CHECKING

from pyspark.sql import functions as F
from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_random_exponential

from serving.lakehouse import forget, forgotten, gold, notices, silver
from serving.lakehouse.bronze import as_bronze
from serving.lakehouse.locks import table_commit_lock
from serving.lakehouse.messages import ANY
from serving.lakehouse.paths import table

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from pyspark.sql import DataFrame, SparkSession

    from data.forgetting import Request
    from data.language import Languages

ATTEMPTS = 6
"""Attempts of a merge: compaction or a backfill may have rewritten the files that it was reading; then it starts again."""


def write_bronze(root: str, lines: "DataFrame", app: str, batch: int) -> None:
    """Append lines of `read_source`. Delta skips a batch number that this stream has already written.

    Args:
        root: The folder or URI of the tables.
        lines: The lines of one micro-batch.
        app: The stream's id, stored in its checkpoint.
        batch: The batch number.
    """
    _append(as_bronze(lines), table(root, "bronze"), app, batch)


def write_silver(
    root: str,
    bronze: "DataFrame",
    app: str,
    batch: int,
    on_requests: "Callable[[Sequence[Request]], None]" = lambda _: None,
    languages: "Languages" = ANY,
) -> None:
    """Deduplicate rows of Bronze and merge the winners into Silver, or append them if Silver has none of their ids.

    The rejects table is written first. After a crash between the two commits the batch runs again: the rejects table skips it,
    and Silver has not seen it. Notices are followed first; `on_requests` gets what they ask to forget, before any table changes.
    Messages in a language that `languages` rejects are rejected.
    """
    spark = bronze.sparkSession
    from pyspark import StorageLevel

    read = silver.conform(bronze, languages).persist(StorageLevel.MEMORY_AND_DISK)
    try:
        valid = F.when(F.col("reason").isNull(), F.col("first_id"))
        low, high, count = read.agg(F.min(valid), F.max(valid), F.count("notice")).first() or (None, None, 0)
        if count:
            notices.follow(root, read, on_requests)
        keys = forgotten.read_keys(root)
        conformed = notices.hide(read, keys) if keys or count else read
        there = spark.read.format("delta").load(table(root, "silver"))
        ids = conformed.where(F.col("reason").isNull()).select("first_id").distinct()
        before = there.where(F.col("first_id").between(F.lit(low), F.lit(high))).join(ids, "first_id", "left_semi")
        ranked = silver.ranked(conformed, before).persist(StorageLevel.MEMORY_AND_DISK)
        try:
            _append(silver.rejected(conformed, ranked), table(root, "silver_rejected"), app, batch)
            if low is not None:  # else there is no valid message: do not create an empty version of Silver
                _write_winners(spark, table(root, "silver"), ranked, low, high)
        finally:
            ranked.unpersist()
        notices.forget_late(root, read, keys)
        if count:
            forget.scrub(root)
    finally:
        read.unpersist()


def _write_winners(spark: "SparkSession", path: str, ranked: "DataFrame", low: str, high: str | None) -> None:
    winners = silver.winners(ranked)
    if ranked.where("known").isEmpty():
        # Silver has none of these ids, so an append is enough. If the batch runs again, it finds them and merges.
        commit(path, lambda: winners.write.format("delta").mode("append").save(path))
    else:
        _merge(spark, path, winners, low, high)


def write_gold(root: str, changes: "DataFrame", current: "Callable[[], Callable[..., Any]]") -> None:
    """Classify Silver's changes and merge them. A row whose copy is already in Gold is not changed.

    Args:
        root: The folder or URI of the tables.
        changes: Of Silver's change feed.
        current: Returns the column function that classifies; not called if there is nothing to classify.
    """
    from pyspark import StorageLevel

    spark = changes.sparkSession
    keys = forgotten.read_keys(root)
    rows = notices.left(gold.newest(changes), keys)
    if rows.isEmpty():
        return  # rows were only deleted
    # Classified once, even if the merge reads the rows several times.
    classified = gold.classified(rows, current(), spark.sparkContext.defaultParallelism).persist(StorageLevel.MEMORY_AND_DISK)
    try:
        low, high = classified.agg(F.min("first_id"), F.max("first_id")).first() or (None, None)
        _merge(spark, table(root, "gold"), classified, low, high)
        notices.forget_late(root, classified, keys)
    finally:
        classified.unpersist()


def _append(rows: "DataFrame", path: str, app: str, batch: int) -> None:
    writer = rows.write.format("delta").mode("append").option("txnAppId", f"{app}").option("txnVersion", batch)
    commit(path, lambda: writer.save(path))


def _merge(spark: "SparkSession", path: str, rows: "DataFrame", low: str | None, high: str | None) -> None:
    from delta.tables import DeltaTable

    if low is None or high is None:
        return
    # The range lets Delta skip files by their statistics, as ids increase with time in most sources.
    same = (F.col("t.first_id") == F.col("s.first_id")) & F.col("t.first_id").between(low, high)

    def merge() -> None:
        merging = DeltaTable.forPath(spark, path).alias("t").merge(rows.alias("s"), same)
        merging = merging.whenMatchedUpdateAll(condition="s.copy > t.copy")
        merging.whenNotMatchedInsertAll().execute()

    commit(path, merge)


def commit(path: str, write: "Callable[[], object]") -> None:
    """Run `write`, which commits to a table, under the table's lock on this machine. Retries if a concurrent commit conflicts.

    Raises:
        LakehouseError: Other processes held the lock for `locks.WAIT_S`.
    """
    attempts = Retrying(
        stop=stop_after_attempt(ATTEMPTS),
        wait=wait_random_exponential(multiplier=0.2, max=5),
        retry=retry_if_exception(_is_conflict),
        reraise=True,
    )
    for attempt in attempts:
        with attempt, table_commit_lock(path):
            write()


def _is_conflict(error: BaseException) -> bool:
    from delta.exceptions import DeltaConcurrentModificationException

    return isinstance(error, DeltaConcurrentModificationException)
