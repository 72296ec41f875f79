"""The dashboard's queries on Gold: deltalake selects the files that may hold the rows, DuckDB reads them.

Each question has one file in `questions/`, with the name and columns of `serving/warehouse/questions`. A query sees the newest
version of Gold and never a partial commit.
"""

import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from data.domains import GENERAL, domains_of_sources
from data.errors import WarehouseError
from data.names import unknown_name
from serving.lakehouse.paths import for_deltalake, storage_options, table
from serving.questions import NO_END, STEP_S, Filters, half_life_s, plain_values, rollup_of, rows_in_utc, time_span
from serving.settings import WarehouseSettings
from serving.warehouse.connect import first_line

if TYPE_CHECKING:
    from deltalake import DeltaTable

FOLDER = Path(__file__).parent / "questions"
_WAREHOUSE_ONLY = ("alerts", "normal")
"""The lakehouse raises no alerts: these questions return no rows."""
QUESTIONS = sorted([*(path.stem for path in FOLDER.glob("*.sql")), *_WAREHOUSE_ONLY])
"""Names of all questions."""
REOPEN_AFTER_S = 60.0
"""Seconds for which an open table is only updated incrementally. A deleted and recreated table counts its versions from zero;
only opening it again distinguishes it from the old one."""
_DUCKDB = {
    "threads": 1,  # the model has threads of its own; pyarrow's threads decode the files
    "memory_limit": "512MB",
    "temp_directory": "",
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
}


class Gold:
    """An open Gold table; for one thread at a time."""

    def __init__(self, root: str) -> None:
        """Store the location; the first query opens the table.

        Args:
            root: The folder or s3a:// URI that holds the tables.
        """
        self._place = table(root, "gold")
        self._timeout_s = WarehouseSettings.load().timeout_s
        self._duckdb: Any = None
        self._table: DeltaTable | None = None
        self._opened_at = 0.0

    def rows(self, sql: str, values: dict[str, Any], files: str) -> list[dict[str, Any]]:
        """Run a statement on the newest version and return its rows.

        Args:
            sql: A statement that reads from `gold`.
            values: Its named parameters; others are ignored.
            files: A condition that all rows meet, as deltalake's `file_pruning_predicate`; other files are not read.
        """
        import duckdb

        self._duckdb = self._duckdb or duckdb.connect(config=_DUCKDB)
        gold = self._newest().to_pyarrow_dataset(file_pruning_predicate=files)
        (statement,) = self._duckdb.extract_statements(sql)
        given = {name: values[name] for name in statement.named_parameters}
        self._duckdb.register("gold", gold)
        timeout = threading.Timer(self._timeout_s, self._duckdb.interrupt)
        timeout.daemon = True
        timeout.start()
        try:
            result = self._duckdb.execute(statement, given)
            names = [column[0] for column in result.description]
            return [dict(zip(names, row, strict=True)) for row in result.fetchall()]
        except duckdb.InterruptException as error:
            raise TimeoutError(f"The query took longer than {self._timeout_s:g} s.") from error
        finally:
            timeout.cancel()
            self._duckdb.unregister("gold")

    def _newest(self) -> "DeltaTable":
        from deltalake import DeltaTable
        from deltalake.exceptions import TableNotFoundError

        if self._table is not None and time.monotonic() - self._opened_at < REOPEN_AFTER_S:
            self._table.update_incremental()
            return self._table
        timeouts = {"connect_timeout": "3s", "timeout": f"{self._timeout_s:g}s", "retry_timeout": f"{self._timeout_s:g}s"}
        options = storage_options(self._place)
        try:
            self._table = DeltaTable(for_deltalake(self._place), storage_options={**options, **timeouts} if options else None)
        except TableNotFoundError as error:
            raise WarehouseError(
                f"There is no Gold at {self._place}.",
                expected="a Delta table written by `groundswell lakehouse`",
                remedy="Run `groundswell lakehouse run --once`, or set GROUNDSWELL_LAKEHOUSE__ROOT to another location.",
            ) from error
        self._opened_at = time.monotonic()
        return self._table


def _sources_of(domain: str) -> list[str]:
    """Return the sources of a domain; of `general`, those of any domain."""
    return [source for source, its in domains_of_sources().items() if domain in (its, GENERAL)] if domain else []


def ask(gold: Gold | str, question: str, **filters: Unpack[Filters]) -> list[dict[str, Any]]:
    """Return the rows of a question, like `serving.warehouse.questions.ask`. Blocks until the query ends.

    Args:
        gold: The open table, or the root of the lakehouse, which is then opened for this query only.
        question: One of `QUESTIONS`.
        filters: See `Filters`.

    Returns:
        One dict per row; times are in UTC.

    Raises:
        WarehouseError: The question is unknown, Gold or DuckDB is missing, or the query failed or timed out.
    """
    if question not in QUESTIONS:
        raise unknown_name(WarehouseError, "question", question, QUESTIONS, where=" for the lakehouse")
    if question in _WAREHOUSE_ONLY:
        return []
    now = datetime.now(UTC)
    since, until = map(_to_ms, time_span(filters, now))
    step_s = STEP_S["second" if question == "live" else filters.get("every") or rollup_of(since, min(until, now), now)]
    values = plain_values(filters) | {
        "since": since,
        "until": until,
        "step_us": step_s * 1_000_000,
        # Buckets that begin within the range, the first one whole. Live seconds do not begin before `since`.
        "first": _floor(since, step_s) if question != "live" else _ceiling(since, 1),
        "last": _ceiling(_floor(until, 1) if question != "live" else until, step_s),
        "now": now,
        "hour": _ceiling(now - timedelta(hours=1), 60),
        "half_life_s": half_life_s(since, min(until, now)),
        "sources": _sources_of(filters.get("domain", "")),
    }
    sql = (FOLDER / f"{question}.sql").read_text(encoding="utf-8")
    try:
        gold = Gold(gold) if isinstance(gold, str) else gold
        return rows_in_utc(gold.rows(sql, values, _files(question, values)))
    except WarehouseError:
        raise
    except ImportError as error:
        raise WarehouseError(
            "The packages that read the lakehouse are not installed.",
            found=first_line(error),
            expected="duckdb, deltalake and pyarrow",
            remedy="Install the extra `lakehouse`.",
        ) from error
    except Exception as error:  # duckdb, deltalake and pyarrow raise unrelated classes
        raise WarehouseError(f"The query {question!r} on Gold failed.", found=first_line(error)) from error


def _files(question: str, values: dict[str, Any]) -> str:
    """Return a condition that all rows of a question meet."""
    if question == "latency":
        return f"copy.arrived_at >= '{_iso(values['since'])}' AND copy.arrived_at < '{_iso(values['until'])}'"
    first, last = min(values["since"], values["first"]), max(values["until"], values["last"])
    if question == "live":
        first, last = min(first, values["hour"]), NO_END
    return (
        f"event_date >= '{first.date()}' AND event_date <= '{last.date()}' "
        f"AND event_at >= '{_iso(first)}' AND event_at < '{_iso(last)}'"
    )


def _iso(time: datetime) -> str:
    return time.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _to_ms(time: datetime) -> datetime:
    """Round down to whole milliseconds, like the warehouse's times and Delta's minimum and maximum per file."""
    return time.replace(microsecond=time.microsecond // 1000 * 1000)


def _floor(time: datetime, step_s: int) -> datetime:
    return datetime.fromtimestamp(time.timestamp() // step_s * step_s, UTC)


def _ceiling(time: datetime, step_s: int) -> datetime:
    return datetime.fromtimestamp(-(-time.timestamp() // step_s) * step_s, UTC)
