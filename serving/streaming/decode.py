"""Decodes bytes to events; an invalid message becomes a dead letter with its reason."""

import base64
import json
from datetime import datetime
from typing import Any

from pydantic import ValidationError

from data.contracts import MAX_ID_CHARS, Event
from data.times import MAX_AHEAD_S, misdated
from data.tweets import Notice, Rejected, Tweet, is_raw, parse, read
from data.tweets.fields import client, items, maybe_id, whole, without_retweet

_BLANK = b" \t\r\n\xef\xbb\xbf"
UNNAMED = "tweets"
"""The source of a raw tweet that names no client."""


def decode(value: bytes | None, *, arrived_s: float | None = None, max_ahead_s: float = MAX_AHEAD_S) -> Event | Notice | str:
    """Return the event or the notice in a message, or the reason why the message is invalid. A raw tweet becomes an event.

    Args:
        value: The message's bytes.
        arrived_s: Its timestamp at the broker, seconds since 1970 (this machine's clock is not used). None: no date is too late.
        max_ahead_s: Seconds by which its date may be later than its arrival.
    """
    if value is None or not value.strip(_BLANK):
        return "empty message"
    try:
        event: Event | Notice | str = Event.model_validate_json(value)
        if event.model_extra and is_raw(event.model_extra):
            event = _decode_record(value) or event
        elif "<" in event.source or event.text.startswith("RT @"):
            event = _as_read(event)
    except ValidationError as error:
        event = _again(value, error)
    if isinstance(event, Event) and event.created_at is not None:
        return _misdated(event.created_at, arrived_s, max_ahead_s) or event
    return event


def _again(value: bytes, error: ValidationError) -> Event | Notice | str:
    """Decode what is no event at first sight: a raw tweet, or an event with a lone surrogate; else return the error's reason."""
    try:
        return _decode_record(value) or _reason(error)
    except ValidationError as second:
        return _reason(second)


def _as_read(event: Event) -> Event:
    """Return an event with what the reader of records finds in its source and text."""
    is_share = event.is_share or without_retweet(event.text) is not None
    return event.model_copy(update={"source": client(event.source) or UNNAMED, "is_share": is_share})


def _decode_record(value: bytes) -> Event | Notice | str | None:
    """Read a record as the lakehouse does; None where it is no JSON object.

    Raises:
        ValidationError: It is no event.
    """
    record = parse(value)
    if not isinstance(record, dict):
        return None
    found = read(record)
    if not is_raw(record) and not isinstance(found[0], Notice) and found[0] != Rejected("not a message"):
        return _as_read(Event.model_validate(_lenient(record, found[0])))
    if len(found) > 1:
        return f"a page of {len(found)} messages; send each by itself, as `groundswell stream send` does"
    match found[0]:
        case Rejected(reason):
            return reason
        case Notice() as notice:
            return notice
        case tweet:
            return Event(
                id=tweet.message_id,
                text=tweet.text,
                source=(tweet.source or UNNAMED)[:MAX_ID_CHARS],
                created_at=tweet.created_at,
                lang=tweet.lang,
                author_id=tweet.author,
                replaces=tweet.replaces,
                is_share=tweet.is_share,
            )


def _lenient(record: dict[str, Any], found: Tweet | Rejected) -> dict[str, Any]:
    """Return the fields of an event without halves of characters, and the optional ones as the reader of records has them."""
    fields = {whole(name): whole(field) if isinstance(field, str) else field for name, field in record.items()}
    optional = {"lang": found.lang, "author_id": found.author} if isinstance(found, Tweet) else {}
    replaces = [one for one in map(maybe_id, items(record.get("replaces"))) if one]
    return {**fields, **optional, "replaces": replaces}


def _reason(error: ValidationError) -> str:
    first = error.errors(include_input=False, include_url=False)[0]
    where = ".".join(map(str, first["loc"]))
    message = first["msg"].removeprefix("Value error, ")  # pydantic's own words before ours
    return f"{where}: {message}" if where else message


def _misdated(created_at: datetime, arrived_s: float | None, max_ahead_s: float) -> str | None:
    if wrong := misdated(created_at):
        return f"created_at: {created_at:%Y-%m-%d} is {wrong}"
    seconds = created_at.timestamp()
    if arrived_s is not None and seconds > arrived_s + max_ahead_s:
        return f"created_at: {seconds - arrived_s:,.0f} s after its arrival; at most {max_ahead_s:g} s are allowed"
    return None


def dead_letter(value: bytes | None, *, reason: str, topic: str, partition: int, offset: int) -> bytes:
    """Return a message for the dead-letter topic: reason, origin, and the original bytes (base64)."""
    original = base64.b64encode(value or b"").decode("ascii")
    return json.dumps(
        {"reason": reason, "topic": topic, "partition": partition, "offset": offset, "original_base64": original}
    ).encode()
