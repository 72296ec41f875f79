"""Steps of the lakehouse's assets. Filling and maintaining the tables start Spark; all others read them without it."""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from data.expectations import ValidationReport, validate_messages
from orchestration.layout import Layout
from orchestration.local.spark import lakehouse, require_source
from orchestration.progress import report
from orchestration.steps.forgetting import forget_pending
from serving.bundle import served_bundle
from serving.forgetting import pending
from serving.lakehouse.locks import exclusive_run
from serving.lakehouse.paths import Layer, lakehouse_root, table
from serving.lakehouse.reading import TIMES, newest_time, read_sample
from serving.lakehouse.run import Lakehouse, run_once
from serving.lakehouse.status import exists, read_status
from serving.settings import LakehouseSettings

if TYPE_CHECKING:
    from serving.lakehouse.maintain import MaintainedTable

SAMPLE = 5_000
"""Maximum number of rows of a table that a suite checks."""


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


@contextmanager
def open_to_fill(
    layout: Layout, on_batch: Callable[[str, dict[str, Any]], None], console: Console | None = None, **settings: Any
) -> Generator[Lakehouse]:
    """Open the lakehouse as the only driver that writes to its tables. Notices among the records are kept as pending requests.

    Args:
        layout: Paths of the tables and of pending requests.
        on_batch: Called with the layer and Spark's report after each batch.
        console: Prints a line while Spark starts.
        settings: Overrides of the environment's settings.

    Raises:
        LakehouseError: Another driver writes to the tables, or they cannot be opened.
        BundleError: No bundle is served.
    """
    given = LakehouseSettings.load(**settings)
    if given.classify_with == "bundle":
        served_bundle()  # reports a missing or damaged bundle before Spark starts
    where = lakehouse_root(layout.var, given)
    with exclusive_run(where), lakehouse(console, **settings | {"root": where}) as opened:
        yield replace(opened, on_batch=on_batch, on_requests=lambda requests: pending.add(layout.var, requests))


def fill_tables(layout: Layout) -> list[Filled] | None:
    """Process all current records of the source into all three tables. Blocks; needs Java.

    Returns:
        Bronze, Silver and Gold; None if there are neither tables nor a source.

    Raises:
        LakehouseError: Spark failed, or another driver writes to the tables.
        BundleError: No bundle is served.
    """
    settings = LakehouseSettings.load()
    if settings.source is None and not exists(root(layout)):
        return None
    source = require_source(settings) if settings.source else None
    with open_to_fill(layout, lambda stage, batch: report(f"{stage}: batch {batch['batchId']}")) as lake:
        run_once(lake, source)
    status = read_status(root(layout))
    return [
        Filled(table.layer, table.rows, table.files, table.bytes, table.version, newest_time(status.root, table.layer))
        for table in status.tables
        if table.layer in TIMES
    ]


def maintain_tables(layout: Layout) -> "list[MaintainedTable] | None":
    """Merge small files, remove old versions and old Bronze records; streams may continue. None if there is no lakehouse.

    Raises:
        LakehouseError: Spark failed; finished tables stay maintained.
    """
    if not exists(root(layout)):
        return None
    from serving.lakehouse.maintain import maintain

    forget_pending(layout, root(layout))
    with lakehouse(root=root(layout)) as lake:
        return maintain(lake.spark, lake.root, lake.settings)


def check_sample(layout: Layout, layer: Layer) -> ValidationReport | None:
    """Validate the newest rows of Silver or Gold with their suite; None without rows."""
    sample = read_sample(root(layout), layer, SAMPLE)
    return validate_messages(sample, classified=layer == "gold") if len(sample) else None
