"""Which texts can be classified. API, stream, Silver, `score` and Lambda all call `unreadable`."""

from enum import StrEnum

from data.cleaning import is_blank

MAX_TEXT_CHARS = 10_000
"""Maximum length of an event and of a record in the lakehouse."""
MAX_DOCUMENT_CHARS = 100_000
"""Maximum length of a text over HTTP or in a file; a text longer than the model input is classified in windows."""


class Unreadable(StrEnum):
    """Why a text cannot be classified; Silver and `score` report the values."""

    NO_TEXT = "no text"
    TOO_LONG = "text too long"
    NULL_BYTES = "null bytes"
    BLANK = "blank text"


_WORDS = {Unreadable.NO_TEXT: "is not a string", Unreadable.NULL_BYTES: "holds null bytes", Unreadable.BLANK: "is blank"}


def unreadable(text: object, max_chars: int, *, cleaned: str | None = None) -> Unreadable | None:
    """Return why a text cannot be classified, or None if it can.

    Args:
        text: Any value; one that is not a string gives `NO_TEXT`.
        max_chars: Maximum characters of the raw text.
        cleaned: The result of `clean`, if known, so that the text is not cleaned twice.
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
    """Return the reason as it follows the name of a field in a message: `is blank`."""
    if reason is Unreadable.TOO_LONG:
        return f"has {len(str(text)):,} characters; at most {max_chars:,} are classified"
    return _WORDS[reason]
