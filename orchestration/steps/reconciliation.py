"""Compare the predictions of the stream with those of Gold."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from data.errors import SettingsError
from orchestration.layout import Layout
from orchestration.progress import report
from serving.lakehouse.reconcile import Reconciliation, reconcile
from serving.lakehouse.status import open_table
from serving.settings import WarehouseSettings
from serving.warehouse.connect import connect, server_file

if TYPE_CHECKING:
    pass

from orchestration.steps.lakehouse import lakehouse_exists, query_gold, root

SETTLED = timedelta(hours=2)
"""Newer events are not reconciled by default: Gold may be filled once an hour, and its run takes a while."""
_STREAM = """
SELECT id, event_at, lower(hex(MD5(text))) AS text_md5, toString(label) AS label, toFloat64(score) AS score,
       toString(model_version) AS model_version
FROM predictions FINAL
WHERE event_at >= {since:DateTime64(3, 'UTC')} AND event_at < {until:DateTime64(3, 'UTC')}
  AND produced_at >= {since:DateTime64(3, 'UTC')} - INTERVAL 1 DAY
  AND NOT forgotten
-- The copy of an id that would win in Silver.
ORDER BY id, created_at DESC NULLS LAST, produced_at DESC, topic DESC, partition DESC, offset DESC
LIMIT 1 BY id
SETTINGS use_skip_indexes_if_final_exact_mode = 0
"""
_COLUMNS = ["id", "event_at", "text", "label", "positive", "negative", "model_version", "answers"]
_GOLD = "SELECT * EXCLUDE (text, positive, negative), md5(text) AS text_md5, positive - negative AS score FROM gold"


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
    import pyarrow as pa
    import pyarrow.compute as pc

    first, last = _time_range(since, until)
    if not _has_warehouse(layout):
        return "There is no warehouse yet; `groundswell stream up` creates it."
    if not lakehouse_exists(layout):
        return "There is no lakehouse yet; `groundswell lakehouse run` creates it."
    with connect(layout.var) as client:
        report("reading the warehouse")
        result = client.query(_STREAM, parameters={"since": first, "until": last})
        text, number, time = pa.string(), pa.float64(), pa.timestamp("ms", "UTC")
        types = {"id": text, "event_at": time, "text_md5": text, "label": text, "score": number, "model_version": text}
        columns = result.result_columns or [[]] * len(types)
        stream = pa.table([pa.array(c, t) for c, t in zip(columns, types.values(), strict=True)], names=list(types))
    report("reading Gold")
    opened = open_table(root(layout), "gold")
    in_range = (
        # Gold is partitioned by date, so other days are not read.
        (pc.field("event_date") >= first.date())
        & (pc.field("event_date") <= last.date())
        & (pc.field("event_at") >= first)
        & (pc.field("event_at") < last)
    )
    read = opened.to_pyarrow_dataset().scanner(filter=in_range, columns=_COLUMNS)
    gold = query_gold(read.to_reader(), _GOLD)
    return Reconciled(first, last, opened.version(), reconcile(stream, gold))


def _has_warehouse(layout: Layout) -> bool:
    return WarehouseSettings.load().url is not None or server_file(layout.var).exists() or layout.warehouse.is_dir()


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
