"""The predictions table: one block in, counts out."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from data.contracts import Prediction
from data.errors import WarehouseError
from serving.warehouse.migrate import migrate

COLUMNS = list(Prediction.model_fields)


@contextmanager
def open_warehouse(folder: Path) -> Iterator[Any]:
    """The embedded ClickHouse in `folder`, its schema up to date. One process at a time may hold a folder.

    Raises:
        WarehouseError: Another process holds the folder, or it cannot be written.
    """
    import clickhouse_connect

    try:
        folder.mkdir(parents=True, exist_ok=True)
        client = clickhouse_connect.get_client(interface="chdb", path=str(folder))
    except Exception as error:  # chDB has no error class of its own for a held folder
        raise WarehouseError(
            f"The warehouse {folder} cannot be opened.",
            found=str(error).splitlines()[0],
            expected="a folder that no other process holds",
            remedy="Stop the other process, or set another folder.",
        ) from error
    try:
        migrate(client)
        yield client
    finally:
        client.close()


def insert(client: Any, predictions: Sequence[Prediction]) -> None:
    """Write one block. Blocks until ClickHouse has it; writing the same message again is harmless.

    Raises:
        WarehouseError: ClickHouse refused; nothing of the block counts as written.
    """
    if not predictions:
        return
    rows = [[getattr(prediction, name) for name in COLUMNS] for prediction in predictions]
    try:
        client.insert("predictions", rows, column_names=COLUMNS)
    except Exception as error:  # clickhouse-connect and chDB raise unrelated classes
        raise WarehouseError(f"A block of {len(rows):,} predictions was refused.", found=str(error).splitlines()[0]) from error


def label_counts(client: Any, topic: str) -> dict[str, int]:
    """Messages of a topic by label, each counted once however often it was written."""
    result = client.query(
        "SELECT label, count() FROM predictions FINAL WHERE topic = {topic:String} GROUP BY label",
        parameters={"topic": topic},
    )
    return {label: int(count) for label, count in result.result_rows}
