"""What the queries of the warehouse and of Gold have in common: their filters, default times and buckets."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, TypedDict

Every = Literal["second", "minute", "hour"]
STEP_S: dict[Every, int] = {"second": 1, "minute": 60, "hour": 3600}
NO_END = datetime(2106, 1, 1, tzinfo=UTC)
"""End of a query without one."""


class Filters(TypedDict, total=False):
    """Arguments of a query, each optional."""

    since: datetime | None
    """Begin of the event time (latency, lag: of the arrival); None: one hour ago. Times without a zone are UTC. A query with
    buckets begins with the whole bucket that contains it."""
    until: datetime | None
    """End of that time, exclusive; None: no end. A query with buckets ends with the bucket that contains it."""
    source: str
    """Only this source; empty: all."""
    label: str
    """Only this label, for messages; empty: all."""
    domain: str
    """Only those on which the head of this domain decided, or `general`, for messages; empty: all. Gold does not store the head:
    there it is the messages of the sources of that domain."""
    sarcastic: bool
    """Only probably sarcastic ones, for messages."""
    by: Literal["", "source"]
    """For trend: "source" for one line for each of the busiest sources, empty for one line of all together."""
    limit: int
    """Largest number of rows, for sources, messages, top_negative, versions, latency, lag and alerts; 100 if it is not given."""
    every: Every | None
    """Buckets of distribution, trend, volume, tiers and sources; None: those that `rollup_of` chooses."""
    id: str
    """Only this alert, for alerts; empty: all. Gold has no alerts."""


def time_span(filters: Filters, now: datetime) -> tuple[datetime, datetime]:
    """Return begin and end in UTC, with the defaults of `Filters`."""
    return utc(filters.get("since") or now - timedelta(hours=1)), utc(filters.get("until") or NO_END)


def plain_values(filters: Filters) -> dict[str, Any]:
    """Return the parameters that a query takes as they are given, with their defaults."""
    plain = {"source": "", "label": "", "domain": "", "sarcastic": False, "by": "", "limit": 100, "id": ""}
    return {name: filters.get(name, default) for name, default in plain.items()}


def half_life_s(since: datetime, until: datetime) -> float:
    """Return the half-life of a negative message's weight, in seconds: a quarter of the time span, at least 30 s."""
    return max(30.0, round((until - since).total_seconds() / 4))


def rollup_of(since: datetime, until: datetime, now: datetime) -> Every:
    """Return the finest rollup that still holds the time (seconds: 7 days, minutes: 90 days) in at most some thousand buckets."""
    span, age = until - since, now - since
    if span <= timedelta(minutes=10) and age < timedelta(days=7):
        return "second"
    return "minute" if span <= timedelta(days=2) and age < timedelta(days=90) else "hour"


def rows_in_utc(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return rows with their times in UTC."""
    return [{name: utc(value) if isinstance(value, datetime) else value for name, value in row.items()} for row in rows]


def utc(time: datetime) -> datetime:
    """Return a time in UTC; one without a zone is UTC."""
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
