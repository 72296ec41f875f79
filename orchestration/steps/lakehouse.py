"""Steps of the lakehouse's assets. Filling and maintaining the tables start Spark; all others read them without it."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data.errors import LakehouseError
from data.expectations import ValidationReport, validate_messages
from orchestration.layout import Layout
from orchestration.local.spark import lakehouse, require_source
from orchestration.progress import report
from orchestration.steps.forgetting import forget_pending
from serving.bundle import served_bundle
from serving.forgetting import pending
from serving.lakehouse.locks import exclusive_run
from serving.lakehouse.paths import Layer, for_deltalake, lakehouse_root, storage_options, table
from serving.lakehouse.run import run_once
from serving.lakehouse.status import LakehouseStatus, open_table, read_status
from serving.settings import LakehouseSettings
from serving.warehouse.connect import first_line

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from serving.lakehouse.maintain import MaintainedTable

SAMPLE = 5_000
"""Maximum number of rows of a table that a suite checks."""
_TIMES: dict[Layer, str] = {"bronze": "arrived_at", "silver": "event_at", "gold": "event_at"}
_BRING_ROWS = {"WRITE", "MERGE"}
_COMMITS = 50
"""Number of newest commits that are searched for one that added rows; some of them are maintenance."""


@dataclass(frozen=True)
class Filled:
    """A filled table of the lakehouse."""

    layer: Layer
    rows: int
    files: int
    bytes: int
    version: int
    newest: datetime | None
    """Time of the newest event; for Bronze, which parses no dates, of the newest arrival."""


def root(layout: Layout) -> str:
    """Return the folder or URI of the tables."""
    return lakehouse_root(layout.var)


def table_uri(layout: Layout, layer: Layer) -> str:
    """Return the URI of a table."""
    path = table(root(layout), layer)
    return path if "://" in path else Path(path).resolve().as_uri()


def lakehouse_exists(layout: Layout) -> bool:
    """Return whether the tables exist.

    Raises:
        LakehouseError: The location is not reachable.
    """
    from deltalake import DeltaTable

    path = table(root(layout), "bronze")
    try:
        return DeltaTable.is_deltatable(for_deltalake(path), storage_options(path))
    except Exception as error:  # deltalake raises unrelated classes
        raise LakehouseError(
            f"The lakehouse {root(layout)} is not reachable.",
            found=first_line(error),
            remedy="Check GROUNDSWELL_LAKEHOUSE__ROOT, and for S3 AWS_REGION, AWS_ENDPOINT_URL_S3 and the credentials.",
        ) from error


def fill_tables(layout: Layout) -> list[Filled] | None:
    """Process all current records of the source into all three tables. Blocks; needs Java.

    Returns:
        Bronze, Silver and Gold; None if there are neither tables nor a source.

    Raises:
        LakehouseError: Spark failed, or another driver writes to the tables.
        BundleError: No bundle is served.
    """
    settings = LakehouseSettings.load()
    if settings.source is None and not lakehouse_exists(layout):
        return None
    source = require_source(settings) if settings.source else None
    if settings.classify_with == "bundle":
        served_bundle()  # reports a missing or damaged bundle before Spark starts
    with exclusive_run(root(layout)), lakehouse(root=root(layout)) as opened:
        lake = replace(
            opened,
            on_batch=lambda stage, batch: report(f"{stage}: batch {batch['batchId']}"),
            on_requests=lambda requests: pending.add(layout.var, requests),
        )
        run_once(lake, source)
    status = read_status(root(layout))
    return [
        Filled(table.layer, table.rows, table.files, table.bytes, table.version, _newest(layout, table.layer))
        for table in status.tables
        if table.layer in _TIMES
    ]


def _newest(layout: Layout, layer: Layer) -> datetime | None:
    """Read the newest time from the file statistics in Delta's log, without reading rows."""
    import pyarrow as pa

    opened = open_table(root(layout), layer)
    files = pa.table(opened.get_add_actions(flatten=True)).to_pydict() if opened.file_uris() else {}
    return max((time for time in files.get(f"max.{_TIMES[layer]}", []) if time is not None), default=None)


def maintain_tables(layout: Layout) -> "list[MaintainedTable] | None":
    """Merge small files, remove old versions and old Bronze records; streams may continue. None if there is no lakehouse.

    Raises:
        LakehouseError: Spark failed; finished tables stay maintained.
    """
    if not lakehouse_exists(layout):
        return None
    from serving.lakehouse.maintain import maintain

    forget_pending(layout, root(layout))
    with lakehouse(root=root(layout)) as lake:
        return maintain(lake.spark, lake.root, lake.settings)


def count_tables(layout: Layout) -> LakehouseStatus:
    """Return the state of the tables; see `read_status`."""
    return read_status(root(layout))


def rows_written_at(layout: Layout, layer: Layer) -> datetime | None:
    """Return when rows were last written to a table, not counting maintenance. None if the log does not go back that far."""
    commits = open_table(root(layout), layer).history(_COMMITS)
    written = (commit["timestamp"] for commit in commits if commit["operation"] in _BRING_ROWS)
    return next((datetime.fromtimestamp(ms / 1000, UTC) for ms in written), None)


def check_sample(layout: Layout, layer: Layer) -> ValidationReport | None:
    """Validate the newest rows of Silver or Gold with their suite; None without rows."""
    sample = read_sample(layout, layer)
    return validate_messages(sample, classified=layer == "gold") if len(sample) else None


def read_sample(layout: Layout, layer: Layer, rows: int = SAMPLE) -> "pd.DataFrame":
    """Read at most `rows` rows from the newest files, since new faults are in the rows written last."""
    import pyarrow as pa

    opened = open_table(root(layout), layer)
    dataset = opened.to_pyarrow_dataset()
    files = pa.table(opened.get_add_actions(flatten=True)).to_pydict() if opened.file_uris() else {}
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


def query_gold(gold: Any, sql: str) -> "pa.Table":
    """Run SQL over a dataset or a reader of Arrow batches, which it names `gold`."""
    import duckdb

    with duckdb.connect(config={"autoinstall_known_extensions": False}) as database:
        database.register("gold", gold)
        return database.sql(sql).to_arrow_table()
