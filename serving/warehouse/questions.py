"""Questions asked of the warehouse, one file each in `questions/`; none counts a message twice."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from data.errors import WarehouseError
from data.settings import nearest
from serving.warehouse.connect import first_line

FOLDER = Path(__file__).parent / "questions"
QUESTIONS = sorted(path.stem for path in FOLDER.glob("*.sql"))


def ask(
    client: Any,
    question: str,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    source: str = "",
    limit: int = 100,
) -> list[dict[str, Any]]:
    """The rows that answer a question. Blocks until they are there.

    Args:
        client: From `connect`.
        question: One of `QUESTIONS`.
        since: From this event time on; none: the last hour.
        until: Before this event time; none: no end.
        source: Only of this source; empty: of all.
        limit: At most so many rows, for questions that list.

    Raises:
        WarehouseError: There is no such question, or ClickHouse refuses.
    """
    if question not in QUESTIONS:
        close = nearest(question, QUESTIONS)
        raise WarehouseError(
            f"There is no question {question!r}.",
            expected=f"one of {', '.join(QUESTIONS)}",
            remedy=f"Did you mean {close}?" if close else None,
        )
    values = {
        "since": since or datetime.now(UTC) - timedelta(hours=1),
        "until": until or datetime(2106, 1, 1, tzinfo=UTC),
        "source": source,
        "limit": limit,
    }
    sql = (FOLDER / f"{question}.sql").read_text(encoding="utf-8")
    try:
        return list(client.query(sql, parameters=values).named_results())
    except Exception as error:  # clickhouse-connect and chDB raise unrelated classes
        raise WarehouseError(f"The warehouse does not answer {question!r}.", found=first_line(error)) from error
