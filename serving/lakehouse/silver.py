"""Silver: one clean row per message. Invalid records and superseded copies go to the rejects table with a reason."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from pyspark.sql import Column, Window
from pyspark.sql import functions as F

from data.language import Languages
from data.times import MAX_AHEAD_S
from serving.lakehouse.messages import ANY, messages_udf

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

CONTENT = ("id", "text", "source", "created_at", "lang", "user_id", "true_label")
"""Two copies of one message with equal content are duplicates; otherwise the newer one is a correction."""


def conform(bronze: "DataFrame", languages: Languages = ANY) -> "DataFrame":
    """Turn the messages of each row of Bronze into Silver's columns plus `raw`, `rescued`, `reason` and `notice`.

    `reason` is null for a valid message. `notice` is null except for a notice, of which `id` is the message concerned.
    """
    origin = F.coalesce("source_file", "topic").alias("origin")
    read = messages_udf(languages)(F.coalesce(F.col("raw").cast("binary"), "rescued")).alias("read")
    read = bronze.select("raw", "rescued", "topic", "arrived_at", origin, "block", "line", read)
    # The record of a page is not repeated for each of its messages: Bronze has it.
    raw = F.when(F.size("read") == 1, F.col("raw")).alias("raw")
    messages = read.select(raw, "rescued", "topic", "arrived_at", "origin", "block", "line", F.inline("read"))
    too_late = F.col("arrived_at") + F.expr(f"INTERVAL {MAX_AHEAD_S} SECONDS")
    reason = F.coalesce("reason", F.when(F.col("created_at") > too_late, "created_at in the future"))
    dated = messages.withColumn("stated_at", _stated_at(too_late)).withColumn("reason", reason)
    event_at = F.coalesce("created_at", "arrived_at")
    return dated.select(
        "id",
        "first_id",
        "replaces",
        "is_share",
        "text",
        "cleaned",
        F.coalesce("source", "topic", F.lit("files")).alias("source"),
        "created_at",
        event_at.alias("event_at"),
        F.to_date(event_at).alias("event_date"),
        "lang",
        "user_id",
        "mentions",
        "hashtags",
        "true_label",
        F.struct("edit", "stated_at", "arrived_at", "origin", "block", "line", "item").alias("copy"),
        "raw",
        "rescued",
        "reason",
        "notice",
    )


def _stated_at(too_late: Column) -> Column:
    """Return the time of the author's last change, by the times that can be right."""
    times = (F.col("edited_at"), F.col("created_at"), F.col("notice.at"))
    return F.coalesce(*(F.when(at <= too_late, at) for at in times))


def ranked(conformed: "DataFrame", before: "DataFrame") -> "DataFrame":
    """Rank the copies of each message, the winner first; the input of `winners` and `rejected`.

    Args:
        conformed: From `conform`.
        before: The rows of Silver with the same `first_id`.
    """
    now = conformed.drop("notice").where(F.col("reason").isNull()).withColumn("known", F.lit(False))
    known = before.select(
        "*",
        F.lit(None).cast("string").alias("raw"),
        F.lit(None).cast("binary").alias("rescued"),
        F.lit(None).cast("string").alias("reason"),
        F.lit(True).alias("known"),
    )
    order = Window.partitionBy("first_id").orderBy(F.col("copy").desc(), F.col("known").desc())
    return now.unionByName(known).select(
        "*",
        F.row_number().over(order).alias("rank"),
        F.lag("copy").over(order).alias("above"),
        F.lag(F.struct(*CONTENT)).over(order).alias("content_above"),
    )


def winners(ranked: "DataFrame") -> "DataFrame":
    """Select the rows that are new in Silver or newer than Silver's copy."""
    return ranked.where((F.col("rank") == 1) & ~F.col("known")).drop(*_HELPER_COLUMNS)


def rejected(conformed: "DataFrame", ranked: "DataFrame") -> "DataFrame":
    """Select the rejects with their reason: invalid records, and each copy that lost, new or from Silver, but only once."""
    lost = ranked.where((F.col("rank") > 1) & (F.col("copy") != F.col("above"))).withColumn(
        "reason", F.when(F.struct(*CONTENT).eqNullSafe(F.col("content_above")), "duplicate").otherwise("superseded")
    )
    rows = (
        conformed.drop("notice")
        .where(F.col("reason").isNotNull())
        .unionByName(lost.drop("rank", "above", "content_above", "known"))
    )
    return rows.select("reason", "id", "raw", "rescued", "copy", F.lit(datetime.now(UTC)).alias("rejected_at"))


_HELPER_COLUMNS = ("rank", "above", "content_above", "known", "raw", "rescued", "reason")
