"""What changes for the rows of Gold when another version judges them."""

from dataclasses import dataclass
from typing import Any

import pyspark.sql.functions as F
from pyspark.sql import DataFrame, Row

from data.errors import LakehouseError
from data.labels import LABELS
from data.settings import nearest


@dataclass(frozen=True)
class Comparison:
    """Two versions, by the rows that both judged."""

    a: str
    b: str
    both: int
    """Rows judged by both; what follows is of these."""
    only_a: int
    only_b: int
    changed: int
    """Rows whose label is another."""
    matrix: tuple[tuple[int, ...], ...]
    """Rows by label of `a`, then by label of `b`, in `LABELS` order; shape (3, 3)."""
    score_a: float | None
    """Mean of positive less negative, -1 to 1; none where no row was judged by both."""
    score_b: float | None
    largest: tuple[dict[str, Any], ...]
    """The rows of `compare` that moved most, the first most; those that did not move are left out."""


def compare(gold: DataFrame, a: str, b: str) -> DataFrame:
    """The rows that both versions judged.

    Returns:
        id, event_at, text, label_a, label_b, confidence_a, confidence_b, moved (how far the score went, 0 to 2).

    Raises:
        LakehouseError: Gold has no answer of one of them. Looking for one blocks.
    """
    _require(gold, a, b)
    both = _side_by_side(gold, a, b).where("a.label IS NOT NULL AND b.label IS NOT NULL")
    names = [F.col(f"{side}.{what}").alias(f"{what}_{side}") for what in ("label", "confidence") for side in ("a", "b")]
    # Probabilities are kept to 4 decimals; what lies beyond is the difference's own.
    return both.select("id", "event_at", "text", *names, F.round(F.abs(F.col("score_b") - F.col("score_a")), 4).alias("moved"))


def summarize(gold: DataFrame, a: str, b: str, *, largest: int = 10) -> Comparison:
    """Count what changed from `a` to `b`. Blocks for two passes over Gold; rows that moved equally far come by id.

    Raises:
        LakehouseError: Gold has no answer of one of them.
    """
    compared = compare(gold, a, b)
    groups = (
        _side_by_side(gold, a, b)
        .where("a.label IS NOT NULL OR b.label IS NOT NULL")
        .groupBy(F.col("a.label").alias("a"), F.col("b.label").alias("b"))
        .agg(F.count("*").alias("rows"), F.sum("score_a").alias("score_a"), F.sum("score_b").alias("score_b"))
        .collect()
    )
    both = [group for group in groups if group.a is not None and group.b is not None]
    cells = {(group.a, group.b): group["rows"] for group in both}
    rows = sum(cells.values())
    moves = compared.where("moved > 0").orderBy(F.desc("moved"), "id").limit(largest).collect()
    return Comparison(
        a=a,
        b=b,
        both=rows,
        only_a=sum(group["rows"] for group in groups if group.b is None),
        only_b=sum(group["rows"] for group in groups if group.a is None),
        changed=sum(count for (was, now), count in cells.items() if was != now),
        matrix=tuple(tuple(cells.get((was, now), 0) for now in LABELS) for was in LABELS),
        score_a=_mean(both, "score_a", rows),
        score_b=_mean(both, "score_b", rows),
        largest=tuple(move.asDict() for move in moves),
    )


def _side_by_side(gold: DataFrame, a: str, b: str) -> DataFrame:
    """Each row with the answers of both versions; null where one never judged it."""
    answers = gold.select(
        "id",
        "event_at",
        "text",
        F.try_element_at("answers", F.lit(a)).alias("a"),
        F.try_element_at("answers", F.lit(b)).alias("b"),
    )
    return answers.selectExpr("*", "a.positive - a.negative AS score_a", "b.positive - b.negative AS score_b")


def _mean(groups: list[Row], name: str, rows: int) -> float | None:
    return round(sum(group[name] for group in groups) / rows, 6) if rows else None


def _require(gold: DataFrame, *versions: str) -> None:
    for version in versions:
        # One row is enough to know a version; all of Gold is read only to name what there is instead.
        if gold.where(F.map_contains_key("answers", version)).isEmpty():
            known = _versions(gold)
            close = nearest(version, known)
            raise LakehouseError(
                f"Gold has no answer of version {version!r}.",
                found=f"answers of {', '.join(known)}" if known else "no answers at all",
                remedy=f"Did you mean {close}?" if close else None,
            )


def _versions(gold: DataFrame) -> list[str]:
    return sorted(row.version for row in gold.select(F.explode(F.map_keys("answers")).alias("version")).distinct().collect())
