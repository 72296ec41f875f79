"""Bytes to events; what is no event becomes a dead letter with its reason."""

import base64
import json

from pydantic import ValidationError

from data.contracts import Event


def decode(value: bytes | None) -> Event | str:
    """The event in a message, or the reason why it is none."""
    if value is None:
        return "empty message"
    try:
        return Event.model_validate_json(value)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        return f"{where}: {first['msg']}" if where else first["msg"]


def dead_letter(value: bytes | None, *, reason: str, topic: str, partition: int, offset: int) -> bytes:
    """A message for the dead-letter topic: reason, where it came from, and its bytes as they were (base64)."""
    original = base64.b64encode(value or b"").decode("ascii")
    return json.dumps(
        {"reason": reason, "topic": topic, "partition": partition, "offset": offset, "original_base64": original}
    ).encode()
