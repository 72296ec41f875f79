"""Rows of a Parquet file or of a sheet of an XLSX file."""

import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from data.errors import MalformedData
from data.tables.streams import ALWAYS_ALLOWED, corrupt

SHEET_BYTES = ALWAYS_ALLOWED // 2
"""A sheet is held in memory as a whole; the format ends at 1,048,576 rows."""


def parquet_schema(path: Path) -> tuple[list[str], int]:
    """Return the columns and the number of rows of a Parquet file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            return file.schema_arrow.names, file.metadata.num_rows
    except (pa.ArrowException, OSError) as error:
        raise MalformedData(f"{path} cannot be read.", found=error, expected="a Parquet file") from error


def parquet_rows(path: Path, columns: Sequence[str] | None, batch: int) -> Iterator[dict[str, Any]]:
    """Yield the rows of a Parquet file; with `columns`, those columns alone."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            wanted = list(columns) if columns is not None else None
            for rows in file.iter_batches(batch, columns=wanted):  # pyright: ignore[reportUnknownMemberType]  # a list of no type
                yield from rows.to_pylist()
    except (pa.ArrowException, OSError) as error:
        raise MalformedData(f"{path} cannot be read.", found=error, expected="a Parquet file") from error


def sheet_of(path: Path, names: Sequence[str] | None, required: Sequence[str]) -> tuple[str, list[str], list[list[Any]]]:
    """Return the sheet that has the required columns: its name, its columns, and its rows without the header.

    Args:
        path: An XLSX file.
        names: Names of the columns, for a sheet without a header; the file must then have one sheet with rows.
        required: Columns that the sheet must have.

    Raises:
        MalformedData: The file is no XLSX file or too large, or several sheets could be meant.
    """
    from python_calamine import CalamineError, CalamineWorkbook

    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(member.file_size for member in archive.infolist())
    except zipfile.BadZipFile as error:
        raise corrupt(path, error, "an XLSX file") from error
    if size > SHEET_BYTES:
        raise MalformedData(f"{path} is too large.", found=f"{size:,} bytes unpacked", remedy="Save it as CSV.")
    try:
        with CalamineWorkbook.from_path(str(path)) as book:  # pyright: ignore[reportUnknownMemberType]  # a PathLike of no type
            sheets = {name: book.get_sheet_by_name(name).to_python(skip_empty_area=True) for name in book.sheet_names}
    except (CalamineError, OSError) as error:
        raise MalformedData(f"{path} cannot be read.", found=error, expected="an XLSX file without a password") from error
    filled = {name: rows for name, rows in sheets.items() if rows}
    headers = {name: list(names) if names else [str(cell).strip() for cell in rows[0]] for name, rows in filled.items()}
    fitting = [name for name, header in headers.items() if set(required) <= set(header)]
    if len(fitting) > 1 or not filled:
        listed = ", ".join(fitting) or "no sheet with rows"
        raise MalformedData(
            f"{path} does not have one sheet of texts.", found=listed, remedy="Keep one sheet with these columns."
        )
    name = (fitting or list(filled))[0]
    return name, headers[name], filled[name] if names else filled[name][1:]
