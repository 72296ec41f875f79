"""The classes of our FastAPI routes: bodies are read within limits, and the busiest route goes without FastAPI's layers."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute
from pydantic import BaseModel

from serving.service.json_reader import read_fields
from serving.service.reading import fit, read_request

Respond = Callable[[Request], Awaitable[Response]]


class DirectRoute(APIRoute):
    """A route whose function gets the request and returns the response; FastAPI only documents it.

    For `POST /v1/classify`: resolving parameters and dependencies takes 35 µs of CPU time per request.
    """

    def get_route_handler(self) -> Any:
        """Return the function itself; see FastAPI."""
        return self.endpoint


class _Read(Request):
    """A request whose body has been read and validated."""

    def __init__(self, request: Request, body: BaseModel) -> None:
        super().__init__(request.scope, request.receive)
        self._read = body

    async def body(self) -> Any:
        return self._read

    async def json(self) -> Any:  # FastAPI asks for this where the content type is JSON
        return self._read


def bounded(most: int, parsers: Mapping[str, Callable[[bytes], BaseModel]] | None = None) -> type[APIRoute]:
    """Make the class of routes whose bodies have at most `most` bytes.

    FastAPI by itself reads a body of any size and parses it on the event loop. These routes use `read_request`, and FastAPI gets
    the model, which its own validation passes on as it is.

    Args:
        most: Largest body, in bytes.
        parsers: One for each content type; None: JSON with the fields of the model that the route's function declares.
    """

    class Bounded(APIRoute):
        def get_route_handler(self) -> Any:
            respond: Respond = super().get_route_handler()
            if self.body_field is None:
                return respond
            model: type[BaseModel] = self.body_field.field_info.annotation  # type: ignore[assignment]

            async def read_and_respond(request: Request) -> Response:
                parse = parsers or (lambda body: fit(model, read_fields(body)))
                return await respond(_Read(request, await read_request(request, most, parse)))

            return read_and_respond

    return Bounded
