"""Gold: Silver's rows with the prediction of the production bundle, one row per message."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pyspark.sql import Window
from pyspark.sql import functions as F

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

FROM_SILVER = (
    "id",
    "first_id",
    "replaces",
    "is_share",
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
SCORES = ("label", "confidence", "negative", "neutral", "positive", "sarcasm")


def newest(changes: "DataFrame") -> "DataFrame":
    """Keep the last state of each message from Silver's changes, without the columns of the change feed."""
    order = Window.partitionBy("first_id").orderBy(F.col("copy").desc(), F.col("_commit_version").desc())
    kept = changes.where(F.col("_change_type").isin("insert", "update_postimage"))
    return kept.withColumn("rank", F.row_number().over(order)).where("rank = 1").select(*FROM_SILVER, "cleaned")


def classified(silver: "DataFrame", classify: Callable[..., Any], tasks: int) -> "DataFrame":
    """Classify rows of Silver (or of Gold, whose texts are then cleaned again) and return rows of Gold.

    Args:
        silver: With `FROM_SILVER`, and the text in `cleaned`.
        classify: A column function of text and source, one of `serving.lakehouse.classify`.
        tasks: Number of parallel tasks.
    """
    rows = silver.repartition(tasks).withColumn("prediction", classify(F.col("cleaned"), F.col("source")))
    flat = rows.select(
        *FROM_SILVER,
        *(F.col(f"prediction.{name}").alias(name) for name in (*SCORES, "model_version")),
        # A plan with Spark's own clock is never found in the cache, and the merge would classify every row a second time.
        F.lit(datetime.now(UTC)).alias("predicted_at"),
    )
    return flat.withColumn(
        "answers", F.when(F.col("model_version").isNotNull(), F.create_map("model_version", prediction_struct()))
    )


def prediction_struct() -> "Column":
    """The row's prediction as an entry of the column `answers`."""
    return F.struct(*SCORES, "predicted_at")
