"""Read JSON from untrusted callers in bounded memory: only strings and scalars become objects, nested values are skipped.

A body of 8 MiB can hold four million empty lists, of which a parser makes gigabytes. Here a list of texts is read string by
string; an item that is not a string becomes None in its place, so that one invalid text is one error.
"""

import codecs
import json
import re
from collections.abc import Mapping
from json.decoder import JSONDecodeError, scanstring  # type: ignore[attr-defined]
from types import MappingProxyType
from typing import Any

MAX_STEPS = 1_000_000
"""Most brackets and strings within nested values of one body that are skipped, which takes below half a second."""
MAX_FIELDS = 32
NESTED = object()
"""Placeholder for a list or an object that is not expected: no field type accepts it."""
_SPACE = re.compile(r"[ \t\n\r]*")
_SCALAR = re.compile(r"true|false|null|NaN|-?Infinity|-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_TURN = re.compile(r'[\[\]{}"]')
_BETWEEN = re.compile(r'[ \t\n\r]*,[ \t\n\r]*"')
_HALF = re.compile(r"\\u[dD][89a-fA-F]")


class NotJSON(ValueError):
    """The body is not JSON; the message has the position."""


class Unfit(ValueError):
    """The body is JSON, but not what the route expects; the message names the field."""


def read_fields(body: bytes, **lists: int) -> dict[str, Any]:
    """Read the fields of a JSON object: strings, numbers, booleans, null; `NESTED` for nested values.

    Args:
        body: UTF-8.
        lists: Most items of each field that may hold a list, such as `texts`, which is read as strings, with None for every
            other item.

    Raises:
        NotJSON: The body is not JSON.
        Unfit: It is not an object, or has too many fields or items.
    """
    scanner = _Scanner(_decoded(body))
    fields = scanner.object(lists)
    scanner.end()
    return fields


def read_lines(body: bytes, most: int) -> list[str | None]:
    """Read texts from JSON lines: each a string or an object with the field `text`; None for a line without such a string.

    Args:
        body: UTF-8; blank lines are skipped.
        most: Most lines; they are counted before any is read.

    Raises:
        NotJSON: A line is not JSON.
        Unfit: There are too many lines, or none, or none with a text and one with other fields.
    """
    lines = body.count(b"\n") + (not body.endswith(b"\n"))
    if lines > most:
        raise Unfit(f"texts: {lines:,} lines; at most {most:,} are accepted")
    texts: list[str | None] = []
    other: dict[str, Any] | None = None
    steps = MAX_STEPS
    for number, line in enumerate(_decoded(body).split("\n"), 1):
        if not line.strip():
            continue
        scanner = _Scanner(line, steps)
        try:
            value = scanner.object() if scanner.next() == "{" else scanner.value()
            scanner.end()
        except NotJSON as error:
            raise NotJSON(f"line {number}: {error}") from None
        except Unfit as error:
            raise Unfit(f"line {number}: {error}") from None
        steps = scanner.steps
        if isinstance(value, dict):
            other = other or (value if "text" not in value else None)
            value = value.get("text")
        texts.append(value if isinstance(value, str) else None)
    if not texts:
        raise Unfit(f"texts: no lines; 1 to {most:,} are accepted")
    if other and not any(texts):
        found = ", ".join(f"`{name[:50]}`" for name in list(other)[:5])
        raise Unfit(f"text: no line has this field; found {found}, expected a string or an object with `text` in each line")
    return texts


def _decoded(body: bytes) -> str:
    try:
        return body.removeprefix(codecs.BOM_UTF8).decode()
    except UnicodeDecodeError:
        pass
    try:
        # Half an emoji, not as an escape but in bytes: it spoils its own text alone.
        return body.decode("utf-8", "surrogatepass").encode("utf-8", "ignore").decode()
    except UnicodeDecodeError as error:
        raise NotJSON(f"byte {error.start} is not UTF-8") from None


class _Scanner:
    """Scan one JSON text."""

    def __init__(self, text: str, steps: int = MAX_STEPS) -> None:
        self.steps = steps
        self._text, self._at = text, 0
        # JSON can escape a lone surrogate, which UTF-8 cannot encode. It is dropped, as cleaning drops it.
        self._has_halves = "\\u" in text and _HALF.search(text) is not None

    def next(self) -> str:
        """Skip white space and return the next character; empty at the end."""
        self._at = _SPACE.match(self._text, self._at).end()  # type: ignore[union-attr]
        return self._text[self._at : self._at + 1]

    def end(self) -> None:
        """Raise if anything follows the value."""
        if self.next():
            raise self._wrong("the end")

    def object(self, lists: Mapping[str, int] = MappingProxyType({})) -> dict[str, Any]:
        """Read the object that begins here; see `read_fields`."""
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
            fields[name] = self._list(name, lists[name]) if name in lists and self.next() == "[" else self.value()
            if self._take(",}") == "}":
                break
        return fields

    def value(self) -> Any:
        """Read the value that begins here."""
        begins = self.next()
        if begins == '"':
            return self._string()
        if begins in {"[", "{"}:
            self._step_over()
            return NESTED
        scalar = _SCALAR.match(self._text, self._at)
        if scalar is None:
            raise self._wrong("a value")
        self._at = scalar.end()
        try:
            return json.loads(scalar.group())
        except ValueError:  # more digits than Python reads
            return NESTED

    def _list(self, name: str, most: int) -> list[str | None]:
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
                    raise Unfit(f"{name}[{len(items)}]: is not a string") from None
                items.append(None)
            if len(items) > most:
                raise Unfit(f"{name}: more than {most:,}, the limit of one request")
            if self._take(",]") == "]":
                return items

    def _strings(self, items: list[str | None], most: int) -> None:
        """Add the string that begins here and those that follow, at most one more than `most`: the fast path of most lists."""
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
