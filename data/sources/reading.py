"""Read files to frames, and write labeled text."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data.errors import MalformedData, SourceUnavailable
from data.labeled_text import LABELED_TEXT
from data.tables import file_kind, read_rows, require_columns

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ["id", "text", "label", "split"]
"""Of a dataset in our own layout."""
FIX = "Correct the file or its column mapping."
"""The remedy for a missing column."""


@dataclass(frozen=True)
class Source:
    """Where a dataset is, and how to read it."""

    origin: str
    identity: str
    """Changes with the content: a checksum or a revision."""
    read: Callable[[], "pd.DataFrame"]


def read_table(path: Path, required: list[str]) -> "pd.DataFrame":
    """Read a file with `read_rows` to a frame; the columns of a CSV file are text, a missing field is empty.

    Raises:
        SourceUnavailable: The file does not exist.
        MalformedData: It is empty, truncated, not UTF-8, not in the format of its suffix, or lacks a required column.
    """
    import pandas as pd

    frames, rows = [], 0
    is_csv = file_kind(path) in {".csv", ".tsv"}
    for chunk, _ in read_rows(path, fix=FIX):
        long = next((index for index, row in enumerate(chunk) if None in row), None)
        if long is not None:
            header, rest = len(chunk[long]) - 1, len(chunk[long][None])
            found = f"{header + rest} fields in row {rows + long + 1:,}"
            raise MalformedData(f"{path} cannot be read.", found=found, expected=f"{header} fields")
        frames.append(pd.DataFrame(chunk, dtype="string").fillna("") if is_csv else pd.DataFrame(chunk).map(_encodable))
        rows += len(chunk)
    if not frames:
        raise MalformedData(f"{path} has no rows.", expected="a header and at least one row")
    frame = pd.concat(frames, ignore_index=True)
    require_columns(frame.columns, required, str(path), FIX)
    return frame


def _encodable(value: Any) -> Any:
    """Replace lone surrogates, which JSON can escape and Parquet cannot hold."""
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value


def write_labeled(path: Path, frame: "pd.DataFrame") -> None:
    """Write a frame as Parquet in the schema `LABELED_TEXT`, with extra columns at the end."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    known = LABELED_TEXT.names
    table = pa.Table.from_pandas(frame[known], schema=_nullable(), preserve_index=False)
    for name in frame.columns:
        if name not in known:
            table = table.append_column(name, pa.array(frame[name], from_pandas=True))
    try:
        pq.write_table(table, path)
    except OSError as error:
        raise SourceUnavailable(f"{path} cannot be written.", found=error, remedy="Free disk space.") from error


def _nullable():
    """Return the schema with all columns nullable: raw rows may have nulls, which the suites then report."""
    import pyarrow as pa

    return pa.schema([pa.field(field.name, field.type) for field in LABELED_TEXT])
