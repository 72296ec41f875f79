"""Checks a request before the batcher sees it, and turns every error into problem details (RFC 9457)."""

import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from pydantic import ValidationError

from serving.service.schemas import MAX_BODY_BYTES, ClassifyRequest, Problem

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

ROUTE = "/v1/classify"
RETRY_AFTER_S = 1
_TITLES = {
    400: "Not JSON",
    413: "Body too large",
    422: "Not as described",
    500: "The model failed",
    503: "Overloaded",
}


class ProblemDetails:
    """ASGI middleware around `POST /v1/classify`; everything else passes untouched.

    One bad text refuses the whole request with 422, naming its index. A 200 gets the model version around the answers.
    """

    def __init__(self, app: Any, version: Callable[[], str]) -> None:
        self.app, self.version = app, version

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] != "http" or scope["path"] != ROUTE or scope["method"] != "POST":
            await self.app(scope, receive, send)
            return
        body = await _read(receive)
        if body is None:
            return  # the caller hung up
        refused = check(body)
        if refused is not None:
            await _answer(send, *refused)
            return
        await self._forward(scope, body, receive, send)

    async def _forward(self, scope: MutableMapping[str, Any], body: bytes, receive: Receive, send: Send) -> None:
        given = False

        async def replay() -> Message:
            nonlocal given
            if given:
                return await receive()
            given = True
            return {"type": "http.request", "body": body, "more_body": False}

        status, parts = 500, []

        async def collect(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            elif message["type"] == "http.response.body":
                parts.append(message.get("body", b""))

        await self.app(scope, replay, collect)
        if status == 200:
            version = json.dumps(self.version()).encode()
            await _send(send, 200, b'{"model_version":' + version + b',"predictions":' + b"".join(parts) + b"}")
        else:
            known = status if status in _TITLES else 500
            detail = "Too many requests wait; come back later." if known == 503 else "The server's log says more."
            await _answer(send, known, detail)


def check(body: bytes) -> tuple[int, str] | None:
    """Status and detail of what is wrong with a body, or None."""
    if len(body) > MAX_BODY_BYTES:
        return 413, f"The body is over {MAX_BODY_BYTES:,} bytes."
    try:
        ClassifyRequest.model_validate_json(body)
    except ValidationError as error:
        first = error.errors()[0]
        if first["type"] == "json_invalid":
            return 400, f"The body is not JSON: {first.get('ctx', {}).get('error', first['msg'])}"
        where = "".join(f"[{part}]" if isinstance(part, int) else part for part in first["loc"]) or "body"
        return 422, f"{where}: {first['msg']}"
    return None


async def _read(receive: Receive) -> bytes | None:
    """The body, or just over the limit of it; None when the caller hung up."""
    parts, size = [], 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if not message.get("more_body") or size > MAX_BODY_BYTES:
            return b"".join(parts)


async def _answer(send: Send, status: int, detail: str) -> None:
    problem = Problem(title=_TITLES[status], status=status, detail=detail)
    extra = [(b"retry-after", str(RETRY_AFTER_S).encode())] if status == 503 else []
    await _send(send, status, problem.model_dump_json().encode(), b"application/problem+json", extra)


async def _send(
    send: Send, status: int, body: bytes, kind: bytes = b"application/json", extra: list[tuple[bytes, bytes]] | None = None
) -> None:
    headers = [(b"content-type", kind), (b"content-length", str(len(body)).encode()), *(extra or [])]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
