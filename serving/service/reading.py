"""A request's body, read within bounds, and what is wrong with it said in one line."""

from typing import TypeVar

from pydantic import BaseModel, ValidationError
from starlette.requests import Request

from serving.service.problems import Refused

Model = TypeVar("Model", bound=BaseModel)


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


def parse_body(model: type[Model], body: bytes) -> Model:
    """A request from its body.

    Raises:
        Refused: 400 when it is not JSON, 422 when it is not as described.
    """
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        first = error.errors()[0]
    if first["type"] == "json_invalid":
        raise Refused(400, f"The body is not JSON: {first.get('ctx', {}).get('error', first['msg'])}")
    where = "".join(f"[{part}]" if isinstance(part, int) else part for part in first["loc"]) or "body"
    raise Refused(422, f"{where}: {first['msg']}")
