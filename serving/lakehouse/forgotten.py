"""The table of keys: hashes of forgotten ids and authors, next to the layers' tables."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from data.forgetting import Request
from serving.lakehouse.locks import table_commit_lock
from serving.lakehouse.paths import for_deltalake, storage_options

if TYPE_CHECKING:
    from deltalake import DeltaTable

NAME = "forgotten"
"""Folder of the table."""
_PURGED = "groundswell-purged"
"""The Delta transaction of the table whose number is the newest time, in microseconds, that no old version holds."""


def remember(root: str, requests: Iterable[Request]) -> None:
    """Add the keys of requests to the table of keys, which is created if it is missing."""
    import pyarrow as pa
    from deltalake import write_deltalake

    known = {_identity(row["kind"], row["key"], row["until"], row["reason"]) for row in read_keys(root)}
    wanted = {_identity(one.kind, one.key, _until(one), one.reason): one for one in requests}
    new = [one for identity, one in wanted.items() if identity not in known]
    rows = [(one.kind, one.key, _until(one), one.reason, datetime.now(UTC)) for one in new]
    if not rows:
        return
    text, time = pa.string(), pa.timestamp("us", "UTC")
    schema = pa.schema([("kind", text), ("key", text), ("until", time), ("reason", text), ("forgotten_at", time)])
    columns = [pa.array(column, kind) for column, kind in zip(zip(*rows, strict=True), schema.types, strict=True)]
    path = f"{root}/{NAME}"
    with table_commit_lock(path):
        write_deltalake(
            for_deltalake(path), pa.table(columns, schema=schema), mode="append", storage_options=storage_options(path)
        )


def _identity(kind: str, key: str, until: datetime | None, reason: str) -> tuple[object, ...]:
    """Return what makes two keys the same; of `places` the reason has the id up to which an author's messages are meant."""
    return kind, key, until, reason if kind == "places" else None


def read_keys(root: str) -> list[dict[str, Any]]:
    """Return the rows of the table of keys: kind, key, until, reason, forgotten_at. Empty if nothing was ever forgotten."""
    from deltalake.exceptions import TableNotFoundError

    try:
        return _open_keys(root).to_pyarrow_table().to_pylist()
    except TableNotFoundError:
        return []


def unpurged(root: str) -> datetime | None:
    """Return when the last message was forgotten that old versions of the tables still hold; None: they hold none."""
    newest = max((row["forgotten_at"] for row in read_keys(root)), default=None)
    if newest is None:
        return None
    done = _open_keys(root).transaction_version(_PURGED)
    return newest if done is None or _micros(newest) > done else None


def mark_purged(root: str, newest: datetime) -> None:
    """Record that no old version holds a message that was forgotten up to a time."""
    from deltalake import CommitProperties, Transaction, write_deltalake

    keys = _open_keys(root)
    properties = CommitProperties(app_transactions=[Transaction(_PURGED, _micros(newest))])
    with table_commit_lock(f"{root}/{NAME}"):
        write_deltalake(keys, keys.to_pyarrow_table().slice(0, 0), mode="append", commit_properties=properties)


def _open_keys(root: str) -> "DeltaTable":
    from deltalake import DeltaTable

    path = f"{root}/{NAME}"
    return DeltaTable(for_deltalake(path), storage_options=storage_options(path))


def _micros(time: datetime) -> int:
    return round(time.timestamp() * 1_000_000)


def _until(request: Request) -> datetime | None:
    return request.requested_at if request.kind == "author" else None
