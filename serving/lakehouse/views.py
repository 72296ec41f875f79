"""Views of Gold for analysts, each a plain function from Gold to a small table.

A row's score is its positive minus its negative probability; points are the mean score scaled to 0 (all negative) to 100 (all
positive), as in the warehouse. A row that the model failed on has no score, and a share (a pure retweet) is no new opinion: both
count only for volume. Buckets follow the session's time zone, which is UTC.
"""

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Literal, get_args

import pyspark.sql.functions as F
from pyspark.sql import Column, DataFrame

from data.labels import LABELS

Every = Literal["minute", "hour", "day"]

TRENDING_FROM = 5
"""Minimum number of messages in the last window for a trending hashtag; below that, one active user can double it."""

_SCORE = "positive - negative"


def sentiment_over(gold: DataFrame, every: Every) -> DataFrame:
    """Compute labels and points over time: bucket, negative, neutral, positive, messages, points. Empty buckets have no row."""
    return _opinions(gold).groupBy(F.date_trunc(every, "event_at").alias("bucket")).agg(*_counts()).orderBy("bucket")


def volume(gold: DataFrame, every: Every) -> DataFrame:
    """Count messages over time, and the shares among them: bucket, messages, shares. Empty buckets have no row."""
    counts = _messages(), F.count_if("is_share").alias("shares")
    return gold.groupBy(F.date_trunc(every, "event_at").alias("bucket")).agg(*counts).orderBy("bucket")


def by_language(gold: DataFrame) -> DataFrame:
    """Compute labels and points per language, most frequent first: lang (`und` if unknown), then as `sentiment_over`."""
    lang = F.coalesce("lang", F.lit("und")).alias("lang")
    return _opinions(gold).groupBy(lang).agg(*_counts()).orderBy(F.desc("messages"), "lang")


def top_mentions(gold: DataFrame, label: Literal["positive", "negative"], limit: int = 20) -> DataFrame:
    """Find the names mentioned in most messages of a label. A message counts once per name.

    Returns:
        mention, a column named after the label with its messages, messages (of any label), share (label / messages, 0 to 1),
        points (of all messages). Ordered by messages of the label, then by higher share, then by name.
    """
    mention = F.explode(F.array_distinct("mentions")).alias("mention")
    mentioned = _opinions(gold).select(mention, "label", "negative", "positive")
    table = mentioned.groupBy("mention").agg(_of(label), _messages(), _points())
    share = F.round(F.col(label) / F.col("messages"), 4).alias("share")
    found = table.where(F.col(label) > 0).select("mention", label, "messages", share, "points")
    return found.orderBy(F.desc(label), "messages", "mention").limit(limit)


def trending_hashtags(gold: DataFrame, *, window: timedelta, limit: int = 20) -> DataFrame:
    """Find the hashtags with the largest growth from one window to the next, and the change of their sentiment.

    With the newest event t and window w, the windows are (t - w, t] and (t - 2w, t - w]. A message counts once per hashtag.

        growth = (now + 1) / (before + 1)

    Adding one gives a new hashtag a finite growth and keeps it small for rare hashtags. Hashtags with fewer than `TRENDING_FROM`
    messages in the last window are left out.

    Returns:
        hashtag, now and before (messages per window), growth, points_now, points_before and swing (points_now minus
        points_before; both null without earlier messages). Ordered by growth, then by messages now, then by name.
    """
    newest = gold.agg(F.max("event_at")).scalar()
    begins, turns = newest - F.lit(2 * window), newest - F.lit(window)
    # The condition on the date makes Spark skip older days, as Gold is partitioned by date.
    recent = _opinions(gold).where((F.col("event_date") >= F.to_date(begins)) & (F.col("event_at") > begins))
    tagged = recent.select(
        F.explode(F.array_distinct("hashtags")).alias("hashtag"),
        (F.col("event_at") > turns).alias("late"),
        F.expr(_SCORE).alias("score"),
    )
    table = tagged.groupBy("hashtag").agg(
        F.count_if("late").alias("now"),
        F.count_if(~F.col("late")).alias("before"),
        _as_points(F.when(F.col("late"), F.col("score"))).alias("points_now"),
        _as_points(F.when(~F.col("late"), F.col("score"))).alias("points_before"),
    )
    found = table.where(F.col("now") >= TRENDING_FROM).select(
        "hashtag",
        "now",
        "before",
        F.round((F.col("now") + 1) / (F.col("before") + 1), 4).alias("growth"),
        "points_now",
        "points_before",
        F.round(F.col("points_now") - F.col("points_before"), 2).alias("swing"),
    )
    return found.orderBy(F.desc("growth"), F.desc("now"), "hashtag").limit(limit)


def most_sarcastic(gold: DataFrame, limit: int = 20) -> DataFrame:
    """Find the messages that are most probably sarcastic; none where the model predicts no sarcasm.

    Returns:
        event_at, source, sarcasm (probability, 0 to 1), label, text. The most probable first, then the newest.
    """
    found = _opinions(gold).where("sarcasm IS NOT NULL")
    columns = "event_at", "source", F.round("sarcasm", 4).alias("sarcasm"), "label", "text"
    return found.orderBy(F.desc("sarcasm"), F.desc("event_at"), "id").limit(limit).select(*columns)


VIEWS: dict[str, Callable[[DataFrame], DataFrame]] = {
    **{f"sentiment_per_{every}": partial(sentiment_over, every=every) for every in get_args(Every)},
    **{f"volume_per_{every}": partial(volume, every=every) for every in get_args(Every)},
    "languages": by_language,
    "positive_mentions": partial(top_mentions, label="positive"),
    "negative_mentions": partial(top_mentions, label="negative"),
    "most_sarcastic": most_sarcastic,
    "hashtags_last_15_minutes": partial(trending_hashtags, window=timedelta(minutes=15)),
    "hashtags_last_hour": partial(trending_hashtags, window=timedelta(hours=1)),
    "hashtags_last_day": partial(trending_hashtags, window=timedelta(days=1)),
}
"""Views by their name on the command line and in SQL."""


def _opinions(gold: DataFrame) -> DataFrame:
    return gold.where("label IS NOT NULL AND NOT coalesce(is_share, false)")


def _counts() -> list[Column]:
    return [*(_of(label) for label in LABELS), _messages(), _points()]


def _of(label: str) -> Column:
    return F.count_if(F.col("label") == label).alias(label)


def _messages() -> Column:
    return F.count("*").alias("messages")


def _points() -> Column:
    return _as_points(F.expr(_SCORE)).alias("points")


def _as_points(score: Column) -> Column:
    return F.round(50 + 50 * F.avg(score), 2)
