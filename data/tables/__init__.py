"""Read the rows of a table: what is not set is detected, reported, and refused where it would be a guess.

Datasets and `score` read with `open_table`, in chunks, so that a file of any size needs bounded memory (a sheet is limited).
"""

import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from data import tweets
from data.errors import MalformedData
from data.names import did_you_mean
from data.tables.columnar import parquet_rows, parquet_schema, sheet_of
from data.tables.delimited import TOO_FEW, TOO_MANY, Rejected, parse
from data.tables.dialect import TextLayout, detect_layout
from data.tables.encodings import detect_encoding
from data.tables.read_as import ReadAs, delimiter_name
from data.tables.records import array_objects, is_array, line_objects
from data.tables.streams import StoredFile, lines_of, locate, open_bytes
from data.tables.texts import require_texts

__all__ = ["CHUNK_ROWS", "ReadAs", "Rejected", "Row", "Table", "open_table", "require_columns", "require_texts"]

CHUNK_ROWS = 2048
"""Rows of a chunk."""
SHOWN_REJECTED = 5
_SHOWN_CHARS = 60

Row = dict[str, Any]
Chunk = list[Row | Rejected]
_DELIMITED = (".csv", ".tsv", ".txt")


class Table:
    """A file whose format is known; `chunks` reads it once."""

    def __init__(self, path: Path, found: dict[str, Any], chunks: Callable[[], Iterator[tuple[Chunk, float]]]) -> None:
        """Set what was found and how chunks are read; `open_table` makes tables."""
        self.path = path
        self.found = found
        """What was detected: `format`, `columns` and, for a text, `encoding`, `delimiter`, `quoting`, `lines`."""
        self.rejected: Counter[str] = Counter()
        """Rows that were not read so far, by reason."""
        self.examples: list[Rejected] = []
        self.rows = 0
        """Rows that were read so far."""
        self.first_row: Row = {}
        self._chunks = chunks

    def chunks(self) -> Iterator[tuple[Chunk, float]]:
        """Yield the rows in chunks of `CHUNK_ROWS`, rejected ones in their place, with the share that was read, 0 to 1.

        Raises:
            MalformedData: The file is truncated, not of its encoding, or not in the format of its suffix.
        """
        for chunk, share in self._chunks():
            rejected = [row for row in chunk if isinstance(row, Rejected)]
            self.rejected.update(row.reason for row in rejected)
            self.examples += rejected[: SHOWN_REJECTED - len(self.examples)]
            self.rows += len(chunk) - len(rejected)
            self.first_row = self.first_row or next((row for row in chunk if not isinstance(row, Rejected)), Row())
            yield chunk, share

    def report(self) -> dict[str, Any]:
        """Return how the file was read and what was counted; complete after the last chunk."""
        first = {name: _shown(value) for name, value in self.first_row.items()}
        counted: dict[str, Any] = {"rows": self.rows, "first_row": first}
        if self.rejected:
            counted |= {"rejected": dict(self.rejected), "rejected_rows": [str(row) for row in self.examples]}
        return {**self.found, **counted}

    @property
    def summary(self) -> str:
        """The report in one line."""
        keys = ("encoding", "delimiter", "quoting", "sheet")
        how = ", ".join(f"{name} {self.found[name]}" for name in keys if name in self.found)
        lines = f" in {self.found['lines']:,} lines" if "lines" in self.found else ""
        columns = ", ".join(self.found["columns"])
        first = ", ".join(f"{name} {_shown(value)!r}" for name, value in self.first_row.items())
        read = f"{self.rows:,} rows{lines}" + (f", {self.rejected.total():,} rejected" if self.rejected else "")
        return f"{self.found['format']}{f' ({how})' if how else ''}, columns {columns}: {read}; first row: {first}"


def _shown(value: Any) -> str:
    text = str(value)
    return text if len(text) <= _SHOWN_CHARS else f"{text[: _SHOWN_CHARS - 1]}…"


def open_table(
    path: Path,
    required: Sequence[str] = (),
    *,
    read_as: ReadAs | None = None,
    only: Sequence[str] | None = None,
    fix: str = "Correct the file.",
) -> Table:
    """Detect how a file is read.

    Args:
        path: The file; its suffix gives the format, also `.CSV.GZ`.
        required: Columns that it must have.
        read_as: What is set; the rest is detected.
        only: Further columns of a Parquet file that are read where it has them; None: all columns.
        fix: The remedy for a missing column.

    Raises:
        SourceUnavailable: The file does not exist.
        MalformedData: A column is missing, or the file is damaged, not in the format of its suffix, or can be read in two ways.
    """
    read_as = read_as or ReadAs()
    file = locate(path)
    if file.kind == ".parquet":
        return _parquet_table(path, required, only, fix)
    if file.kind == ".xlsx":
        return _sheet_table(path, required, read_as, fix)
    if file.kind in _DELIMITED:
        return _delimited_table(file, detect_layout(file, read_as, required, fix))
    return _json_table(file, required, read_as, fix)


