"""JSON from strangers, read without making objects of it: strings become objects, everything else is stepped over.

A body of 8 MiB can hold four million empty lists, which a parser makes gigabytes of. Here a list of texts is read string by
string; an item that is no string is None in its place, so that one bad text is one error.
"""

import json
import re
from json.decoder import JSONDecodeError, scanstring  # type: ignore[attr-defined]
from typing import Any

MAX_STEPS = 1_000_000
"""Brackets and strings within nested values of one body that are stepped over, which takes below half a second."""
MAX_FIELDS = 32
NESTED = object()
"""In the place of a list or an object where none is wanted: no type accepts it."""
_SPACE = re.compile(r"[ \t\n\r]*")
_SCALAR = re.compile(r"true|false|null|-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_TURN = re.compile(r'[\[\]{}"]')
_BETWEEN = re.compile(r'[ \t\n\r]*,[ \t\n\r]*"')
_HALF = re.compile(r"\\u[dD][89a-fA-F]")


class NotJSON(ValueError):
    """The body is not JSON; says where."""


class Unfit(ValueError):
    """The body is JSON, and not what the route takes; names the field."""


def read_fields(body: bytes, *, texts: int = 0) -> dict[str, Any]:
    """The fields of a JSON object: strings, numbers, booleans, null; `NESTED` for what is nested.

    Args:
        body: UTF-8.
        texts: Most items of a field `texts` that holds a list: it is read as strings, with None for every other item.

    Raises:
        NotJSON: It cannot be read.
        Unfit: It is no object, or has more fields or items than may be.
    """
    scanner = _Scanner(_decoded(body))
    fields = scanner.object(texts)
    scanner.end()
    return fields


def read_lines(body: bytes, most: int) -> list[str | None]:
    """Texts of JSON lines: each line a string or an object with the field `text`; None for a line that has no such string.

    Args:
        body: UTF-8; blank lines are left out.
        most: Lines. They are counted before one of them is read.

    Raises:
        NotJSON: A line cannot be read.
        Unfit: There are more lines than may be, or none.
    """
    lines = body.count(b"\n") + (not body.endswith(b"\n"))
    if lines > most:
        raise Unfit(f"texts: {lines:,} lines; at most {most:,} are accepted")
    found: list[str | None] = []
    steps = MAX_STEPS
    for number, line in enumerate(_decoded(body).split("\n"), 1):
        if not line.strip():
            continue
        scanner = _Scanner(line, steps)
        try:
            value = scanner.object().get("text") if scanner.next() == "{" else scanner.value()
            scanner.end()
        except NotJSON as error:
            raise NotJSON(f"line {number}: {error}") from None
        except Unfit as error:
            raise Unfit(f"line {number}: {error}") from None
        steps = scanner.steps
        found.append(value if isinstance(value, str) else None)
    if not found:
        raise Unfit(f"texts: no lines; 1 to {most:,} are accepted")
    return found


def _decoded(body: bytes) -> str:
    try:
        return body.decode()
    except UnicodeDecodeError as error:
        raise NotJSON(f"byte {error.start} is not UTF-8") from None


class _Scanner:
    """Steps through one JSON text."""

    def __init__(self, text: str, steps: int = MAX_STEPS) -> None:
        self.steps = steps
        self._text, self._at = text, 0
        # JSON can name a lone half of a character, which UTF-8 cannot hold. It is dropped, as cleaning drops it.
        self._has_halves = "\\u" in text and _HALF.search(text) is not None

    def next(self) -> str:
        """The character at which the next value or mark begins; empty at the end."""
        self._at = _SPACE.match(self._text, self._at).end()  # type: ignore[union-attr]
        return self._text[self._at : self._at + 1]

    def end(self) -> None:
        """Refuse what follows the value."""
        if self.next():
            raise self._wrong("the end")

    def object(self, texts: int = 0) -> dict[str, Any]:
        """The object that begins here; see `read_fields`."""
        if self.next() != "{":
            self.value()
            raise Unfit("body: is not an object")
        fields: dict[str, Any] = {}
        self._at += 1
        if self.next() == "}":
            self._at += 1
            return fields
        for count in range(MAX_FIELDS + 1):
            if count == MAX_FIELDS:
                raise Unfit(f"body: more than {MAX_FIELDS} fields")
            if self.next() != '"':
                raise self._wrong("the name of a field")
            name = self._string()
            self._take(":")
            fields[name] = self._texts(texts) if texts and name == "texts" and self.next() == "[" else self.value()
            if self._take(",}") == "}":
                break
        return fields

    def value(self) -> Any:
        """The value that begins here."""
        begins = self.next()
        if begins == '"':
            return self._string()
        if begins in {"[", "{"}:
            self._step_over()
            return NESTED
        found = _SCALAR.match(self._text, self._at)
        if found is None:
            raise self._wrong("a value")
        self._at = found.end()
        try:
            return json.loads(found.group())
        except ValueError:  # more digits than Python reads
            return NESTED

    def _texts(self, most: int) -> list[str | None]:
        items: list[str | None] = []
        self._at += 1
        if self.next() == "]":
            self._at += 1
            return items
        while True:
            if self.next() == '"':
                self._strings(items, most)
            else:
                try:
                    self.value()
                except Unfit:
                    raise Unfit(f"texts[{len(items)}]: is not a string") from None
                items.append(None)
            if len(items) > most:
                raise Unfit(f"texts: more than {most:,}, the most of one request")
            if self._take(",]") == "]":
                return items

    def _strings(self, items: list[str | None], most: int) -> None:
        """Add the string that begins here and those that follow it, until there is one too many: what most lists are made of."""
        items.append(self._string())
        text, between = self._text, _BETWEEN.match
        while len(items) <= most and (comma := between(text, self._at)) is not None:
            self._at = comma.end() - 1
            items.append(self._string())

    def _string(self) -> str:
        try:
            found, self._at = scanstring(self._text, self._at + 1)
        except JSONDecodeError as error:
            raise NotJSON(f"{error.msg}, at character {error.pos}") from None
        return found.encode("utf-8", "ignore").decode() if self._has_halves else found

    def _step_over(self) -> None:
        depth = 0
        while True:
            self.steps -= 1
            if self.steps < 0:
                raise Unfit("body: too many nested values")
            turn = _TURN.search(self._text, self._at)
            if turn is None:
                self._at = len(self._text)
                raise self._wrong("the end of a list or object")
            if turn.group() == '"':
                self._at = turn.start()
                self._string()
                continue
            self._at = turn.end()
            depth += 1 if turn.group() in "[{" else -1
            if depth == 0:
                return

    def _take(self, marks: str) -> str:
        found = self.next()
        if not found or found not in marks:
            raise self._wrong(" or ".join(repr(mark) for mark in marks))
        self._at += 1
        return found

    def _wrong(self, expected: str) -> NotJSON:
        here = self._text[self._at : self._at + 20]
        return NotJSON(f"found {here!r} at character {self._at}, expected {expected}" if here else f"ends before {expected}")
