"""Read the rows of a CSV, JSONL or Parquet file, with errors that give the file, the position and the remedy.

Datasets and `score` read with `read_rows`, in chunks, so that a file of any size needs bounded memory.
"""

import csv
import gzip
import io
import itertools
import json
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

from data import tweets
from data.errors import MalformedData, SourceUnavailable
from data.names import did_you_mean

CHUNK_ROWS = 2048
"""Rows of a chunk."""
SUFFIXES = ".csv, .tsv, .jsonl, .ndjson (each also .gz) or .parquet"

_END = "\x00end of file\x00"
"""A line after the last one: within a row, it shows that a quote was not closed."""

Row = dict[Any, Any]
Chunk = tuple[list[Row], float]
"""Rows, and the share of the file read so far, 0 to 1."""


def file_kind(path: Path) -> str:
    """Return the suffix in lower case, without `.gz`."""
    suffixes = [suffix.lower() for suffix in path.suffixes if suffix.lower() != ".gz"]
    return suffixes[-1] if suffixes else ""


def read_rows(path: Path, columns: list[str] | None = None, *, fix: str = "Correct the file.") -> Iterator[Chunk]:
    """Read a file in chunks of `CHUNK_ROWS` rows.

    Args:
        path: The file; the suffix gives the format.
        columns: Required columns; Parquet reads no others. None: all columns of the file. In a row of a CSV file with more fields
            than the header, the key None has the rest.
        fix: The remedy for a missing column.

    Raises:
        SourceUnavailable: The file does not exist.
        MalformedData: A column is missing, or the file is truncated, not UTF-8, or not in the format of its suffix.
    """
    if not path.is_file():
        raise SourceUnavailable(f"File {path} not found.")
    kind = file_kind(path)
    if kind not in {".parquet", ".csv", ".tsv", ".jsonl", ".ndjson"}:
        raise MalformedData(f"{path} cannot be read.", found=path.suffix or "no suffix", expected=SUFFIXES)
    try:
        yield from _parquet(path, columns, fix) if kind == ".parquet" else _lines(path, columns or [], kind, fix)
    except OSError as error:
        raise MalformedData(f"{path} cannot be read.", found=error) from error


def require_columns(present: Iterable[object], required: list[str], where: str, fix: str) -> None:
    """Require columns.

    Raises:
        MalformedData: A column is missing; the error lists the columns and suggests the nearest name.
    """
    known = [str(name) for name in present]
    missing = [name for name in required if name not in known]
    if missing:
        close = did_you_mean(missing[0], known)
        raise MalformedData(
            f"{where} has no column {', '.join(map(repr, missing))}.",
            found=", ".join(known),
            expected=", ".join(required),
            remedy=f"{close} {fix}" if close else fix,
        )


def _parquet(path: Path, columns: list[str] | None, fix: str) -> Iterator[Chunk]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path)
        require_columns(file.schema_arrow.names, columns or [], str(path), fix)
        total, seen = max(file.metadata.num_rows, 1), 0
        for batch in file.iter_batches(batch_size=CHUNK_ROWS, columns=columns):
            seen += batch.num_rows
            yield batch.to_pylist(), seen / total
    except (pa.ArrowException, OSError) as error:
        raise MalformedData(f"{path} cannot be read.", found=error, expected="a Parquet file") from error


def _lines(path: Path, columns: list[str], kind: str, fix: str) -> Iterator[Chunk]:
    size = max(path.stat().st_size, 1)
    with path.open("rb") as raw:
        binary = _unzipped(raw, path)
        text = io.TextIOWrapper(binary, encoding="utf-8-sig", newline="")
        number, chunk = 0, []
        rows = _csv_rows(text, columns, path, kind, fix) if kind in {".csv", ".tsv"} else _json_rows(text, columns, path, fix)
        try:
            for row in rows:
                number += 1
                chunk.append(row)
                if len(chunk) == CHUNK_ROWS:
                    yield chunk, min(raw.tell() / size, 1.0)
                    chunk = []
        except UnicodeDecodeError as error:
            raise MalformedData(
                f"{path} is not UTF-8.",
                found=f"byte 0x{error.object[error.start]:02x} in line {_undecodable_line(path):,}",
                expected="UTF-8",
                remedy=f"iconv -f WINDOWS-1252 -t UTF-8 {path.name} > utf-8{kind}",
            ) from error
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise MalformedData(
                f"{path} is truncated or corrupt.",
                found=f"{error} after row {number:,}",
                expected="a complete gzip file",
                remedy="Copy it again.",
            ) from error
        except csv.Error as error:
            raise MalformedData(f"{path} is not CSV.", found=f"{error} after row {number:,}") from error
        if chunk:
            yield chunk, 1.0


def _unzipped(raw: BinaryIO, path: Path) -> BinaryIO:
    return cast(BinaryIO, gzip.GzipFile(fileobj=raw)) if path.suffix.lower() == ".gz" else raw


def _undecodable_line(path: Path) -> int:
    """Read a file again and return its first line that is not UTF-8: the decoder fails within a block of many lines."""
    with path.open("rb") as raw:
        for number, line in enumerate(_unzipped(raw, path), start=1):
            try:
                line.decode()
            except UnicodeDecodeError:
                return number
    return 0


def _csv_rows(text: io.TextIOWrapper, columns: list[str], path: Path, kind: str, fix: str) -> Iterator[Row]:
    csv.field_size_limit(64 * 2**20)  # a text of megabytes is one invalid row, not the end of the file
    reader = csv.DictReader(itertools.chain(text, [_END]), delimiter="\t" if kind == ".tsv" else ",")
    names = list(reader.fieldnames or [])
    if names == [_END]:
        return
    if any(map(_ends, names)):
        raise _open_quote(path, 0)
    require_columns(names, columns, str(path), fix)
    began = reader.line_num
    for row in reader:
        if row[names[0]] == _END:
            return
        if reader.line_num - began > 1 and any(_ends(value) for value in row.values()):
            raise _open_quote(path, began)
        began = reader.line_num
        yield row


def _ends(value: str | list[str] | None) -> bool:
    return bool(value) and (value if isinstance(value, str) else value[-1]).endswith(_END)


def _open_quote(path: Path, line: int) -> MalformedData:
    return MalformedData(f"{path} is not CSV.", found=f"a quote that is not closed, after line {line:,}")


def _json_rows(text: io.TextIOWrapper, columns: list[str], path: Path, fix: str) -> Iterator[Row]:
    seen_columns = False
    for number, line in enumerate(text, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise MalformedData(
                f"{path} is not JSONL: line {number:,} cannot be read.", found=f"{error}: {line[:60]!r}"
            ) from error
        if not isinstance(row, dict):
            raise MalformedData(f"{path} line {number:,} is not an object.", found=line[:60])
        rows = tweets.rows(row)
        if not seen_columns:
            require_columns(rows[0], columns, str(path), fix)
            seen_columns = True
        yield from rows
