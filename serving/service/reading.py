"""Read a request's body within limits: bytes are counted as they arrive, and a large body is parsed off the event loop."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.requests import Request

from serving.service import problems
from serving.service.json_reader import NESTED, NotJSON, Unfit
from serving.service.off_loop import off_loop
from serving.service.problems import Refused

Model = TypeVar("Model", bound=BaseModel)
Result = TypeVar("Result")

JSON = "application/json"
MAX_HELD_BYTES = 64 * 2**20
"""Limit of all bodies together that are being read or parsed at one time."""
_held = 0
_FORMS = (
    ("a number ", re.compile(r"Input should be (?=greater|less)")),
    ("", re.compile(r"\w+ should be ")),
    ("one with ", re.compile(r"\w+ should have ")),
)
"""How pydantic's messages begin, with what we write instead."""
_DOCS = "/docs describes the route"
_SHOWN = 60
"""Most characters of a value in a message."""


async def read_request(
    request: Request, most: int, parse: Callable[[bytes], Result] | Mapping[str, Callable[[bytes], Result]]
) -> Result:
    """Read and parse the body of a request.

    Args:
        request: The request.
        most: Largest body, in bytes.
        parse: Parses the body, in a thread where it is large; may raise `NotJSON`, `Unfit`, `Refused`. One function for
            JSON, or one for each content type.

    Raises:
        Refused: 415 for another content type, 413 as soon as the body is too large, 503 when too many bodies are read at once,
            400 when it is not JSON, 422 when it is not what the route expects.
        ClientDisconnect: The client disconnected.
    """
    parsers = parse if isinstance(parse, Mapping) else {JSON: parse}
    given = request.headers.get("content-type", "")
    parser = parsers.get(given.partition(";")[0].strip().lower())
    if parser is None:
        # A page of another site can send other types without a CORS preflight.
        detail = f"Content type {given[:100]!r} not supported; send `Content-Type: {'` or `'.join(parsers)}`."
        raise Refused(problems.NOT_JSON_TYPE, detail)
    global _held  # noqa: PLW0603 - one count for all requests of the process
    parts, size = [], 0
    try:
        async for part in request.stream():
            parts.append(part)
            size += len(part)
            _held += len(part)
            if size > most:
                raise Refused(problems.TOO_LARGE, f"The body has more than {most:,} bytes.")
            if _held > MAX_HELD_BYTES:
                raise Refused(problems.OVERLOADED, "Too many large requests are being read; retry later.", retry_after_s=1)
        body = b"".join(parts)
        parts.clear()
        return await off_loop(size, parser, body)
    except NotJSON as error:
        raise Refused(problems.INVALID_JSON, f"The body is not JSON: {error}") from None
    except Unfit as error:
        raise Refused(problems.INVALID, str(error)) from None
    finally:
        _held -= size


def fit(model: type[Model], fields: dict[str, Any]) -> Model:
    """Validate the fields of a request.

    Raises:
        Unfit: A field is missing, unknown or invalid.
    """
    try:
        return model.model_validate(fields)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
    raise Unfit(explain(first["loc"], first))


def explain(where: Sequence[str | int], error: Mapping[str, Any]) -> str:
    """Write a validation error for the caller: the field, what was found, what was expected, what to do.

    Args:
        where: Names and positions that lead to the value; empty: the body itself.
        error: Of pydantic, with `type`, `msg` and `input`.
    """
    name = "".join(f"[{part}]" if isinstance(part, int) else f".{part[:_SHOWN]}" for part in where).lstrip(".") or "body"
    message: str = error["msg"].partition(" after validation")[0]
    if error["type"] == "missing":
        return f"{name}: found nothing, expected a value. Add it; {_DOCS}."
    if error["type"] == "extra_forbidden":
        return f"{name}: found a name that the route does not know, expected one of those in /docs. Remove it."
    if error["type"] == "value_error":  # of a validator of ours, which has both
        return f"{name}: {message.removeprefix('Value error, ')}. Correct it; {_DOCS}."
    expected = next((begin + message[match.end() :] for begin, form in _FORMS if (match := form.match(message))), None)
    return f"{name}: found {_shown(error['input'])}, expected {expected or f'another value: {message}'}. Correct it; {_DOCS}."


def _shown(value: Any) -> str:
    if value is NESTED:
        return "a list or an object"
    if isinstance(value, list):
        return f"a list of {len(value):,} items"
    shown = repr(value)
    return shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}…"
