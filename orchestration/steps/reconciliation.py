"""Compare the predictions of the stream with those of Gold."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from data.errors import SettingsError
from orchestration.layout import Layout
from orchestration.progress import report
from orchestration.steps.lakehouse import root
from serving.lakehouse.reconcile import Reconciliation, read_gold, read_stream, reconcile
from serving.lakehouse.status import exists, open_table
from serving.warehouse.connect import connect, has_warehouse

SETTLED = timedelta(hours=2)
"""Newer events are not reconciled by default: Gold may be filled once an hour, and its run takes a while."""


@dataclass(frozen=True)
class Reconciled:
    """The comparison of two lists of predictions for a time range."""

    since: datetime
    until: datetime
    gold_version: int
    """Version of the Delta table that was read."""
    found: Reconciliation


def reconcile_predictions(layout: Layout, since: str = "", until: str = "") -> Reconciled | str:
    """Compare the warehouse's predictions, which the stream's workers wrote, with Gold.

    Args:
        layout: Paths of both.
        since: First event time, ISO 8601, UTC if it has no zone; empty: one day before `until`.
        until: End of the event times (exclusive); empty: `SETTLED` ago.

    Returns:
        The comparison, or the reason why there is nothing to compare.

    Raises:
        SettingsError: A time cannot be parsed, or the range is empty.
        WarehouseError: The warehouse is not reachable.
    """
    first, last = _time_range(since, until)
    if not has_warehouse(layout.var):
        return "There is no warehouse yet; `groundswell stream up` creates it."
    if not exists(root(layout)):
        return "There is no lakehouse yet; `groundswell lakehouse run` creates it."
    with connect(layout.var) as client:
        report("reading the warehouse")
        stream = read_stream(client, first, last)
    report("reading Gold")
    opened = open_table(root(layout), "gold")
    return Reconciled(first, last, opened.version(), reconcile(stream, read_gold(opened, first, last)))


def _time_range(since: str, until: str) -> tuple[datetime, datetime]:
    last = _time(until) if until else datetime.now(UTC) - SETTLED
    first = _time(since) if since else last - timedelta(days=1)
    if first >= last:
        raise SettingsError("The time range is empty.", found=f"since {first}, until {last}", expected="since < until")
    return first, last


def _time(text: str) -> datetime:
    try:
        time = datetime.fromisoformat(text)
    except ValueError as error:
        raise SettingsError("Invalid time.", found=text, expected="ISO 8601, such as 2026-03-01T12:00:00") from error
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
