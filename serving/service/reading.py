"""A request's body, read within bounds: its bytes are counted before they are kept, and parsed off the event loop where many."""

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
"""Of all bodies that are being read or parsed at one time."""
_held = 0


async def read_request(
    request: Request, most: int, parse: Callable[[bytes], Result] | Mapping[str, Callable[[bytes], Result]]
) -> Result:
    """The body of a request, parsed.

    Args:
        request: Whose.
        most: Bytes.
        parse: What to make of the body, in a thread where it is large; may raise `NotJSON`, `Unfit`, `Refused`. One function for
            JSON, or one for each content type.

    Raises:
        Refused: 415 for another content type, 413, without reading on, when the body is too large, 503 when too many are read at
            once, 400 when it is not JSON, 422 when it is not what the route takes.
        ClientDisconnect: The caller hung up.
    """
    parsers = parse if isinstance(parse, Mapping) else {JSON: parse}
    given = request.headers.get("content-type", "")
    parser = parsers.get(given.partition(";")[0].strip().lower())
    if parser is None:
        # A page of another site can send other types without asking first.
        detail = f"Found {given[:100]!r}; send `Content-Type: {'` or `'.join(parsers)}`."
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
                raise Refused(problems.OVERLOADED, "Too many large requests are being read.", retry_after_s=1)
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
    """A request made of its fields.

    Raises:
        Unfit: A field is missing, unknown, or not as described.
    """
    try:
        return model.model_validate(fields)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
    where = "".join(f"[{part}]" if isinstance(part, int) else str(part) for part in first["loc"]) or "body"
    raise Unfit(f"{where}: {first['msg']}")
