"""Silver: one clean row per id. Invalid records and superseded copies go to the rejects table with a reason."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from pyspark.sql import Column, Window
from pyspark.sql import functions as F

from data.labels import LABELS
from data.readable import MAX_TEXT_CHARS, unreadable
from serving.lakehouse.times import utc

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

MAX_AHEAD_S = 300
"""A record dated more than this many seconds after its arrival is rejected, as on the stream."""
CONTENT = ("text", "source", "created_at", "lang", "user_id", "true_label")
"""Two copies of one id with equal content are duplicates; otherwise the newer one is a correction."""


def conform(bronze: "DataFrame") -> "DataFrame":
    """Turn each row of Bronze into Silver's columns plus `raw`, `rescued` and `reason` (null for a valid message)."""
    field = lambda name: F.col("record").getItem(name)  # noqa: E731
    identity = F.coalesce(_filled(field("id_str")), _filled(field("id")))
    text = F.coalesce(field("full_text"), field("text"))
    stated = field("created_at")
    read = bronze.select(
        "raw",
        "rescued",
        F.col("record").isNotNull().alias("is_record"),
        identity.alias("id"),
        text.alias("text"),
        F.coalesce(field("source"), F.col("topic"), F.lit("files")).alias("source"),
        (_filled(stated).isNotNull()).alias("is_dated"),
        utc(stated).alias("created_at"),
        _filled(field("lang")).alias("lang"),
        F.coalesce(
            F.get_json_object(field("user"), "$.id_str"),
            F.get_json_object(field("user"), "$.id"),
            field("user_id"),
            field("author_id"),
        ).alias("user_id"),
        F.when(field("label").isin(*LABELS), field("label")).alias("true_label"),
        F.coalesce(utc(field("edited_at")), utc(field("updated_at")), utc(stated)).alias("stated_at"),
        "arrived_at",
        F.coalesce("source_file", "topic").alias("origin"),
        "block",
        "line",
        _reading_udf()(text).alias("reading"),
    )
    event_at = F.coalesce("created_at", "arrived_at")
    return read.select(
        "id",
        "text",
        F.col("reading.cleaned").alias("cleaned"),
        "source",
        "created_at",
        event_at.alias("event_at"),
        F.to_date(event_at).alias("event_date"),
        "lang",
        "user_id",
        F.col("reading.mentions").alias("mentions"),
        F.col("reading.hashtags").alias("hashtags"),
        "true_label",
        F.struct("stated_at", "arrived_at", "origin", "block", "line").alias("copy"),
        "raw",
        "rescued",
        _reason().alias("reason"),
    )


def _reason() -> Column:
    created = F.col("created_at")
    return (
        F.when(~F.col("is_record"), "not json")
        .when(F.col("id").isNull(), "no id")
        .when(F.col("reading.unreadable").isNotNull(), F.col("reading.unreadable"))
        .when(F.col("is_dated") & created.isNull(), "created_at unreadable")
        .when(created < F.lit("1970-01-01T00:00:00Z").cast("timestamp"), "created_at before 1970")
        .when(created > F.col("arrived_at") + F.expr(f"INTERVAL {MAX_AHEAD_S} SECONDS"), "created_at in the future")
    )


def _filled(value: Column) -> Column:
    return F.when(F.trim(value) != "", value)


def _reading_udf() -> Any:
    from pyspark.sql.functions import arrow_udf

    @arrow_udf("cleaned string, unreadable string, mentions array<string>, hashtags array<string>")  # pyright: ignore[reportCallIssue, reportArgumentType]
    def reading(texts: Iterator[pa.Array]) -> Iterator[pa.Array]:
        for array in texts:
            yield read_texts(array)

    return reading


def read_texts(texts: pa.Array) -> pa.Array:
    """Read N texts (null if the record has none): cleaned text, reason why it cannot be classified, mentions, hashtags."""
    from data.cleaning import clean, hashtags, mentions

    given = texts.to_pylist()
    present = ["" if text is None else text for text in given]
    cleaned = [clean(text) for text in present]
    reasons = [unreadable(text, MAX_TEXT_CHARS, cleaned=whole) for text, whole in zip(given, cleaned, strict=True)]
    columns = [
        pa.array(cleaned, pa.string()),
        pa.array(reasons, pa.string()),
        pa.array([mentions(text) for text in present], pa.list_(pa.string())),
        pa.array([hashtags(text) for text in present], pa.list_(pa.string())),
    ]
    return pa.StructArray.from_arrays(columns, ["cleaned", "unreadable", "mentions", "hashtags"])


def ranked(conformed: "DataFrame", before: "DataFrame") -> "DataFrame":
    """Rank the copies of each id, the winner first; the input of `winners` and `rejected`.

    Args:
        conformed: From `conform`.
        before: The rows of Silver with the same ids.
    """
    now = conformed.where(F.col("reason").isNull()).withColumn("known", F.lit(False))
    known = before.select(
        "*",
        F.lit(None).cast("string").alias("raw"),
        F.lit(None).cast("binary").alias("rescued"),
        F.lit(None).cast("string").alias("reason"),
        F.lit(True).alias("known"),
    )
    order = Window.partitionBy("id").orderBy(F.col("copy").desc(), F.col("known").desc())
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
    rows = conformed.where(F.col("reason").isNotNull()).unionByName(lost.drop("rank", "above", "content_above", "known"))
    return rows.select("reason", "id", "raw", "rescued", "copy", F.lit(datetime.now(UTC)).alias("rejected_at"))


_HELPER_COLUMNS = ("rank", "above", "content_above", "known", "raw", "rescued", "reason")
