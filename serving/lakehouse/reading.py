"""Read rows of the tables without Spark: the newest ones, and SQL over Gold."""

from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from serving.lakehouse.paths import Layer
from serving.lakehouse.status import files_of, open_table

if TYPE_CHECKING:
    import duckdb
    import pandas as pd

TIMES: dict[Layer, str] = {"bronze": "arrived_at", "silver": "event_at", "gold": "event_at"}
"""The column of a row's time; Bronze parses no dates."""
_BRING_ROWS = {"WRITE", "MERGE"}
_COMMITS = 50
"""Number of newest commits that are searched for one that added rows; some of them are maintenance."""
_LABELED = """
SELECT event_at AS at, true_label, label FROM gold
WHERE true_label IS NOT NULL AND label IS NOT NULL AND split_part(model_version, '/', 1) = $version AND event_at >= $since
ORDER BY event_at DESC LIMIT $rows
"""


def newest_time(root: str, layer: Layer) -> datetime | None:
    """Read the newest time from the file statistics in Delta's log, without reading rows."""
    times = files_of(open_table(root, layer)).get(f"max.{TIMES[layer]}", [])
    return max((time for time in times if time is not None), default=None)


def rows_written_at(root: str, layer: Layer) -> datetime | None:
    """Return when rows were last written to a table, not counting maintenance. None if the log does not go back that far."""
    commits = open_table(root, layer).history(_COMMITS)
    written = (commit["timestamp"] for commit in commits if commit["operation"] in _BRING_ROWS)
    return next((datetime.fromtimestamp(ms / 1000, UTC) for ms in written), None)


def read_sample(root: str, layer: Layer, rows: int) -> "pd.DataFrame":
    """Read at most `rows` rows from the newest files, since new faults are in the rows written last."""
    opened = open_table(root, layer)
    dataset, files = opened.to_pyarrow_dataset(), files_of(opened)
    written = dict(zip(files.get("path", []), files.get("modification_time", []), strict=True))
    columns = [name for name in dataset.schema.names if name not in {"copy", "answers"}]
    parts, lacking = [], rows
    for file in sorted(dataset.get_fragments(), key=lambda file: written.get(file.path, 0), reverse=True):
        part = file.scanner(schema=dataset.schema, columns=columns).head(lacking)
        parts.append(part)
        lacking -= len(part)
        if not lacking:
            break
    return pa.concat_tables(parts).to_pandas() if parts else dataset.schema.empty_table().to_pandas()


def query_gold(gold: Any, sql: str) -> pa.Table:
    """Run SQL over a dataset or a reader of Arrow batches, which it names `gold`."""
    with _database(gold) as database:
        return database.sql(sql).to_arrow_table()


def labeled_predictions(root: str, version: str, since: datetime, rows: int) -> "pd.DataFrame":
    """Read rows of Gold with a true label and the predictions of one model version: `at`, `true_label`, `label`, newest first.

    Args:
        root: Folder or URI of the tables.
        version: The model version, whichever of its tiers classified.
        since: Event time of the oldest row.
        rows: Maximum number of rows.

    Raises:
        LakehouseError: Gold does not exist or cannot be read.
    """
    with _database(open_table(root, "gold").to_pyarrow_dataset()) as database:
        return database.execute(_LABELED, {"version": version, "since": since, "rows": rows}).df()


@contextmanager
def _database(gold: Any) -> "Generator[duckdb.DuckDBPyConnection]":
    import duckdb

    with duckdb.connect(config={"autoinstall_known_extensions": False}) as database:
        database.register("gold", gold)
        yield database