def require_columns(present: Iterable[object], required: Sequence[str], where: str, fix: str) -> None:
    """Require columns.

    Raises:
        MalformedData: A column is missing; the error lists the columns and suggests the nearest name.
    """
    known = [str(name) for name in present]
    missing = [name for name in required if name not in known]
    if missing:
        close = did_you_mean(missing[0], [name for name in known if name not in required])
        raise MalformedData(
            f"{where} has no column {', '.join(map(repr, missing))}.",
            found=", ".join(known),
            expected=", ".join(required),
            remedy=f"{close} {fix}" if close else fix,
        )


def _parquet_table(path: Path, required: Sequence[str], only: Sequence[str] | None, fix: str) -> Table:
    names, total = parquet_schema(path)
    require_columns(names, required, str(path), fix)
    wanted = None if only is None else [*required, *(name for name in only if name in names and name not in required)]

    def chunks() -> Iterator[tuple[Chunk, float]]:
        seen = 0
        for chunk in _chunked(parquet_rows(path, wanted, CHUNK_ROWS)):
            seen += len(chunk)
            yield chunk, seen / total

    return Table(path, {"format": "Parquet", "columns": names}, chunks)


def _chunked(rows: Iterator[Row | Rejected]) -> Iterator[Chunk]:
    while chunk := list(itertools.islice(rows, CHUNK_ROWS)):
        yield chunk


def _sheet_table(path: Path, required: Sequence[str], read_as: ReadAs, fix: str) -> Table:
    sheet, names, cells = sheet_of(path, read_as.names, required)
    require_columns(names, required, f"{path}, sheet {sheet!r},", fix)

    def rows() -> Iterator[Row | Rejected]:
        for line, row in enumerate(cells, start=1 if read_as.names else 2):
            values = [None if cell == "" else cell for cell in row]
            if len(values) == len(names) and any(value is not None for value in values):
                yield dict(zip(names, values, strict=True))
            elif len(values) != len(names):
                reason = TOO_MANY if len(values) > len(names) else TOO_FEW
                yield Rejected(line, reason, f"{len(values)} cells, expected {len(names)}")

    def chunks() -> Iterator[tuple[Chunk, float]]:
        return ((chunk, 1.0) for chunk in _chunked(rows()))

    return Table(path, {"format": "XLSX", "sheet": sheet, "columns": names}, chunks)


def _delimited_table(file: StoredFile, layout: TextLayout) -> Table:
    def rows(binary: BinaryIO) -> Iterator[Row | Rejected]:
        lines = itertools.islice(lines_of(file, binary, layout.encoding), layout.skipped_lines, None)
        parsed = (row for row in parse(lines, layout.dialect) if row.fields or row.rejected)
        names = layout.names
        for row in itertools.islice(parsed, int(layout.has_header), None):
            yield row.rejected or dict(zip(names, row.fields, strict=True))

    def chunks() -> Iterator[tuple[Chunk, float]]:
        with open_bytes(file) as (binary, share):
            yield from ((chunk, share()) for chunk in _chunked(rows(binary)))

    found = {
        "format": file.kind[1:].upper(),
        "encoding": layout.encoding,
        "delimiter": delimiter_name(layout.dialect.delimiter),
        "quoting": layout.dialect.quoting,
        "columns": list(layout.names),
        "lines": layout.survey.lines + layout.skipped_lines,
        "blank_lines": layout.survey.blank_lines,
    }
    return Table(file.path, found, chunks)


def _json_table(file: StoredFile, required: Sequence[str], read_as: ReadAs, fix: str) -> Table:
    encoding = read_as.encoding or detect_encoding(file)
    with open_bytes(file) as (binary, _):
        as_array = is_array(lines_of(file, binary, encoding))

    def chunks() -> Iterator[tuple[Chunk, float]]:
        with open_bytes(file) as (binary, share):
            objects = array_objects(file.path, binary, encoding) if as_array else line_objects(file, binary, encoding)
            rows = (row for record in objects for row in tweets.rows(record))
            yield from ((chunk, share()) for chunk in _chunked(rows))

    first, _ = next(chunks(), (Chunk(), 1.0))
    columns = list(dict.fromkeys(name for row in first if not isinstance(row, Rejected) for name in row))
    if not first:
        raise MalformedData(f"{file.path} has no rows.", expected="at least one object")
    if columns:
        require_columns(columns, required, str(file.path), fix)
    kind = "JSON array" if as_array else "JSONL"
    return Table(file.path, {"format": kind, "encoding": encoding, "columns": columns}, chunks)
