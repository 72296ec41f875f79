"""Decodes bytes to events; an invalid message becomes a dead letter with its reason."""

import base64
import json
from datetime import datetime

from pydantic import ValidationError

from data.contracts import Event

OLDEST = 0.0
"""1970: the warehouse's buckets begin there."""


def decode(value: bytes | None, *, arrived_s: float | None = None, max_ahead_s: float = 300.0) -> Event | str:
    """Return the event in a message, or the reason why the message is invalid.

    Args:
        value: The message's bytes.
        arrived_s: Its timestamp at the broker, seconds since 1970 (this machine's clock is not used). None: no date is too late.
        max_ahead_s: Seconds by which its date may be later than its arrival.
    """
    if value is None:
        return "empty message"
    try:
        event = Event.model_validate_json(value)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        return f"{where}: {first['msg']}" if where else first["msg"]
    if event.created_at is not None and (wrong := _misdated(event.created_at, arrived_s, max_ahead_s)):
        return wrong
    return event


def _misdated(created_at: datetime, arrived_s: float | None, max_ahead_s: float) -> str | None:
    seconds = created_at.timestamp()
    if seconds < OLDEST:
        return f"created_at: {created_at:%Y-%m-%d} is before 1970"
    if arrived_s is not None and seconds > arrived_s + max_ahead_s:
        return f"created_at: {seconds - arrived_s:,.0f} s after its arrival; at most {max_ahead_s:g} s are allowed"
    return None


def dead_letter(value: bytes | None, *, reason: str, topic: str, partition: int, offset: int) -> bytes:
    """Return a message for the dead-letter topic: reason, origin, and the original bytes (base64)."""
    original = base64.b64encode(value or b"").decode("ascii")
    return json.dumps(
        {"reason": reason, "topic": topic, "partition": partition, "offset": offset, "original_base64": original}
    ).encode()
