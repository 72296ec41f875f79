"""Queries of the warehouse, one file each in `questions/`; none counts a message twice."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Unpack

from data.errors import WarehouseError
from data.names import unknown_name
from serving.questions import STEP_S, Filters, half_life_s, plain_values, rollup_of, rows_in_utc, time_span
from serving.warehouse.connect import first_line

FOLDER = Path(__file__).parent / "questions"
QUESTIONS = sorted(path.stem for path in FOLDER.glob("*.sql"))


def ask(client: Any, question: str, **filters: Unpack[Filters]) -> list[dict[str, Any]]:
    """Return the rows of a query. Blocks until the query ends.

    Args:
        client: From `connect`.
        question: One of `QUESTIONS`.
        filters: See `Filters`.

    Returns:
        A dict for each row; times are in UTC.

    Raises:
        WarehouseError: There is no such query, or ClickHouse refuses.
    """
    if question not in QUESTIONS:
        raise unknown_name(WarehouseError, "question", question, QUESTIONS)
    now = datetime.now(UTC)
    since, until = time_span(filters, now)
    every = filters.get("every") or rollup_of(since, min(until, now), now)
    step = STEP_S[every]
    values = plain_values(filters) | {
        "since": since,
        "first": datetime.fromtimestamp(since.timestamp() // step * step, UTC),
        "until": until,
        "step_s": step,
        "normal_s": max(60, step),
        "rollup": f"rollup_{every}",
        "half_life_s": half_life_s(since, min(until, now)),
    }
    sql = (FOLDER / f"{question}.sql").read_text(encoding="utf-8")
    try:
        return rows_in_utc(client.query(sql, parameters=values).named_results())
    except Exception as error:  # clickhouse-connect and chDB raise unrelated classes
        raise WarehouseError(f"The query {question!r} failed.", found=first_line(error)) from error
