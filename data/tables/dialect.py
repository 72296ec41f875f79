"""Detect how a text with delimiters is cut: delimiter and header from its start, quotation marks from all of it."""

import itertools
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from data.errors import MalformedData
from data.names import did_you_mean
from data.tables.delimited import Dialect, Parsed, parse
from data.tables.encodings import detect_encoding
from data.tables.read_as import DELIMITERS, NO_DELIMITER, Quoting, ReadAs, delimiter_name
from data.tables.streams import StoredFile, lines_of, open_bytes
from data.tables.survey import Survey, survey

SAMPLE_LINES = 1000
_SAMPLE_CHARS = 2**22
MAX_REJECTED = 0.5
"""With a larger share of rows that do not fit, the dialect is wrong, not the rows."""
STRAY = 0.05
"""A text is read without quoting if at most this share of its rows does not fit."""
_MOSTLY = 0.9
_SEP = re.compile(r'"?sep=(.)"?\s*', re.IGNORECASE)
"""The first line that sets the delimiter for Excel."""
_SET_IT = "Quote the fields that hold the delimiter, or set delimiter, quoting, encoding or names."


@dataclass(frozen=True)
class TextLayout:
    """How a text is read, and what reading all of it gave."""

    encoding: str
    dialect: Dialect
    names: tuple[str, ...]
    has_header: bool
    skipped_lines: int
    survey: Survey

    @property
    def shown(self) -> str:
        """The dialect for a message."""
        return f"{delimiter_name(self.dialect.delimiter)}, quoting {self.dialect.quoting}, {self.encoding}"


@dataclass(frozen=True)
class _Start:
    """The start of a text, and what is set."""

    file: StoredFile
    encoding: str
    lines: list[str]
    read_as: ReadAs
    required: Sequence[str]

    @property
    def set_delimiter(self) -> str | None:
        """The delimiter that the first line sets for Excel; that line is no row."""
        found = _SEP.fullmatch(self.lines[0]) if self.lines else None
        return found[1] if found else None

    @property
    def skipped_lines(self) -> int:
        """Lines before the header."""
        return int(self.set_delimiter is not None)

    def header(self, delimiter: str, quoting: Quoting) -> tuple[str, ...]:
        """Return the names of the columns; none if the header has broken quotes."""
        if self.read_as.names:
            return self.read_as.names
        return tuple(name.strip() for name in self._first(delimiter, quoting))

    def _first(self, delimiter: str, quoting: Quoting) -> list[str]:
        rows = parse(self.lines[self.skipped_lines :], Dialect(delimiter, quoting))
        return next((row.fields for row in rows if row.fields or row.rejected), list[str]())

    def has_spaces(self, delimiter: str) -> bool:
        """Return whether a space follows each delimiter of the header."""
        if self.read_as.names:
            return False
        names = self._first(delimiter, "none")[1:]
        return delimiter != "\t" and bool(names) and all(name.startswith(" ") for name in names)

    def fit(self, delimiter: str) -> tuple[float, int]:
        """Return the share of the first rows that have as many fields as the header, with or without quoting; and how many."""
        shares: list[tuple[float, int]] = []
        for quoting in ("quoted", "none"):
            width = len(self.header(delimiter, quoting))
            rows = [row for row in self.rows(delimiter, quoting, width) if row.fields or row.rejected]
            fitting = sum(not row.rejected or _ends_empty(row.fields, width) for row in rows)
            shares.append((fitting / max(len(rows), 1), width))
        return max(shares)

    def rows(self, delimiter: str, quoting: Quoting, width: int) -> Iterator[Parsed]:
        """Return the parsed rows of the start, without the header."""
        dialect = Dialect(delimiter, quoting, width, has_spaces=self.has_spaces(delimiter))
        rows = parse(self.lines[self.skipped_lines :], dialect)
        return itertools.islice(rows, 0 if self.read_as.names else 1, None)


def _ends_empty(fields: list[str], width: int) -> bool:
    return len(fields) == width + 1 and not fields[-1]


