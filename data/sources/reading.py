"""Read files to frames, and write labeled text."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data.errors import MalformedData, SourceUnavailable
from data.labeled_text import LABELED_TEXT
from data.tables import ReadAs, Rejected, open_table, require_columns
from data.tweets.fields import whole

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

COLUMNS = ["id", "text", "label", "split"]
"""Of a dataset in our own layout."""
FIX = "Correct the file or its column mapping."
"""The remedy for a missing column."""


MAX_REJECTED = 0.05
"""A dataset that loses a larger share of its rows is refused: those with commas or quotes are not like the others."""


@dataclass(frozen=True)
class SourceRows:
    """The rows of a source, with its own labels."""

    frame: "pd.DataFrame"
    read_as: str = ""
    """How a file was read, in one line."""
    notes: tuple[str, ...] = ()
    """One line each for rows that were rejected."""


@dataclass(frozen=True)
class Source:
    """Where a dataset is, and how to read it."""

    origin: str
    identity: str
    """Changes with the content: a checksum or a revision."""
    read: Callable[[], SourceRows]


def read_table(path: Path, required: list[str], read_as: ReadAs | None = None) -> SourceRows:
    """Read a file to a frame whose columns hold the values as they are in the file; those of a CSV file are text.

    Raises:
        SourceUnavailable: The file does not exist.
        MalformedData: As `open_table`; or the file is empty, or more than `MAX_REJECTED` of its rows are rejected.
    """
    import pandas as pd

    table = open_table(path, required, read_as=read_as, fix=FIX)
    frames: list[pd.DataFrame] = []
    for chunk, _ in table.chunks():
        frames.append(pd.DataFrame([row for row in chunk if not isinstance(row, Rejected)], dtype=object))
    if not table.rows:
        raise MalformedData(f"{path} has no rows.", expected="a header and at least one row")
    rejected = table.rejected.total()
    lines = "; ".join(map(str, table.examples))
    if rejected > MAX_REJECTED * (table.rows + rejected):
        raise MalformedData(
            f"{path} cannot be read: {rejected:,} of {table.rows + rejected:,} rows are rejected.",
            found=lines,
            expected=f"at most {MAX_REJECTED:.0%}",
            remedy="Correct these rows; or set delimiter, quoting, encoding or names.",
        )
    frame = pd.concat(frames, ignore_index=True).map(_encodable)
    require_columns(frame.columns, required, str(path), FIX)
    notes = (f"{rejected:,} rows are rejected: {lines}",) if rejected else ()
    return SourceRows(frame, table.summary, notes)


def _encodable(value: Any) -> Any:
    """Drop lone surrogates, as cleaning does: JSON can escape them and Parquet cannot hold them."""
    return whole(value) if isinstance(value, str) else value


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
        pq.write_table(table, path)  # pyright: ignore[reportUnknownMemberType]  # a parameter has no type
    except OSError as error:
        raise SourceUnavailable(f"{path} cannot be written.", found=error, remedy="Free disk space.") from error


def _nullable() -> "pa.Schema":
    """Return the schema with all columns nullable: raw rows may have nulls, which the suites then report."""
    import pyarrow as pa

    return pa.schema([pa.field(name, kind) for name, kind in zip(LABELED_TEXT.names, LABELED_TEXT.types, strict=True)])
