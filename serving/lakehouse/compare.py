"""Compare the predictions of two model versions on the rows of Gold."""

from dataclasses import dataclass
from typing import Any

import pyspark.sql.functions as F
from pyspark.sql import DataFrame, Row

from data.errors import LakehouseError
from data.labels import LABELS
from data.names import did_you_mean


@dataclass(frozen=True)
class Comparison:
    """Two model versions, compared on the rows that both classified."""

    a: str
    b: str
    both: int
    """Rows classified by both. The fields below, except `only_a` and `only_b`, refer to these."""
    only_a: int
    only_b: int
    changed: int
    """Rows whose label differs."""
    matrix: tuple[tuple[int, ...], ...]
    """Rows by label of `a`, then by label of `b`, in `LABELS` order; shape (3, 3)."""
    score_a: float | None
    """Mean of positive minus negative probability, -1 to 1; None if no row was classified by both."""
    score_b: float | None
    largest: tuple[dict[str, Any], ...]
    """The rows of `compare` with the largest change of score, largest first; rows without a change are left out."""


def compare(gold: DataFrame, a: str, b: str) -> DataFrame:
    """Select the rows that both versions classified.

    Returns:
        id, event_at, text, label_a, label_b, confidence_a, confidence_b, moved (absolute change of the score, 0 to 2).

    Raises:
        LakehouseError: Gold has no prediction of one of the versions. The check blocks.
    """
    _require(gold, a, b)
    both = _side_by_side(gold, a, b).where("a.label IS NOT NULL AND b.label IS NOT NULL")
    names = [F.col(f"{side}.{what}").alias(f"{what}_{side}") for what in ("label", "confidence") for side in ("a", "b")]
    # Probabilities have 4 decimals; further digits come from the subtraction.
    return both.select("id", "event_at", "text", *names, F.round(F.abs(F.col("score_b") - F.col("score_a")), 4).alias("moved"))


def summarize(gold: DataFrame, a: str, b: str, *, largest: int = 10) -> Comparison:
    """Count what changed from `a` to `b`. Blocks for two passes over Gold. Rows with the same change are ordered by id.

    Raises:
        LakehouseError: Gold has no prediction of one of the versions.
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
    """Put the predictions of both versions next to each other; null where a version did not classify the row."""
    predictions = gold.select(
        "id",
        "event_at",
        "text",
        F.try_element_at("answers", F.lit(a)).alias("a"),
        F.try_element_at("answers", F.lit(b)).alias("b"),
    )
    return predictions.selectExpr("*", "a.positive - a.negative AS score_a", "b.positive - b.negative AS score_b")


def _mean(groups: list[Row], name: str, rows: int) -> float | None:
    return round(sum(group[name] for group in groups) / rows, 6) if rows else None


def _require(gold: DataFrame, *versions: str) -> None:
    for version in versions:
        # One row proves that a version is there; all of Gold is read only to list the known versions in the error.
        if gold.where(F.map_contains_key("answers", version)).isEmpty():
            known = _versions(gold)
            raise LakehouseError(
                f"Gold has no predictions of version {version!r}.",
                found=f"predictions of {', '.join(known)}" if known else "no predictions at all",
                remedy=did_you_mean(version, known),
            )


def _versions(gold: DataFrame) -> list[str]:
    return sorted(row.version for row in gold.select(F.explode(F.map_keys("answers")).alias("version")).distinct().collect())
