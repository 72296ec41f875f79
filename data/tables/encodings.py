"""Detect the encoding of a text file from all of its bytes, in bounded memory."""

import codecs
import re
from dataclasses import dataclass, field
from typing import BinaryIO

from data.errors import MalformedData
from data.tables.streams import MAX_LINE_CHARS, StoredFile, open_bytes, require_text

BLOCK = 2**20
_BOMS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",  # before UTF-16, whose mark it begins with
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_UNDEFINED = b"\x81\x8d\x8f\x90\x9d"
"""Bytes that cp1252 gives no character."""
_HIGH = [byte for byte in range(0x80, 0x100) if byte not in _UNDEFINED]
_LETTERS = bytes(byte for byte in _HIGH if bytes([byte]).decode("cp1252").isalpha())
_WITHIN_WORDS = "€…‘’“”•–—™\xad\xb7".encode("cp1252")
_SIGNS = bytes(byte for byte in _HIGH if byte not in _LETTERS and byte not in _WITHIN_WORDS)
_FOREIGN = re.compile(b"[%b]|[%b]{3}|[A-Za-z%b][%b][A-Za-z%b]" % (_UNDEFINED, _LETTERS, _LETTERS, re.escape(_SIGNS), _LETTERS))
"""What is not Western European in cp1252: an unknown byte, three letters outside ASCII in a row, or a sign within a word."""
MIXED = 0.05
"""With a larger share of UTF-8 among the lines outside ASCII, the others are errors in a UTF-8 file; with a larger share of
`_FOREIGN` lines, the file is not cp1252."""
_SAMPLE = 2**16


@dataclass
class _Lines:
    """What was counted over the lines outside ASCII."""

    utf_8: int = 0
    other: int = 0
    foreign: int = 0
    """Those of `other` that are not Western European."""
    first: str = ""
    """The first byte that is not UTF-8, and its line."""
    sample: bytearray = field(default_factory=bytearray)


def detect_encoding(file: StoredFile) -> str:
    """Return the encoding: by its byte order mark, else UTF-8 or UTF-16, else cp1252 where the text can be Western European.

    Raises:
        MalformedData: It is none of these, or UTF-8 with wrong bytes; the error gives the line and the remedy.
    """
    with open_bytes(file) as (binary, _):
        start = binary.read(BLOCK)
        require_text(file, start)
        for mark, name in _BOMS.items():
            if start.startswith(mark):
                return name
        if (wide := _utf_16(start)) is not None:
            return wide
    with open_bytes(file) as (binary, _):
        counts = _count(binary)
    if not counts.other:
        return "utf-8"
    if counts.utf_8 > MIXED * counts.other:
        raise MalformedData(
            f"{file.path} is not UTF-8.",
            found=f"{counts.first}, while {counts.utf_8:,} of {counts.utf_8 + counts.other:,} lines outside ASCII are UTF-8",
            expected="one encoding for the whole file",
            remedy="Correct these lines.",
        )
    if counts.foreign > MIXED * counts.other:
        raise MalformedData(
            f"The encoding of {file.path} is not known.",
            found=f"{counts.first}: neither UTF-8 nor Western European (cp1252){_guess(bytes(counts.sample))}",
            remedy="Set its encoding, or convert it: iconv -f ENCODING -t UTF-8.",
        )
    return "cp1252"


def _utf_16(start: bytes) -> str | None:
    """Return the byte order of UTF-16 without a mark: the one that gives mostly other characters than NUL, and more of ASCII.

    Zero bytes alone do not suffice: an emoji has one too, in the other place.
    """
    if start.count(0) < 0.05 * len(start):
        return None
    ascii_chars = {name: _ascii_chars(start, name) for name in ("utf-16-le", "utf-16-be")}
    name, least = max(ascii_chars, key=ascii_chars.__getitem__), min(ascii_chars.values())
    return name if ascii_chars[name] > 2 * least else None


def _ascii_chars(start: bytes, name: str) -> int:
    """Return the number of ASCII characters in the text that these bytes are in that encoding; 0 where they are none."""
    try:
        text = codecs.getincrementaldecoder(name)("surrogatepass").decode(start)
    except UnicodeDecodeError:
        return 0
    counted = sum(char < "\x7f" for char in text)
    nul = text.count("\0")
    return 0 if nul > 0.1 * len(text) else counted - nul


def _count(binary: BinaryIO) -> _Lines:
    counts, number = _Lines(), 0
    while line := binary.readline(MAX_LINE_CHARS):
        number += 1
        if line.isascii():
            continue
        try:
            line.decode("utf-8", "surrogatepass")
            counts.utf_8 += 1
        except UnicodeDecodeError as error:
            counts.first = counts.first or f"byte 0x{line[error.start]:02x} in line {number:,}"
            counts.other += 1
            counts.foreign += _FOREIGN.search(line) is not None
            counts.sample += line[: max(0, _SAMPLE - len(counts.sample))]
    return counts


def _guess(sample: bytes) -> str:
    from charset_normalizer import from_bytes

    best = from_bytes(sample).best()
    return f"; it may be {best.encoding}" if best is not None else ""
