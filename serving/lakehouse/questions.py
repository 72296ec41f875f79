"""The dashboard's questions, asked of Gold: deltalake says which files may hold the rows, DuckDB reads them.

One file a question in `questions/`, in the words of `serving/warehouse/questions` and with the same columns. Each sees the newest
version of Gold whole, and never half a commit.
"""

import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from data.errors import WarehouseError
from data.settings import nearest
from serving.lakehouse.paths import for_deltalake, storage_options, table
from serving.settings import WarehouseSettings
from serving.warehouse.connect import first_line
from serving.warehouse.questions import Every, half_life_s, rollup_of

if TYPE_CHECKING:
    from deltalake import DeltaTable

FOLDER = Path(__file__).parent / "questions"
_WAREHOUSE_ONLY = ("alerts", "normal")
"""The lakehouse raises no alerts: these questions have no rows."""
QUESTIONS = sorted([*(path.stem for path in FOLDER.glob("*.sql")), *_WAREHOUSE_ONLY])
"""What can be asked."""
ANEW_S = 60.0
"""How long a table that was opened is only brought up to date. One that was deleted and built anew counts its versions from the
beginning, and can be told from the old one only by opening it."""
_STEP_S: dict[Every, int] = {"second": 1, "minute": 60, "hour": 3600}
_DUCKDB = {
    "threads": 1,  # beside the model's; what is read is decoded by pyarrow's threads
    "memory_limit": "512MB",
    "temp_directory": "",
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
}
_NO_END = datetime(2106, 1, 1, tzinfo=UTC)


class Gold:
    """Gold, opened; for one thread at a time."""

    def __init__(self, root: str) -> None:
        """Open it when the first question comes.

        Args:
            root: The folder or s3a:// URI that holds the tables.
        """
        self._place = table(root, "gold")
        self._timeout_s = WarehouseSettings.load().timeout_s
        self._duckdb: Any = None
        self._table: DeltaTable | None = None
        self._opened_at = 0.0

    def rows(self, sql: str, values: dict[str, Any], files: str) -> list[dict[str, Any]]:
        """What a statement gives, of the newest version.

        Args:
            sql: Reads from `gold`.
            values: Its named parameters, and perhaps others.
            files: What is certain of the rows, in the words of deltalake's `file_pruning_predicate`; other files are not read.
        """
        import duckdb

        self._duckdb = self._duckdb or duckdb.connect(config=_DUCKDB)
        gold = self._newest().to_pyarrow_dataset(file_pruning_predicate=files)
        (statement,) = self._duckdb.extract_statements(sql)
        given = {name: values[name] for name in statement.named_parameters}
        self._duckdb.register("gold", gold)
        late = threading.Timer(self._timeout_s, self._duckdb.interrupt)
        late.daemon = True
        late.start()
        try:
            found = self._duckdb.execute(statement, given)
            names = [column[0] for column in found.description]
            return [dict(zip(names, row, strict=True)) for row in found.fetchall()]
        except duckdb.InterruptException as error:
            raise TimeoutError(f"it took longer than {self._timeout_s:g} s") from error
        finally:
            late.cancel()
            self._duckdb.unregister("gold")

    def _newest(self) -> "DeltaTable":
        from deltalake import DeltaTable
        from deltalake.exceptions import TableNotFoundError

        if self._table is not None and time.monotonic() - self._opened_at < ANEW_S:
            self._table.update_incremental()
            return self._table
        patience = {"connect_timeout": "3s", "timeout": f"{self._timeout_s:g}s", "retry_timeout": f"{self._timeout_s:g}s"}
        options = storage_options(self._place)
        try:
            self._table = DeltaTable(for_deltalake(self._place), storage_options={**options, **patience} if options else None)
        except TableNotFoundError as error:
            raise WarehouseError(
                f"There is no Gold at {self._place}.",
                expected="a Delta table that `groundswell lakehouse` has written",
                remedy="groundswell lakehouse run --once, or name another place with GROUNDSWELL_LAKEHOUSE__ROOT.",
            ) from error
        self._opened_at = time.monotonic()
        return self._table