def detect_layout(file: StoredFile, read_as: ReadAs, required: Sequence[str], fix: str) -> TextLayout:
    """Detect what is not set. Reads the file two to four times, in bounded memory.

    Args:
        file: A text with delimiters.
        read_as: What is set.
        required: Columns that the file must have.
        fix: The remedy for a missing column.

    Raises:
        MalformedData: A column is missing, the file can be read in two ways, most rows do not fit, or a quote is not closed.
    """
    encoding = read_as.encoding or detect_encoding(file)
    with open_bytes(file) as (binary, _):
        lines, size = list[str](), 0
        for line in itertools.islice(lines_of(file, binary, encoding), SAMPLE_LINES):
            lines.append(line)
            size += len(line)
            if size > _SAMPLE_CHARS:
                break
    start = _Start(file, encoding, lines, read_as, required)
    if not any(line.strip("\r\n") for line in lines[start.skipped_lines :]):
        raise MalformedData(f"{file.path} has no rows.", expected="a header and at least one row")
    delimiter = _delimiter(start, fix)
    layout = _quoting(start, delimiter)
    _require_names(start, layout)
    _require_fitting(start, layout)
    return layout


def _delimiter(start: _Start, fix: str) -> str:
    read_as, required = start.read_as, start.required
    if read_as.delimiter:
        candidates = [read_as.delimiter]
    elif start.set_delimiter:
        candidates = [start.set_delimiter]
    elif read_as.names and len(read_as.names) == 1:
        candidates = [NO_DELIMITER]
    else:
        usual = "\t" if start.file.kind == ".tsv" else ","
        candidates = sorted(DELIMITERS, key=lambda one: one != usual)
    fits = {one: start.fit(one) for one in candidates}
    by_fit = sorted(candidates, key=lambda one: (fits[one][1] > 1, *fits[one]), reverse=True)
    names = {one: set(start.header(one, "quoted")) | set(start.header(one, "none")) for one in candidates}
    having = [one for one in by_fit if names[one].issuperset(required)]
    if read_as.names and len(having) > 1 and fits[having[0]] == fits[having[1]] and fits[having[0]][0] > 0:
        raise MalformedData(
            f"{start.file.path} can be read in two ways.",
            found=f"rows of {len(read_as.names)} fields with {delimiter_name(having[0])} and with {delimiter_name(having[1])}",
            remedy="Set the delimiter.",
        )
    if having:
        return having[0] if fits[having[0]][1] > 1 or read_as.delimiter else _no_delimiter(start)
    best = by_fit[0]
    found = start.header(best, "quoted") or start.header(best, "none")
    missing = [name for name in required if name not in found]
    others = [name for name in found if name not in start.required]
    close = did_you_mean(missing[0], others) if len(found) > 1 else None
    raise MalformedData(
        f"{start.file.path} has no column {', '.join(map(repr, missing))}.",
        found=f"{', '.join(found)} (delimiter: {delimiter_name(best)})"[:500],
        expected=", ".join(required),
        remedy=f"{close or 'If the first row is no header, set names.'} {fix}",
    )


def _no_delimiter(start: _Start) -> str:
    """Return that each line is one text, unless the rows seem to have several columns."""
    name = start.header(NO_DELIMITER, "none")[0]
    for one, called in DELIMITERS.items():
        rows = [row for row in start.rows(one, "quoted", 0) if row.fields]
        widths = Counter(len(row.fields) for row in rows)
        width, count = widths.most_common(1)[0] if rows else (1, 0)
        if one in name or (width > 1 and count > _MOSTLY * len(rows)):
            raise MalformedData(
                f"{start.file.path} has only one column, {name!r}.",
                found=f"{count:,} of the first {len(rows):,} rows with {width} fields, if the delimiter is {called}",
                remedy="Name all columns in the header; or, if each line is one text, set the delimiter to none.",
            )
    return NO_DELIMITER


