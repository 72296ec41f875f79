"""Read all rows of a text with one dialect, and count what fits, what does not, and what indicates another dialect."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from data.tables.delimited import BROKEN, Dialect, Parsed, Rejected, parse

MIN_SWALLOWED = 10
"""A field that holds this many lines, nearly all with the fields of a whole row, holds rows."""
_MOSTLY = 0.9
_BREAK = re.compile(r"\r\n|\r|\n")


@dataclass
class Survey:
    """Counts over all rows, without the header."""

    lines: int = 0
    """All lines of the text after those skipped, with header and blank lines."""
    blank_lines: int = 0
    rows: int = 0
    """Rows that fit."""
    rejected: int = 0
    first_rejected: Rejected | None = None
    first_row: list[str] = field(default_factory=list[str])
    first_break: int = 0
    """Line of the first row that has several lines; 0: none."""
    torn: Rejected | None = None
    """The first row whose quotes are broken over several lines, or not closed."""
    swallowed: Rejected | None = None
    """The first row with a field that seems to hold whole rows."""
    has_quotes: bool = False
    has_escapes: bool = False
    is_cut: bool = False
    """Whether the text ends without a line end, in a field whose quote the last line opens."""
    is_quoted: bool = False
    """Without quoting: whether fields are as only quoting writes them."""

    @property
    def has_breaks(self) -> bool:
        """Whether a row has several lines."""
        return self.first_break > 0

    @property
    def is_clean(self) -> bool:
        """Whether every row fits and none is suspicious."""
        return not self.rejected and self.swallowed is None

    @property
    def rejected_share(self) -> float:
        """Share of the rows that do not fit, 0 to 1."""
        return self.rejected / max(self.rows + self.rejected, 1)


def survey(lines: Iterable[str], dialect: Dialect, *, has_header: bool) -> Survey:
    """Read all rows."""
    counts, last = Survey(), ""

    def counted() -> Iterator[str]:
        nonlocal last
        for line in lines:
            counts.lines += 1
            if '"' in line:
                counts.has_quotes = True
                counts.has_escapes = counts.has_escapes or '\\"' in line
            last = line
            yield line

    quotes = _Quotes(dialect) if dialect.quoting == "none" else None
    is_header = has_header
    for row in parse(counted(), dialect):
        if not row.fields and not row.rejected:
            counts.blank_lines += 1
        elif is_header and not row.rejected:
            is_header = False
            if quotes:
                quotes.add_header(row.fields)
        else:
            _add(counts, row, dialect)
            if quotes:
                quotes.add(row)
    if counts.torn and counts.torn.line == counts.lines and not last.endswith(("\n", "\r")):
        counts.is_cut = True
    counts.is_quoted = quotes is not None and quotes.are_quoting
    return counts


def _add(counts: Survey, row: Parsed, dialect: Dialect) -> None:
    if rejected := row.rejected:
        counts.rejected += 1
        counts.first_rejected = counts.first_rejected or rejected
        if rejected.reason == BROKEN and (row.last > row.first or "not closed" in rejected.detail):
            counts.torn = counts.torn or rejected
        return
    counts.rows += 1
    counts.first_row = counts.first_row or row.fields
    if row.last > row.first:
        counts.first_break = counts.first_break or row.first
        if counts.swallowed is None and (held := _held_rows(row.fields, dialect)):
            detail = f"a field of {row.last - row.first + 1:,} lines, of which {held:,} seem to be rows of their own"
            counts.swallowed = Rejected(row.first, BROKEN, detail)


def _held_rows(fields: list[str], dialect: Dialect) -> int:
    """Return how many lines within a field have as many fields as a row; 0 if they are few or most have not."""
    if dialect.width < 2:
        return 0
    for value in fields:
        inner = _BREAK.split(value)[1:-1]
        held = sum(line.count(dialect.delimiter) + 1 - dialect.has_trailing == dialect.width for line in inner)
        if len(inner) >= MIN_SWALLOWED and held >= _MOSTLY * len(inner):
            return held
    return 0


class _Quotes:
    """Collect, in a reading without quoting, what only a text with quoting holds."""

    def __init__(self, dialect: Dialect) -> None:
        self._wrapped = [0] * max(dialect.width, 1)
        self._rows = 0
        self._certain = False

    def add_header(self, fields: list[str]) -> None:
        self._certain = any(name.lstrip().startswith('"') for name in fields)

    def add(self, row: Parsed) -> None:
        self._rows += 1
        opened = False
        for index, value in enumerate(row.fields):
            if value.startswith('"'):
                inner = value[1:-1]
                if len(value) < 2 or value[-1] != '"':
                    opened = True
                elif '""' in inner and '"' not in inner.replace('""', ""):
                    self._certain = True
                elif index < len(self._wrapped):
                    self._wrapped[index] += 1
            elif opened and row.rejected and value.endswith('"'):
                self._certain = True

    @property
    def are_quoting(self) -> bool:
        """Whether a name, a doubled quotation mark, a quoted delimiter or a whole column shows that the text has quoting."""
        return self._certain or any(count >= _MOSTLY * self._rows > 2 for count in self._wrapped)