def ask(
    gold: Gold | str,
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
    """The rows that answer a question, as `serving.warehouse.questions.ask` gives them. Blocks until they are there.

    Args:
        gold: Where to look, or the root of the lakehouse, which is then opened for this question alone.
        question: One of `QUESTIONS`.
        since: From this event time on, for latency from this arrival on; none: the last hour. Questions in buckets begin with
            the whole bucket that it falls in. Times without a zone are UTC.
        until: Before this time; none: no end. Questions in buckets end with the bucket that it falls in.
        source: Only of this source; empty: of all.
        label: Only of this label, for messages; empty: of all.
        by: For trend: a line each of the busiest sources, or one of all together.
        limit: At most so many rows, for questions that list: sources, messages, top_negative, versions, latency.
        every: The buckets of distribution, trend, volume and sources; none: those that `rollup_of` chooses.
        id: Of an alert; there is none.

    Returns:
        A dict a row; times are in UTC.

    Raises:
        WarehouseError: There is no such question, no Gold, no DuckDB, or no answer in time.
    """
    if question not in QUESTIONS:
        close = nearest(question, QUESTIONS)
        raise WarehouseError(
            f"There is no question {question!r} to the lakehouse.",
            expected=f"one of {', '.join(QUESTIONS)}",
            remedy=f"Did you mean {close}?" if close else None,
        )
    if question in _WAREHOUSE_ONLY:
        return []
    now = datetime.now(UTC)
    since, until = _to_ms(since or now - timedelta(hours=1)), _to_ms(until or _NO_END)
    step_s = _STEP_S["second" if question == "live" else every or rollup_of(since, min(until, now), now)]
    values: dict[str, Any] = {
        "since": since,
        "until": until,
        "source": source,
        "label": label,
        "by": by,
        "limit": limit,
        "step_us": step_s * 1_000_000,
        # Buckets that begin within the time, the first one whole. Seconds told live are not begun before they are asked for.
        "first": _floor(since, step_s) if question != "live" else _ceiling(since, 1),
        "last": _ceiling(_floor(until, 1) if question != "live" else until, step_s),
        "now": now,
        "hour": _ceiling(now - timedelta(hours=1), 60),
        "half_life_s": half_life_s(since, min(until, now)),
    }
    sql = (FOLDER / f"{question}.sql").read_text(encoding="utf-8")
    try:
        gold = Gold(gold) if isinstance(gold, str) else gold
        return [_in_utc(row) for row in gold.rows(sql, values, _files(question, values))]
    except WarehouseError:
        raise
    except ImportError as error:
        raise WarehouseError(
            "What reads the lakehouse is not installed.",
            found=first_line(error),
            expected="duckdb, deltalake and pyarrow",
            remedy="Install the extra `lakehouse`.",
        ) from error
    except Exception as error:  # duckdb, deltalake and pyarrow raise unrelated classes
        raise WarehouseError(f"Gold does not answer {question!r}.", found=first_line(error)) from error


def _files(question: str, values: dict[str, Any]) -> str:
    """What is certain of the rows a question asks for."""
    if question == "latency":
        return f"copy.arrived_at >= '{_iso(values['since'])}' AND copy.arrived_at < '{_iso(values['until'])}'"
    first, last = min(values["since"], values["first"]), max(values["until"], values["last"])
    if question == "live":
        first, last = min(first, values["hour"]), _NO_END
    return (
        f"event_date >= '{first.date()}' AND event_date <= '{last.date()}' "
        f"AND event_at >= '{_iso(first)}' AND event_at < '{_iso(last)}'"
    )


def _iso(time: datetime) -> str:
    return time.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _to_ms(time: datetime) -> datetime:
    """In UTC and whole milliseconds, as the warehouse has them, and as Delta knows the least and greatest of a file."""
    time = _utc(time)
    return time.replace(microsecond=time.microsecond // 1000 * 1000)


def _floor(time: datetime, step_s: int) -> datetime:
    return datetime.fromtimestamp(time.timestamp() // step_s * step_s, UTC)


def _ceiling(time: datetime, step_s: int) -> datetime:
    return datetime.fromtimestamp(-(-time.timestamp() // step_s) * step_s, UTC)


def _in_utc(row: dict[str, Any]) -> dict[str, Any]:
    return {name: _utc(value) if isinstance(value, datetime) else value for name, value in row.items()}


def _utc(time: datetime) -> datetime:
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
