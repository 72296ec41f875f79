"""Row counts and state of the tables, read without Spark."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from data.errors import LakehouseError
from serving.lakehouse.paths import LAYERS, Layer, for_deltalake, storage_options, table

_LOCATION = "GROUNDSWELL_LAKEHOUSE__ROOT, and for S3 AWS_REGION, AWS_ENDPOINT_URL_S3 and the credentials."
FORGOTTEN = "groundswell-forgotten"
"""The Delta transaction of Bronze whose number is the total of records that maintenance deleted; stored in the table's log."""


@dataclass(frozen=True)
class TableStatus:
    """State of one table."""

    layer: Layer
    rows: int
    records: int
    """Rows without those of a record's further messages, such as of a page: records of Bronze that they come from."""
    files: int
    bytes: int
    version: int
    """Version of the Delta table: each commit adds one."""
    written_at: datetime
    """Time of its last version, UTC."""


@dataclass(frozen=True)
class LakehouseStatus:
    """State of all tables, with the differences between layers."""

    root: str
    tables: list[TableStatus]
    reasons: dict[str, int]
    """Rows of the rejects table by reason."""
    versions: dict[str, int]
    """Rows of Gold by the model version that classified them."""
    newest: datetime | None
    """Event time of the newest row of Gold."""
    forgotten: int
    """Records deleted from Bronze because they are older than `keep_raw_days`."""

    def rows(self, layer: Layer) -> int:
        """Return the number of rows of a table."""
        return self._table(layer).rows

    def _table(self, layer: Layer) -> TableStatus:
        return next(status for status in self.tables if status.layer == layer)

    @property
    def behind_silver(self) -> int:
        """Number of Bronze records that are neither in Silver nor rejected yet; 0 when Silver has caught up."""
        return self.rows("bronze") + self.forgotten - self._table("silver").records - self._table("silver_rejected").records

    @property
    def behind_gold(self) -> int:
        """Number of Silver rows that are not in Gold yet."""
        return self.rows("silver") - self.rows("gold")


def read_status(root: str) -> LakehouseStatus:
    """Read the tables' logs and two small columns.

    Downstream tables are read first: while streams run, a record may be missing downstream but is never counted twice.

    Raises:
        LakehouseError: The tables do not exist or cannot be read.
    """
    tables, columns, forgotten = [], {}, 0
    for layer in reversed(LAYERS):
        opened = open_table(root, layer)
        actions = files_of(opened)
        sizes = actions.get("size_bytes", [])
        written = opened.history(1)[0]["timestamp"]
        tables.append(
            TableStatus(
                layer,
                sum(actions.get("num_records", [])),
                sum(_first_items(actions)),
                len(sizes),
                sum(sizes),
                opened.version(),
                datetime.fromtimestamp(written / 1000, UTC),
            )
        )
        if layer == "bronze":
            forgotten = forgotten_records(opened)
        if layer in {"gold", "silver_rejected"}:
            names = ["model_version", "event_at"] if layer == "gold" else ["reason"]
            columns[layer] = opened.to_pyarrow_table(columns=names)
    gold = columns["gold"]
    newest = max((time for time in gold["event_at"].to_pylist() if time), default=None) if gold.num_rows else None
    return LakehouseStatus(
        root, tables[::-1], _counts(columns["silver_rejected"]["reason"]), _counts(gold["model_version"]), newest, forgotten
    )


def _first_items(actions: dict[str, list[int]]) -> list[int]:
    """Count the rows of each file whose `copy.item` is null, from the statistics in the table's log."""
    rows = actions.get("num_records", [])
    nulls = actions.get("null_count.copy.item", rows)
    return [count if null is None else null for count, null in zip(rows, nulls, strict=True)]


def forgotten_records(bronze) -> int:
    """Return the total of records that maintenance deleted from `bronze`, a table of `open_table`."""
    return bronze.transaction_version(FORGOTTEN) or 0


def exists(root: str, layers: Sequence[Layer] = ("bronze",)) -> bool:
    """Return whether there are tables.

    Raises:
        LakehouseError: The location is not reachable.
    """
    from deltalake import DeltaTable

    try:
        return all(DeltaTable.is_deltatable(for_deltalake(table(root, layer)), storage_options(root)) for layer in layers)
    except Exception as error:  # deltalake raises the errors of its storage, which share no class
        raise LakehouseError(
            f"The lakehouse {root} is not reachable.", found=cause(error), remedy=f"Check {_LOCATION}"
        ) from error


def files_of(opened: Any) -> dict[str, list[Any]]:
    """Return the files of an open table with their statistics, from Delta's log, as columns; empty if it has none."""
    return pa.table(opened.get_add_actions(flatten=True)).to_pydict() if opened.file_uris() else {}


def open_table(root: str, layer: Layer):
    """Open the newest version of a table as a `deltalake.DeltaTable`.

    Raises:
        LakehouseError: The table does not exist, or its location is not reachable.
    """
    from deltalake import DeltaTable
    from deltalake.exceptions import TableNotFoundError

    path = table(root, layer)
    try:
        return DeltaTable(for_deltalake(path), storage_options=storage_options(path) | (QUICK if "://" in path else {}))
    except TableNotFoundError as error:
        raise LakehouseError(
            f"There is no table {path}.",
            found=cause(error),
            expected="tables of `groundswell lakehouse run`",
            remedy="Run `groundswell lakehouse run --once --source <...>`, or set GROUNDSWELL_LAKEHOUSE__ROOT.",
        ) from error
    except Exception as error:  # deltalake raises the errors of its storage, which share no class
        raise LakehouseError(
            f"Could not read the table {path}.",
            found=cause(error),
            remedy=f"Check {_LOCATION}",
        ) from error


QUICK = {"connect_timeout": "3s", "max_retries": "2", "retry_timeout": "20s"}
"""Timeouts for deltalake: by default it retries an unreachable bucket for minutes."""


def cause(error: Exception) -> str:
    """Return the root cause of a deltalake error, which is the last line of its message."""
    plain = re.sub(r"\x1b\[[0-9;]*m", "", str(error))
    return ([line.strip(" ↳") for line in plain.splitlines() if line.strip()] or [type(error).__name__])[-1][:300]


def _counts(column) -> dict[str, int]:
    return {
        str(found["values"]): found["counts"] for found in sorted(column.value_counts().to_pylist(), key=lambda f: -f["counts"])
    }