def _layout(start: _Start, delimiter: str, quoting: Quoting) -> TextLayout:
    """Read all rows with one way of quoting."""
    names = start.header(delimiter, quoting)
    rows = [row.fields for row in start.rows(delimiter, quoting, len(names)) if row.fields]
    trailing = sum(_ends_empty(fields, len(names)) for fields in rows)
    has_trailing = trailing > _MOSTLY * len(rows)
    dialect = Dialect(delimiter, quoting, len(names), has_trailing, start.has_spaces(delimiter))
    with open_bytes(start.file) as (binary, _):
        lines = itertools.islice(lines_of(start.file, binary, start.encoding), start.skipped_lines, None)
        counts = survey(lines, dialect, has_header=start.read_as.names is None)
    return TextLayout(start.encoding, dialect, names, start.read_as.names is None, start.skipped_lines, counts)


def _quoting(start: _Start, delimiter: str) -> TextLayout:
    """Choose how quotation marks are read: the way in which all rows fit."""
    if start.read_as.quoting:
        return _layout(start, delimiter, start.read_as.quoting)
    quoted = _layout(start, delimiter, "quoted")
    if not quoted.survey.has_quotes or (quoted.survey.is_clean and not quoted.survey.has_breaks):
        return quoted
    plain = _layout(start, delimiter, "none")
    is_plain = set(plain.names).issuperset(start.required) and not plain.survey.is_quoted and len(plain.names) > 1
    if quoted.survey.is_clean:
        if not is_plain or plain.survey.rejected:
            return quoted
        if delimiter == "\t":
            return plain  # files with tabs are mostly written without quoting
        raise _two_ways(start, quoted, plain)
    escaped = _layout(start, delimiter, "escaped") if quoted.survey.has_escapes else None
    if escaped and escaped.survey.is_clean:
        return escaped
    if is_plain and plain.survey.rejected_share <= STRAY and not (quoted.survey.is_cut and delimiter != "\t"):
        return plain
    if broken := quoted.survey.torn or quoted.survey.swallowed:
        raise MalformedData(
            f"{start.file.path} is not CSV.",
            found=f"{broken.detail}, after line {broken.line - 1:,}",
            expected="quoted fields in which each quotation mark is doubled, or no quoting",
            remedy="Correct the line; if quotation marks are characters like others, set quoting to none.",
        )
    return quoted


def _two_ways(start: _Start, quoted: TextLayout, plain: TextLayout) -> MalformedData:
    line = quoted.survey.first_break
    return MalformedData(
        f"{start.file.path} can be read in two ways.",
        found=f"{quoted.survey.rows:,} rows if the quotation mark in line {line:,} starts a field of several lines, "
        f"{plain.survey.rows:,} if it is a character like others",
        remedy="Set quoting to quoted or to none.",
    )


def _require_names(start: _Start, layout: TextLayout) -> None:
    """Require distinct names, and names that are not also in the first row."""
    path, names = start.file.path, layout.names
    if twice := [name for name in start.required if names.count(name) > 1]:
        raise MalformedData(f"{path} has two columns {twice[0]!r}.", found=", ".join(names), remedy="Rename one of them.")
    if start.read_as.names and layout.survey.first_row == list(names):
        raise MalformedData(f"{path} has a header.", found=", ".join(names), remedy="Leave the names of the columns out.")


def _require_fitting(start: _Start, layout: TextLayout) -> None:
    counts = layout.survey
    if not counts.rows and not counts.rejected:
        raise MalformedData(f"{start.file.path} has no rows.", expected="a header and at least one row")
    if counts.rejected_share > MAX_REJECTED:
        raise MalformedData(
            f"{start.file.path} cannot be read: {counts.rejected:,} of {counts.rows + counts.rejected:,} rows do not fit.",
            found=f"{counts.first_rejected}, read as {layout.shown}",
            expected=f"{len(layout.names)} fields: {', '.join(layout.names)}"[:500],
            remedy=_SET_IT,
        )
