"""A request's body, read within bounds, and what is wrong with it said in one line."""

from pydantic import ValidationError
from starlette.requests import Request

from serving.service.problems import Refused


async def read_body(request: Request, most: int) -> bytes:
    """The body.

    Args:
        request: Whose.
        most: Bytes.

    Raises:
        Refused: 413, without reading on, when it is too large.
        ClientDisconnect: The caller hung up.
    """
    parts, size = [], 0
    async for part in request.stream():
        parts.append(part)
        size += len(part)
        if size > most:
            raise Refused(413, f"The body is over {most:,} bytes.")
    return b"".join(parts)


def refuse_invalid(error: ValidationError) -> Refused:
    """400 when a body is not JSON, 422 when it is not as described."""
    first = error.errors()[0]
    if first["type"] == "json_invalid":
        return Refused(400, f"The body is not JSON: {first.get('ctx', {}).get('error', first['msg'])}")
    where = "".join(f"[{part}]" if isinstance(part, int) else part for part in first["loc"]) or "body"
    return Refused(422, f"{where}: {first['msg']}")
