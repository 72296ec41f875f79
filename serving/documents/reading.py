"""The text of a document's file: refused by size and format, decoded, and cut into blocks."""

import codecs
import re
from dataclasses import dataclass
from pathlib import Path

from data.errors import MalformedData
from data.tables.encodings import detect_encoding
from data.tables.streams import StoredFile
from serving.documents.headings import form_named
from serving.documents.pages import Block, page_blocks, plain_blocks

MAX_DOCUMENT_BYTES = 20 * 2**20
FORMATS = "HTML, iXBRL or plain text"
PAGE_SUFFIXES = (".htm", ".html", ".xhtml")
_SAVE = "Open it in the program that made it and save it as HTML or plain text."
_MAGIC = {
    b"%PDF-": ("a PDF", _SAVE),
    b"PK\x03\x04": ("a ZIP file, such as DOCX, XLSX or EPUB", "Unpack it, or save its text as HTML or plain text."),
    b"\x1f\x8b": ("a gzip file", "Unpack it: gunzip."),
    b"7z\xbc\xaf\x27\x1c": ("a 7z file", "Unpack it."),
    b"Rar!": ("a RAR file", "Unpack it."),
    b"\xd0\xcf\x11\xe0": ("an old or an encrypted Office file", _SAVE),
    b"{\\rtf": ("RTF", _SAVE),
    b"\x89PNG": ("a picture (PNG)", "Classify its text."),
    b"\xff\xd8\xff": ("a picture (JPEG)", "Classify its text."),
    b"GIF8": ("a picture (GIF)", "Classify its text."),
}
_DECLARED = re.compile(rb"""<\?xml[^>]{0,200}encoding=["']([\w.:-]{1,40})|<meta[^>]{0,300}charset=["']?([\w.:-]{1,40})""", re.I)
_DECLARED_WITHIN = 4_096
_CONTROL = bytes(byte for byte in range(32) if byte not in b"\t\n\v\f\r\x1a\x1b")
_SAMPLE = 2**16
_MARKS = (codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_FIRST_DOCUMENT = re.compile(r"<DOCUMENT>\s*<TYPE>([^\s<]+)")
_FIRST_WITHIN = 2**16
_PAGE = re.compile(
    r"\s*(?:<\?xml[^>]*>\s*)?(?:<!--.{0,2000}?-->\s*)*<(?:!doctype\s+html|html|head|body|div|p|table|title)\b", re.I | re.S
)


@dataclass(frozen=True)
class Text:
    """The text of a document."""

    blocks: list[Block]
    form: str | None
    """Of a filing, such as 10-K; None: it is none."""


def read_text(path: Path, name: str, *, is_page: bool = False, charset: str | None = None) -> Text:
    """Read the text of a document.

    Args:
        path: The file.
        name: As the user knows it, for messages.
        is_page: Whether it is known to be HTML; if not, its beginning shows it.
        charset: The encoding that its server declared.

    Raises:
        MalformedData: It is empty, too large, of another format, in no known encoding, nested too deep, or without text.
    """
    require_size(path.stat().st_size, name)
    raw = path.read_bytes()
    require_text(raw, name)
    text = _decoded(path, raw, name, charset)
    del raw
    form = None
    if first := _FIRST_DOCUMENT.search(text, 0, _FIRST_WITHIN):
        form, text = form_named(first[1]), _first_document(text, first.end())
    found = page_blocks(text, name) if is_page or _PAGE.match(text) else plain_blocks(text)
    if not found.blocks:
        raise MalformedData(
            f"{name} has no text.",
            found="no sentence outside scripts, navigation, hidden elements and tables of numbers",
            expected="a filing, an article or a plain text",
            remedy="If a browser shows text, scripts make it: save the page there as HTML or plain text.",
        )
    return Text(found.blocks, form or found.form)


def _first_document(submission: str, start: int) -> str:
    """Return the first document in the file of a whole submission to EDGAR; exhibits and pictures follow it."""
    start = max(start, submission.find("<TEXT>", start) + len("<TEXT>"))
    end = submission.find("</TEXT>", start)
    return submission[start : end if end >= 0 else None]


def require_size(size: int, name: str) -> None:
    """Require that a document is neither empty nor larger than `MAX_DOCUMENT_BYTES`.

    Raises:
        MalformedData: It is.
    """
    if not size:
        raise MalformedData(f"{name} is empty.", expected=FORMATS)
    if size > MAX_DOCUMENT_BYTES:
        raise MalformedData(
            f"{name} is too large.",
            found=f"{size:,} bytes",
            expected=f"at most {MAX_DOCUMENT_BYTES:,} bytes",
            remedy="Split it, or save its text alone, without pictures and exhibits.",
        )


def require_text(start: bytes, name: str) -> None:
    """Require that bytes begin as text does.

    Raises:
        MalformedData: They are of another format; the error names it.
    """
    for magic, (format_name, remedy) in _MAGIC.items():
        if start.startswith(magic):
            raise MalformedData(f"{name} is not text.", found=format_name, expected=FORMATS, remedy=remedy)
    sample = start[:_SAMPLE]
    if not sample.startswith(_MARKS) and not _is_wide(sample):
        controls = len(sample) - len(sample.translate(None, _CONTROL))
        if controls > 0.01 * len(sample):
            found = f"binary data: {controls:,} control characters in the first {len(sample):,} bytes"
            raise MalformedData(f"{name} is not text.", found=found, expected=FORMATS, remedy=_SAVE)


def _is_wide(sample: bytes) -> bool:
    """Whether bytes may be UTF-16 without a mark: every other one is zero in mostly Latin text."""
    halves = sample[::2].count(0), sample[1::2].count(0)
    return max(halves) > 0.4 * (len(sample) // 2) and min(halves) < 0.1 * max(halves)


def _decoded(path: Path, raw: bytes, name: str, charset: str | None) -> str:
    """Decode as UTF-8 where all bytes are, else as the server or the page declares, else as all bytes show."""
    declared = _DECLARED.search(raw, 0, _DECLARED_WITHIN)
    in_page = next((part for part in declared.groups() if part), b"").decode() if declared else None
    for given in ("utf-8", charset, in_page) if not raw.startswith(_MARKS) else ():
        try:
            encoding = codecs.lookup(given).name if given else "utf-16"
            if encoding.startswith("utf-16"):  # without a mark: the order of its bytes has to be found out
                continue
            # As browsers do: what is called Latin-1 has the quotation marks of Windows.
            text = raw.decode("cp1252" if encoding == "iso8859-1" else encoding)
        except (LookupError, UnicodeDecodeError):
            continue  # no such encoding, or another one than declared
        if "\0" not in text[:_SAMPLE]:
            return text
    try:
        return raw.decode(detect_encoding(StoredFile(path, path.suffix)))
    except MalformedData as error:
        message = error.message.replace(str(path), name)
        raise MalformedData(message, found=error.found, expected=error.expected, remedy=error.remedy) from None
    except UnicodeError as error:
        remedy = "Convert it: iconv -f ENCODING -t UTF-8."
        raise MalformedData(f"The encoding of {name} is not known.", found=error, expected="UTF-8", remedy=remedy) from None
