"""Read a request's body within limits: bytes are counted as they arrive, and a large body is parsed off the event loop."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.requests import Request

from serving.service import problems
from serving.service.json_reader import NotJSON, Unfit
from serving.service.off_loop import off_loop
from serving.service.problems import Refused

Model = TypeVar("Model", bound=BaseModel)
Result = TypeVar("Result")

JSON = "application/json"
MAX_HELD_BYTES = 64 * 2**20
"""Limit of all bodies together that are being read or parsed at one time."""
_held = 0


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
        first = error.errors(include_url=False, include_input=False)[0]
    where = "".join(f"[{part}]" if isinstance(part, int) else str(part) for part in first["loc"]) or "body"
    raise Unfit(f"{where}: {first['msg']}")
