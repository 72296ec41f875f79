"""Gold: Silver's rows with the production bundle's answer, one row an id."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pyspark.sql import Window
from pyspark.sql import functions as F

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

FROM_SILVER = (
    "id",
    "text",
    "source",
    "created_at",
    "event_at",
    "event_date",
    "lang",
    "user_id",
    "mentions",
    "hashtags",
    "true_label",
    "copy",
)
SCORES = ("label", "confidence", "negative", "neutral", "positive")


def newest(changes: "DataFrame") -> "DataFrame":
    """Of Silver's changes the last state of each id, without the columns of the change feed."""
    order = Window.partitionBy("id").orderBy(F.col("copy").desc(), F.col("_commit_version").desc())
    kept = changes.where(F.col("_change_type").isin("insert", "update_postimage"))
    return kept.withColumn("rank", F.row_number().over(order)).where("rank = 1").select(*FROM_SILVER, "cleaned")


def judged(silver: "DataFrame", judge: Callable[..., Any], tasks: int) -> "DataFrame":
    """Rows of Gold from rows of Silver (or of Gold itself, whose texts are cleaned again).

    Args:
        silver: With `FROM_SILVER`, and the text in `cleaned`.
        judge: From `serving.lakehouse.judge`.
        tasks: How many run side by side.
    """
    answered = silver.repartition(tasks).withColumn("answer", judge(F.col("cleaned")))
    flat = answered.select(
        *FROM_SILVER,
        *(F.col(f"answer.{name}").alias(name) for name in (*SCORES, "model_version")),
        # A plan with Spark's own clock in it is never found in the cache, and the merge would judge everything again.
        F.lit(datetime.now(UTC)).alias("predicted_at"),
    )
    return flat.withColumn("answers", F.when(F.col("model_version").isNotNull(), F.create_map("model_version", as_answer())))


def as_answer() -> "Column":
    """The row's answer as an entry of `answers`."""
    return F.struct(*SCORES, "predicted_at")
