"""Rows of a text with delimiters: each row with its lines, and what is wrong with it."""

import csv
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from data.tables.read_as import Quoting
from data.tables.streams import MAX_LINE_CHARS


@dataclass(frozen=True)
class Dialect:
    """How a text is cut into rows and fields."""

    delimiter: str
    quoting: Quoting
    width: int = 0
    """Fields of a row; 0: any number."""
    has_trailing: bool = False
    """Whether each row ends with a delimiter: the empty field after it is no column."""
    has_spaces: bool = False
    """Whether a space follows each delimiter, before a quotation mark too."""


@dataclass(frozen=True)
class Rejected:
    """A row that is not read, in its place among the others."""

    line: int
    """Its first line, from 1."""
    reason: str
    detail: str = ""

    def __str__(self) -> str:
        return f"line {self.line:,}: {self.detail or self.reason}"


TOO_MANY, TOO_FEW, BROKEN = "too many fields", "too few fields", "broken quotes"


class Parsed(NamedTuple):
    """One row of the parser, and its first and last line, from 1."""

    first: int
    last: int
    fields: list[str]
    """Empty for a blank line, or where the quotes are broken."""
    rejected: Rejected | None = None


def parse(lines: Iterable[str], dialect: Dialect) -> Iterator[Parsed]:
    """Cut lines into rows. A blank line is a row without fields; a row that does not fit has `rejected`."""
    csv.field_size_limit(MAX_LINE_CHARS)  # a text of megabytes is one invalid row, not the end of the file
    reader = csv.reader(
        lines,
        delimiter=dialect.delimiter,
        quoting=csv.QUOTE_NONE if dialect.quoting == "none" else csv.QUOTE_MINIMAL,
        doublequote=dialect.quoting != "escaped",
        escapechar="\\" if dialect.quoting == "escaped" else None,
        skipinitialspace=dialect.has_spaces,
        strict=True,
    )
    last, width = 0, dialect.width
    while True:
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            first, last = last + 1, reader.line_num
            span = f" in lines {first:,} to {last:,}" if last > first else ""
            yield Parsed(first, last, [], Rejected(first, BROKEN, f"{_plain(error)}{span}"))
            continue
        first, last = last + 1, reader.line_num
        fits = len(fields) == width
        yield Parsed(first, last, fields, None) if fits else _unfitting(first, last, fields, dialect)


def _unfitting(first: int, last: int, fields: list[str], dialect: Dialect) -> Parsed:
    found, width = len(fields), dialect.width
    if dialect.has_trailing and found == width + 1 and not fields[-1]:
        return Parsed(first, last, fields[:-1])
    if not width or not found:
        return Parsed(first, last, fields)
    reason = TOO_MANY if found > width else TOO_FEW
    return Parsed(first, last, fields, Rejected(first, reason, f"{found} fields, expected {width}"))


def _plain(error: csv.Error) -> str:
    return "a quote that is not closed" if "unexpected end" in str(error) else str(error)
