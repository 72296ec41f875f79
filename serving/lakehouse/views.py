"""What analysts ask of Gold, each question a plain function from Gold to a small table.

A row's score is its positive less its negative probability; points are the mean score from 0 (all negative) to 100 (all
positive), as the warehouse counts them. A row that the model failed on has neither and counts only for volume. Buckets begin by
the session's time zone, which is UTC.
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
"""Messages in the last window before a hashtag is said to trend: below that, one person's evening doubles it."""

_SCORE = "positive - negative"


def sentiment_over(gold: DataFrame, every: Every) -> DataFrame:
    """Labels and points over time: bucket, negative, neutral, positive, messages, points; empty buckets have no row."""
    return _judged(gold).groupBy(F.date_trunc(every, "event_at").alias("bucket")).agg(*_counts()).orderBy("bucket")


def volume(gold: DataFrame, every: Every) -> DataFrame:
    """Messages over time: bucket, messages; empty buckets have no row."""
    return gold.groupBy(F.date_trunc(every, "event_at").alias("bucket")).agg(_messages()).orderBy("bucket")


def by_language(gold: DataFrame) -> DataFrame:
    """Labels and points of each language, the commonest first: lang (`und` where nobody said), then as `sentiment_over`."""
    lang = F.coalesce("lang", F.lit("und")).alias("lang")
    return _judged(gold).groupBy(lang).agg(*_counts()).orderBy(F.desc("messages"), "lang")


def top_mentions(gold: DataFrame, label: Literal["positive", "negative"], limit: int = 20) -> DataFrame:
    """Who is mentioned in most messages of a label; a message counts once, however often it mentions somebody.

    Returns:
        mention, a column of the label's name with its messages, messages (of any label), share (of those, 0 to 1), points (of all
        messages). Most of the label first, then the higher share, then by name.
    """
    mention = F.explode(F.array_distinct("mentions")).alias("mention")
    mentioned = _judged(gold).select(mention, "label", "negative", "positive")
    table = mentioned.groupBy("mention").agg(_of(label), _messages(), _points())
    share = F.round(F.col(label) / F.col("messages"), 4).alias("share")
    found = table.where(F.col(label) > 0).select("mention", label, "messages", share, "points")
    return found.orderBy(F.desc(label), "messages", "mention").limit(limit)


def trending_hashtags(gold: DataFrame, *, window: timedelta, limit: int = 20) -> DataFrame:
    """Hashtags that grew most from one window to the next, and how their sentiment swung.

    The last window ends with the newest event, the one before where the last begins: with newest event t and window w they are
    (t - w, t] and (t - 2w, t - w]. A message counts once for a hashtag.

        growth = (now + 1) / (before + 1)

    The ones let a new hashtag have a growth, and let it be small while the hashtag is. Those with fewer than `TRENDING_FROM`
    messages in the last window are left out.

    Returns:
        hashtag, now and before (messages of the windows), growth, points_now, points_before and swing (points now less before;
        both null where there was nothing before). Most growth first, then most messages now, then by name.
    """
    newest = gold.agg(F.max("event_at")).scalar()
    begins, turns = newest - F.lit(2 * window), newest - F.lit(window)
    # The date is said too, as Gold is partitioned by it: older days are not read.
    recent = _judged(gold).where((F.col("event_date") >= F.to_date(begins)) & (F.col("event_at") > begins))
    told = recent.select(
        F.explode(F.array_distinct("hashtags")).alias("hashtag"),
        (F.col("event_at") > turns).alias("late"),
        F.expr(_SCORE).alias("score"),
    )
    table = told.groupBy("hashtag").agg(
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


VIEWS: dict[str, Callable[[DataFrame], DataFrame]] = {
    **{f"sentiment_per_{every}": partial(sentiment_over, every=every) for every in get_args(Every)},
    **{f"volume_per_{every}": partial(volume, every=every) for every in get_args(Every)},
    "languages": by_language,
    "positive_mentions": partial(top_mentions, label="positive"),
    "negative_mentions": partial(top_mentions, label="negative"),
    "hashtags_last_15_minutes": partial(trending_hashtags, window=timedelta(minutes=15)),
    "hashtags_last_hour": partial(trending_hashtags, window=timedelta(hours=1)),
    "hashtags_last_day": partial(trending_hashtags, window=timedelta(days=1)),
}
"""By the name that the command line and SQL know them by."""


def register_views(gold: DataFrame) -> list[str]:
    """Make each of `VIEWS` a temporary view `gold_<name>` of Gold's session, computed when it is asked; gives their names."""
    for name, view in VIEWS.items():
        view(gold).createOrReplaceTempView(f"gold_{name}")
    return [f"gold_{name}" for name in VIEWS]


def _judged(gold: DataFrame) -> DataFrame:
    return gold.where("label IS NOT NULL")


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
