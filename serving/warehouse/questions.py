"""Queries of the warehouse, one file each in `questions/`; none counts a message twice."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from data.errors import WarehouseError
from data.names import unknown_name
from serving.warehouse.connect import first_line

FOLDER = Path(__file__).parent / "questions"
QUESTIONS = sorted(path.stem for path in FOLDER.glob("*.sql"))
Every = Literal["second", "minute", "hour"]
_STEP_S: dict[Every, int] = {"second": 1, "minute": 60, "hour": 3600}
_NO_END = datetime(2106, 1, 1, tzinfo=UTC)


def ask(
    client: Any,
    question: str,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    source: str = "",
    label: str = "",
    by: Literal["", "source"] = "",
    limit: int = 100,
    every: Every | None = None,
    id: str = "",
) -> list[dict[str, Any]]:
    """Return the rows of a query. Blocks until the query ends.

    Args:
        client: From `connect`.
        question: One of `QUESTIONS`.
        since: Begin of the event time (for latency and lag: of the arrival); None: one hour ago. A query of a rollup begins with
            the whole bucket that contains it. Times without a zone are UTC.
        until: End of that time, exclusive; None: no end. A query of a rollup ends with the bucket that contains it.
        source: Only this source; empty: all.
        label: Only this label, for messages; empty: all.
        by: For trend: "source" for one line for each of the busiest sources, empty for one line of all together.
        limit: Largest number of rows, for sources, messages, top_negative, versions, latency, lag and alerts.
        every: The rollup that distribution, trend, volume and sources read; None: the one that `rollup_of` chooses.
        id: Only this alert, for alerts; empty: all.

    Returns:
        A dict for each row; times are in UTC.

    Raises:
        WarehouseError: There is no such query, or ClickHouse refuses.
    """
    if question not in QUESTIONS:
        raise unknown_name(WarehouseError, "question", question, QUESTIONS)
    now = datetime.now(UTC)
    since, until = _utc(since or now - timedelta(hours=1)), _utc(until or _NO_END)
    every = every or rollup_of(since, min(until, now), now)
    step = _STEP_S[every]
    values = {
        "since": since,
        "first": datetime.fromtimestamp(since.timestamp() // step * step, UTC),
        "until": until,
        "source": source,
        "label": label,
        "by": by,
        "limit": limit,
        "id": id,
        "normal_s": max(60, step),
        "rollup": f"rollup_{every}",
        "half_life_s": half_life_s(since, min(until, now)),
    }
    sql = (FOLDER / f"{question}.sql").read_text(encoding="utf-8")
    try:
        return [_in_utc(row) for row in client.query(sql, parameters=values).named_results()]
    except Exception as error:  # clickhouse-connect and chDB raise unrelated classes
        raise WarehouseError(f"The query {question!r} failed.", found=first_line(error)) from error


def half_life_s(since: datetime, until: datetime) -> float:
    """Return the half-life of a negative message's weight, in seconds: a quarter of the time span, at least 30 s."""
    return max(30.0, round((until - since).total_seconds() / 4))


def rollup_of(since: datetime, until: datetime, now: datetime) -> Every:
    """Return the finest rollup that still holds the time (seconds: 7 days, minutes: 90 days) in at most some thousand buckets."""
    span, age = until - since, now - since
    if span <= timedelta(minutes=10) and age < timedelta(days=7):
        return "second"
    return "minute" if span <= timedelta(days=2) and age < timedelta(days=90) else "hour"


def _in_utc(row: dict[str, Any]) -> dict[str, Any]:
    return {name: _utc(value) if isinstance(value, datetime) else value for name, value in row.items()}


def _utc(time: datetime) -> datetime:
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
