"""Follows the notices in the records, and leaves out what is forgotten, in the micro-batches of Silver and Gold."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from pyspark.sql import functions as F

from data.forgetting import Request, request_of
from data.tweets import Notice
from serving.lakehouse import forget, forgotten

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

WHO = ("id", "first_id", "replaces", "user_id", "event_at")
"""The columns by which a message is recognized as forgotten."""


def follow(root: str, conformed: "DataFrame", on_requests: Callable[[Sequence[Request]], None]) -> None:
    """Forget what the notices of a micro-batch are about. Blocks; a repeated call changes nothing.

    Places are only noted: `forget.scrub` deletes them when the messages of the same micro-batch are in Silver.

    Args:
        root: Of the tables.
        conformed: From `silver.conform`.
        on_requests: Called before the tables change, so that the other stores follow.
    """
    rows = conformed.where("notice IS NOT NULL").select("id", "notice.*", "copy.arrived_at").collect()
    notices = [(Notice(row.kind, row.id, row.author, row.up_to_id, _utc(row.at)), _utc(row.arrived_at)) for row in rows]
    found = [request_of(notice, arrived_at or datetime.now(UTC)) for notice, arrived_at in notices]
    requests = [request for request in found if request is not None]
    if requests:
        on_requests(requests)
        forget.forget_messages(root, requests, bronze=False)
    places = [one for one, _ in notices if one.kind == "scrub_geo" and one.author]
    forgotten.remember(root, [forget.places_of(notice.author or "", notice.up_to_id) for notice in places])


def hide(conformed: "DataFrame", keys: Sequence[dict[str, Any]]) -> "DataFrame":
    """Reject the messages of Silver's micro-batch that are forgotten, without id and content; of a notice only the kind stays."""
    reason = covered_by(keys)(*WHO)
    notice = F.col("notice").isNotNull()
    marked = conformed.withColumn("hidden", F.when(~notice, reason))
    gone = notice | F.col("hidden").isNotNull()
    empty = {name: F.when(~gone, F.col(name)) for name in ("id", "raw", "rescued")}
    return marked.withColumns({"reason": F.coalesce("hidden", "reason"), **empty}).drop("hidden")


def left(rows: "DataFrame", keys: Sequence[dict[str, Any]]) -> "DataFrame":
    """Select the rows that are not forgotten."""
    return rows.where(covered_by(keys)(*WHO).isNull()) if keys else rows


def forget_late(root: str, rows: "DataFrame", before: Sequence[dict[str, Any]]) -> None:
    """Forget rows of a micro-batch whose keys were added after `before` was read: they may just have been written."""
    known = {(row["kind"], row["key"]) for row in before}
    new = [row for row in forgotten.read_keys(root) if (row["kind"], row["key"]) not in known]
    if not new:
        return
    reason = covered_by(new)(*WHO)
    late = rows.where(reason.isNotNull()).select("id", reason.alias("reason")).collect()
    requests = [Request("message", row.id, row.reason.removeprefix(forget.REASON)) for row in late if row.id is not None]
    forget.forget_messages(root, requests, bronze=False)


def covered_by(keys: Iterable[dict[str, Any]]) -> Callable[..., Any]:
    """Return a column function from `WHO` to the reason why a message is forgotten; null where it is not."""
    from pyspark.sql.functions import arrow_udf

    messages = {row["key"]: row["reason"] for row in keys if row["kind"] == "message"}
    authors = {row["key"]: (row["reason"], row["until"]) for row in keys if row["kind"] == "author"}

    @arrow_udf("string")  # pyright: ignore[reportCallIssue, reportArgumentType]
    def covered(columns: Iterator[tuple[pa.Array, ...]]) -> Iterator[pa.Array]:
        from data.forgetting import reason_to_forget

        for arrays in columns:
            rows = zip(*(array.to_pylist() for array in arrays), strict=True)
            found = [
                reason_to_forget(messages, authors, (one, first, *(more or ())), who, at) for one, first, more, who, at in rows
            ]
            yield pa.array([forget.REASON + reason if reason else None for reason in found], pa.string())

    return covered


def _utc(time: datetime | None) -> datetime | None:
    return None if time is None else time.astimezone(UTC)
