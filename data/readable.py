"""Which texts can be classified. API, stream, Silver, `score` and Lambda all ask this one function."""

from enum import StrEnum

from data.cleaning import is_blank

MAX_TEXT_CHARS = 10_000
"""Of an event, and of a record of the lakehouse."""
MAX_DOCUMENT_CHARS = 100_000
"""Of a text over HTTP or in a file: longer ones than the model reads are classified by windows."""


class Unreadable(StrEnum):
    """Why a text cannot be classified; the values are what Silver and `score` report."""

    NO_TEXT = "no text"
    TOO_LONG = "text too long"
    NULL_BYTES = "null bytes"
    BLANK = "blank text"


_WORDS = {Unreadable.NO_TEXT: "is not a string", Unreadable.NULL_BYTES: "holds null bytes", Unreadable.BLANK: "is blank"}


def unreadable(text: object, max_chars: int, *, cleaned: str | None = None) -> Unreadable | None:
    """Say why a text cannot be classified, or None where it can.

    Args:
        text: Anything; what is not a string is no text.
        max_chars: Most characters of the raw text.
        cleaned: What `clean` made of it, where that is known, so that it is not cleaned twice.
    """
    if not isinstance(text, str):
        return Unreadable.NO_TEXT
    if len(text) > max_chars:
        return Unreadable.TOO_LONG
    if "\x00" in text:
        return Unreadable.NULL_BYTES
    blank = is_blank(text) if cleaned is None else not cleaned
    return Unreadable.BLANK if blank else None


def explain(reason: Unreadable, text: object, max_chars: int) -> str:
    """The reason as a caller reads it after the name of a field: `is blank`."""
    if reason is Unreadable.TOO_LONG:
        return f"has {len(str(text)):,} characters; at most {max_chars:,} are classified"
    return _WORDS[reason]
