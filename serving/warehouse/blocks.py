"""Writes predictions: rows, then the recounted rollups of the chunks of offsets that they touch.

Both may be repeated, in any order, from any number of processes: a row replaces the earlier row of the same message, and a
chunk's rollup is counted from its rows, each once. So a crash between the two is repaired by the redelivery that follows it.

Limits: counts are right on one ClickHouse server (or chDB), where a later statement sees what an earlier one saw. If two workers
classify a message again at the same moment with different labels, its rollup may show either label until the chunk's next block.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from data.errors import WarehouseError
from serving.warehouse.connect import first_line

CHUNK = 8192
"""Offsets of one chunk; also in refresh_rollups.sql and migration 3."""
_REFRESH = (Path(__file__).parent / "refresh_rollups.sql").read_text(encoding="utf-8")
_SETTINGS = {"date_time_input_format": "best_effort", "max_partitions_per_insert_block": "0"}
_UNREADABLE = {6, 26, 27, 38, 41, 53, 69, 70, 72, 117, 130, 321, 349, 441, 492, 636, 691}
"""ClickHouse's error codes for rows that it cannot parse: sending them again would not help."""


class UnreadableRows(WarehouseError):
    """ClickHouse cannot parse a row of the block; none of it counts as written."""


def write_block(client: Any, topic: str, rows: Iterable[bytes], offsets: Mapping[int, tuple[int, int]]) -> None:
    """Write rows and update the rollups: `insert_rows`, then `refresh_rollups`."""
    block = list(rows)
    if block:
        insert_rows(client, block)
        refresh_rollups(client, topic, offsets)


def insert_rows(client: Any, rows: Iterable[bytes]) -> None:
    """Write rows; the rollups do not count them yet. Blocks until ClickHouse has them; a repeated call changes nothing.

    Args:
        client: From `connect`.
        rows: At least one JSON object, one a prediction, with the columns of table `predictions`.

    Raises:
        UnreadableRows: A row cannot be parsed.
        WarehouseError: ClickHouse refused or does not respond. A part may be written; the next call replaces it.
    """
    with _refused("a block"):
        client.raw_insert("predictions", insert_block=b"\n".join(rows), fmt="JSONEachRow", settings=_SETTINGS)


def refresh_rollups(client: Any, topic: str, offsets: Mapping[int, tuple[int, int]]) -> None:
    """Recount the chunks that hold these offsets. Blocks; a repeated call changes nothing.

    Args:
        client: From `connect`.
        topic: Of the messages.
        offsets: First and last offset by partition, at least one.

    Raises:
        WarehouseError: ClickHouse refused or does not respond.
    """
    with _refused("a recount of rollups"):
        client.command(_REFRESH.replace("RANGES", _ranges(offsets)), parameters={"topic": topic})


@contextmanager
def _refused(what: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # clickhouse-connect, urllib3 and chDB raise unrelated classes
        code = getattr(error, "code", None)
        kind = UnreadableRows if code in _UNREADABLE else WarehouseError
        raise kind(f"The warehouse refused {what}.", found=first_line(error)) from error


def _ranges(offsets: Mapping[int, tuple[int, int]]) -> str:
    return " OR ".join(
        f"(partition = {partition:d} AND offset >= {first // CHUNK * CHUNK:d} AND offset < {(last // CHUNK + 1) * CHUNK:d})"
        for partition, (first, last) in sorted(offsets.items())
    )
