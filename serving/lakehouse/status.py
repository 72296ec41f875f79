"""How the tables stand, read without Spark."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime

import pyarrow as pa

from data.errors import LakehouseError
from serving.lakehouse.paths import LAYERS, Layer, for_deltalake, storage_options, table

FORGOTTEN = "groundswell-forgotten"
"""The transaction in Bronze's log whose number is how many records housekeeping ever removed; Delta keeps it with the table."""


@dataclass(frozen=True)
class TableStatus:
    """One table."""

    layer: Layer
    rows: int
    files: int
    bytes: int
    version: int
    """Of the Delta table: each commit counts one."""
    written_at: datetime
    """When its last version was written, UTC."""


@dataclass(frozen=True)
class LakehouseStatus:
    """All tables, and whether they add up."""

    root: str
    tables: list[TableStatus]
    reasons: dict[str, int]
    """Rows of the side table by reason."""
    versions: dict[str, int]
    """Rows of Gold by the version that judged them."""
    newest: datetime | None
    """Event time of the newest row of Gold."""
    forgotten: int
    """Records that Bronze no longer has, because they are older than `keep_raw_days`."""

    def rows(self, layer: Layer) -> int:
        """Rows of a table."""
        return next(found.rows for found in self.tables if found.layer == layer)

    @property
    def behind_silver(self) -> int:
        """Records of Bronze that are neither in Silver nor aside yet; 0 when Silver has caught up."""
        return self.rows("bronze") + self.forgotten - self.rows("silver") - self.rows("silver_rejected")

    @property
    def behind_gold(self) -> int:
        """Rows of Silver that are not in Gold yet."""
        return self.rows("silver") - self.rows("gold")


def read_status(root: str) -> LakehouseStatus:
    """Read the tables' logs and two small columns. The tables behind are read before those in front, so that while streams run a
    record may be missing behind but is never counted twice.

    Raises:
        LakehouseError: There are no tables.
    """
    tables, columns, forgotten = [], {}, 0
    for layer in reversed(LAYERS):
        opened = open_table(root, layer)
        actions: dict[str, list[int]] = pa.table(opened.get_add_actions(flatten=True)).to_pydict() if opened.file_uris() else {}
        sizes = actions.get("size_bytes", [])
        written = opened.history(1)[0]["timestamp"]
        tables.append(
            TableStatus(
                layer,
                sum(actions.get("num_records", [])),
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


def forgotten_records(bronze) -> int:
    """How many records housekeeping has ever removed from Bronze, a table of `open_table`."""
    return bronze.transaction_version(FORGOTTEN) or 0


def open_table(root: str, layer: Layer):
    """The newest version of a table, a `deltalake.DeltaTable`.

    Raises:
        LakehouseError: It is not there, or the place cannot be reached.
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
            expected="a lakehouse that has run once",
            remedy="groundswell lakehouse run --once --source <...> makes it; another place: GROUNDSWELL_LAKEHOUSE__ROOT.",
        ) from error
    except Exception as error:  # deltalake raises whatever its storage said
        raise LakehouseError(
            f"The table {path} cannot be read.",
            found=cause(error),
            remedy="Look at GROUNDSWELL_LAKEHOUSE__ROOT, and for S3 at AWS_REGION, AWS_ENDPOINT_URL_S3 and the credentials.",
        ) from error


QUICK = {"connect_timeout": "3s", "max_retries": "2", "retry_timeout": "20s"}
"""For deltalake: by default it asks a bucket that does not answer for minutes."""


def cause(error: Exception) -> str:
    """What was at the bottom of an error of deltalake, which tells the way up above it."""
    plain = re.sub(r"\x1b\[[0-9;]*m", "", str(error))
    return ([line.strip(" ↳") for line in plain.splitlines() if line.strip()] or [type(error).__name__])[-1][:300]


def _counts(column) -> dict[str, int]:
    return {
        str(found["values"]): found["counts"] for found in sorted(column.value_counts().to_pylist(), key=lambda f: -f["counts"])
    }
