"""Read files to frames, with errors that give the file, the position and the remedy."""

import gzip
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from data.errors import MalformedData, SourceUnavailable
from data.labeled_text import LABELED_TEXT
from data.names import nearest

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Source:
    """Where a dataset is, and how to read it."""

    origin: str
    identity: str
    """Changes with the content: a checksum or a revision."""
    read: Callable[[], "pd.DataFrame"]


def read_table(path: Path) -> "pd.DataFrame":
    """Read a CSV (also .gz), JSONL or Parquet file, with every column as text.

    Raises:
        SourceUnavailable: The file does not exist.
        MalformedData: It is empty, truncated, not UTF-8, or not in the format of its suffix.
    """
    import pandas as pd

    if not path.is_file():
        raise SourceUnavailable(f"There is no file {path}.")
    suffixes = [suffix for suffix in path.suffixes if suffix != ".gz"]
    kind = suffixes[-1] if suffixes else ""
    try:
        if kind == ".parquet":
            frame = pd.read_parquet(path)
        elif kind in {".jsonl", ".ndjson"}:
            frame = pd.read_json(_text(path), lines=True, dtype=False, convert_dates=False)
        elif kind in {".csv", ".tsv"}:
            frame = pd.read_csv(
                _text(path), sep="\t" if kind == ".tsv" else ",", dtype="string", keep_default_na=False, na_values=[]
            )
        else:
            raise MalformedData(f"{path} cannot be read.", found=path.suffix, expected=".csv, .csv.gz, .jsonl or .parquet")
    except (pd.errors.ParserError, pd.errors.EmptyDataError, ValueError, OSError) as error:
        raise MalformedData(f"{path} cannot be read.", found=str(error).strip() or type(error).__name__) from error
    if frame.empty:
        raise MalformedData(f"{path} has no rows.", expected="a header and at least one row")
    return frame


def _text(path: Path):
    """Return the file as a text stream; decoded here, since the error of pandas does not give the position."""
    import io

    try:
        raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise MalformedData(
            f"{path} is truncated or corrupt.", found=str(error), expected="a complete gzip file", remedy="Copy it again."
        ) from error
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise MalformedData(
            f"{path} is not UTF-8.",
            found=f"byte 0x{raw[error.start]:02x} at offset {error.start:,}, line {line:,}",
            expected="UTF-8",
            remedy=f"iconv -f WINDOWS-1252 -t UTF-8 {path.name} > fixed.csv",
        ) from error
    return io.StringIO(text, newline="")


def require_columns(frame: "pd.DataFrame", required: list[str], where: str) -> None:
    """Require columns of a frame.

    Raises:
        MalformedData: A column is missing; the error lists the columns and suggests the nearest name.
    """
    missing = [name for name in required if name not in frame.columns]
    if missing:
        columns = list(map(str, frame.columns))
        close = nearest(missing[0], columns)
        raise MalformedData(
            f"{where} has no column {', '.join(map(repr, missing))}.",
            found=", ".join(columns),
            expected=", ".join(required),
            remedy=f"Did you mean {close!r}?" if close else "Correct the file or its column mapping.",
        )


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
