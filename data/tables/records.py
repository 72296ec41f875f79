"""Objects of a JSON array, or of lines of JSON; in bounded memory."""

import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from data.errors import MalformedData
from data.tables.streams import MAX_LINE_CHARS, StoredFile, decoded, lines_of

_BLOCK = 2**16
_BETWEEN = re.compile(r"[\s,]*")
_BLANK = " \t\r\n\ufeff"
"""Around an object; byte order marks stay within files that were appended to one another."""
_DECODER = json.JSONDecoder()
_LONG_NUMBERS = json.JSONDecoder(parse_int=str)


def is_array(lines: Iterator[str]) -> bool:
    """Return whether the first character that is not white space opens an array."""
    return next((line.lstrip()[0] for line in lines if line.strip()), "") == "["


def _decode(text: str, at: int) -> tuple[Any, int]:
    """Decode the value that begins at `at`; return it and its end. A number of more digits than Python reads stays text."""
    try:
        return _DECODER.raw_decode(text, at)
    except json.JSONDecodeError:
        raise
    except ValueError:
        return _LONG_NUMBERS.raw_decode(text, at)


def _loads(line: str) -> Any:
    row, end = _decode(line, 0)
    if rest := line[end:].strip(_BLANK):
        raise ValueError(f"{rest[:60]!r} after the object")
    return row


def line_objects(file: StoredFile, binary: BinaryIO, encoding: str) -> Iterator[dict[str, Any]]:
    """Yield the object of each line; blank lines are left out.

    Raises:
        MalformedData: A line is not a JSON object.
    """
    for number, line in enumerate(lines_of(file, binary, encoding), start=1):
        if not (line := line.strip(_BLANK)):
            continue
        try:
            row = _loads(line)
        except (ValueError, RecursionError) as error:
            raise MalformedData(
                f"{file.path} is not JSONL: line {number:,} cannot be read.",
                found=f"{error}: {line[:60]!r}",
                expected="one object a line, or an array of objects",
            ) from error
        if not isinstance(row, dict):
            raise MalformedData(f"{file.path} line {number:,} is not an object.", found=line[:60])
        yield row


def array_objects(path: Path, binary: BinaryIO, encoding: str) -> Iterator[dict[str, Any]]:
    """Yield the objects of a JSON array.

    Raises:
        MalformedData: An item is not an object, the array is not closed, or something follows it.
    """
    with decoded(path, binary, encoding) as text:
        yield from _items(path, text)


def _items(path: Path, text: io.TextIOWrapper) -> Iterator[dict[str, Any]]:
    buffer, number = text.read(_BLOCK).lstrip()[1:], 0
    at = 0
    while True:
        between = _BETWEEN.match(buffer, at)
        assert between is not None  # it matches nothing, too
        at = between.end()
        if at == len(buffer):
            buffer, at = text.read(_BLOCK), 0
            if not buffer:
                raise MalformedData(f"{path} is truncated.", found=f"no end of the array after item {number:,}")
            continue
        if buffer[at] == "]":
            if rest := (buffer[at + 1 :] + text.read(_BLOCK)).strip():
                raise MalformedData(f"{path} is not a JSON array.", found=f"{rest[:60]!r} after its end")
            return
        if buffer[at] != "{":
            raise MalformedData(f"{path} item {number + 1:,} is not an object.", found=buffer[at : at + 60])
        try:
            row, at = _decode(buffer, at)
        except RecursionError as error:
            raise MalformedData(f"{path} item {number + 1:,} cannot be read.", found=error) from error
        except ValueError as error:
            # The object may continue in the next block; blocks double, so that a long object is not read again and again.
            more = text.read(max(_BLOCK, len(buffer) - at))
            if not more or len(buffer) - at > MAX_LINE_CHARS:
                start = buffer[at : at + 60]
                raise MalformedData(f"{path} item {number + 1:,} cannot be read.", found=f"{error.args[0]}: {start!r}") from error
            buffer, at = buffer[at:] + more, 0
            continue
        number += 1
        yield row
