"""Fields that the shapes share: ids, texts, times, the client's name. Each accepts any JSON value and never raises."""

import html
import re
from collections.abc import Sequence
from typing import Any

from data.labels import own_label
from data.times import misdated, plausible, utc
from data.tweets.types import Json, Record, Rejected, Tweet

EXACT = 2**53
"""A whole number from here on may have lost digits when it went through a float."""
_ROUNDED = re.compile(r"\d(?:[.,]\d+)?[eE]\+\d+|\d[.,]\d+[eE]\d+|\d{16,}[.,]0*")
"""An id that a spreadsheet or pandas wrote as a float, in a string."""
_RETWEET = re.compile(r"RT @[A-Za-z0-9_]{1,15}: ")
"""What Twitter writes before the text of a retweet."""
_TAG = re.compile(r"<[^<>]*>")
_NO_RECORD: Record = {}


def mapping(value: Json) -> Record:
    """Return an object, or an empty one for any other value."""
    return value if isinstance(value, dict) else _NO_RECORD


def items(value: Json) -> list[Any]:
    """Return a list, or an empty one for any other value."""
    return value if isinstance(value, list) else []


def string(value: object) -> str | None:
    """Return a string without lone surrogates, which no UTF-8 can hold; None for anything else and for blank ones."""
    if not isinstance(value, str) or not value.strip():
        return None
    return whole(value)


def whole(text: str) -> str:
    """Drop lone surrogates and join pairs of halves."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "ignore")
    return text


def identity(*values: object) -> str | None:
    """Return the first id among values: a string or a whole number; None if there is none.

    Raises:
        LostDigits: There is no other than a float, of which the last digits are lost.
    """
    lost = False
    for value in values:
        if isinstance(value, str):
            if value.isdigit():
                return value
            if _ROUNDED.fullmatch(value.strip()):
                lost = True
            elif value.strip():
                return whole(value)
        elif isinstance(value, bool):
            continue
        elif isinstance(value, int):
            return _digits(value)
        elif isinstance(value, float):
            if value.is_integer() and abs(value) < EXACT:
                return str(int(value))
            lost = True
    if lost:
        raise LostDigits
    return None


def _digits(value: int) -> str | None:
    try:
        return str(value)
    except ValueError:  # more digits than Python writes
        return None


class LostDigits(ValueError):
    """An id went through a float: different messages may have got the same one."""


def maybe_id(*values: object) -> str | None:
    """Return the first id among values; None if there is none, or only one whose digits are lost."""
    try:
        return identity(*values)
    except LostDigits:
        return None


def last_part(value: object) -> object:
    """Return the number in `tag:search.twitter.com,2005:1005` and `id:twitter.com:77`."""
    return value.rsplit(":", 1)[-1] if isinstance(value, str) else value


def longest(*values: object) -> str | None:
    """Return the longest string of all values, the first of equals; None if there is none. Blank ones are returned too."""
    texts = [value for value in values if isinstance(value, str)]
    return whole(max(texts, key=len)) if texts else None


def client(source: object) -> str | None:
    """Return the name in a source: of `<a href="…">Twitter for iPhone</a>` the words."""
    found = string(source)
    if found is not None and found.startswith("&lt;"):
        found = html.unescape(found)
    if found is None or "<" not in found:
        return found
    return words(found).strip() or None


def words(markup: str) -> str:
    """Return HTML without its tags and entities, in time linear in its length."""
    text = _TAG.sub("", markup)
    try:
        return html.unescape(text)
    except ValueError:  # an entity of more digits than Python reads
        return text


def without_retweet(text: str) -> str | None:
    """Return the text after `RT @name: `; None for a text that does not begin so."""
    found = _RETWEET.match(text)
    return text[found.end() :] if found else None


def earlier(history: Json, own: str) -> tuple[str, ...]:
    """Return the ids before `own` in an edit history, oldest first; numbers grow with time, whatever their order."""
    ids = [found for found in (maybe_id(value) for value in items(history)) if found]
    if all(found.isdecimal() and len(found) < 40 for found in ids):
        ids.sort(key=int)
    return tuple(dict.fromkeys(ids[: ids.index(own)] if own in ids else ids))


def tweet(
    ids: Sequence[object],
    text: str | None,
    *,
    created: object = None,
    edited: Sequence[object] = (),
    author: Sequence[object] = (),
    lang: object = None,
    source: object = None,
    is_share: bool = False,
    history: Json = None,
    stated_label: object = None,
) -> Tweet | Rejected:
    """Check the fields of one message.

    Args:
        ids: Where its id may be; the first that holds one counts.
        text: From `longest`.
        created: When it was written, in any format of `data.times`.
        edited: When it was changed last; the first that is plausible, and not before `created`, counts.
        author: Where its author's id may be.
        lang: Its language.
        source: The client's name, or HTML around it.
        is_share: It shares another author's text.
        history: All ids of the message's edits, oldest first.
        stated_label: The label of a plain record.
    """
    try:
        own = identity(*ids)
    except LostDigits:
        return Rejected("id is a float")
    if own is None:
        return Rejected("no id")
    if text is None:
        return Rejected("no text", own)
    at = None
    if created is not None:
        at = utc(created)
        if at is None and (not isinstance(created, str) or created.strip()):
            return Rejected("created_at unreadable", own)
        if at is not None and (wrong := misdated(at)):
            return Rejected(f"created_at {wrong}", own)
    changes = (found for value in edited if value is not None and (found := plausible(value)))
    changed = next((found for found in changes if at is None or found >= at), None)
    replaces = earlier(history, own) if history else ()
    named, language, writer = client(source), string(lang), maybe_id(*author)
    return Tweet(own, text, writer, at, changed, language, named, is_share, replaces, own_label(stated_label))
