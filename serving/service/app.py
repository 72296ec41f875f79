"""The routes of the API, as an ASGI app that BentoML mounts at `/`."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from data.labels import LABELS
from serving.classifier import Classification
from serving.service import metrics
from serving.service.admission import KEY, Gate
from serving.service.answering import Answering
from serving.service.batching import Overloaded
from serving.service.keys import Key
from serving.service.problems import Refused
from serving.service.schemas import MAX_BODY_BYTES, ClassifyRequest, openapi, refusal

Found = TypeVar("Found")

# The page's script and style come from BentoML's own package: nothing is fetched from elsewhere.
_DOCS = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Groundswell API</title>
<link rel="stylesheet" href="/static_content/swagger-ui.css"></head><body><div id="docs"></div>
<script src="/static_content/swagger-ui-bundle.js"></script>
<script>SwaggerUIBundle({url: "/openapi.json", dom_id: "#docs"})</script></body></html>"""


def create_app(answering: Callable[[], Answering], gate: Callable[[], Gate]) -> Starlette:
    """The app; `/` leads to `/docs`, since BentoML's own page there calls an analytics host.

    Args:
        answering: What answers; called for each request, since the model is loaded after the app is made.
        gate: Counts what a key uses.
    """

    async def classify(request: Request) -> Response:
        wanted = parse(await read_body(request))
        reasons = [refusal(text) for text in wanted.texts]
        if all(reasons):
            raise Refused(422, f"texts[0]: {reasons[0]}")
        key: Key | None = request.scope.get(KEY)
        headers = {} if key is None else await gate().spend(key, len(wanted.texts))
        here = answering()
        try:
            answers = iter(
                await unless_gone(request, here.judge([t for t, bad in zip(wanted.texts, reasons, strict=True) if not bad]))
            )
        except Overloaded as error:
            metrics.SHED.labels(cause=error.cause).inc()
            raise Refused(503, "Too many texts wait; come back later.", retry_after_s=error.retry_after_s) from error
        entries = [{"error": bad} if bad else entry(next(answers), wanted.detail) for bad in reasons]
        metrics.REQUEST_TEXTS.labels(domain=wanted.domain or "none").inc(len(entries))
        body = json.dumps({"model_version": here.version, "predictions": entries}, separators=(",", ":"))
        return Response(body, headers=headers, media_type="application/json")

    async def show_model(_: Request) -> JSONResponse:
        return JSONResponse(answering().about)

    async def show_openapi(_: Request) -> JSONResponse:
        return JSONResponse(openapi())

    async def show_docs(_: Request) -> HTMLResponse:
        return HTMLResponse(_DOCS)

    async def to_docs(_: Request) -> RedirectResponse:
        return RedirectResponse("/docs")

    return Starlette(
        routes=[
            Route("/v1/classify", classify, methods=["POST"]),
            Route("/v1/model", show_model),
            Route("/openapi.json", show_openapi),
            Route("/docs", show_docs),
            Route("/", to_docs),
        ],
        exception_handlers={
            Refused: _refused,
            HTTPException: _refused,
            ClientDisconnect: lambda *_: Response(status_code=499),  # nobody reads it
            Exception: lambda *_: Refused(500, "The server's log says more.").response(),
        },
    )


async def _refused(_: Request, error: Exception) -> Response:
    if isinstance(error, HTTPException):
        error = Refused(error.status_code, error.detail, headers=dict(error.headers or {}))
    assert isinstance(error, Refused)
    return error.response()


def entry(answer: Classification, detail: bool) -> dict[str, Any]:
    """One answer as it is sent."""
    found: dict[str, Any] = {"label": answer.label, "confidence": answer.confidence}
    if detail:
        found["probabilities"] = dict(zip(LABELS, answer.probabilities, strict=True))
    return found


def parse(body: bytes) -> ClassifyRequest:
    """A request from its body.

    Raises:
        Refused: 400 when it is not JSON, 422 when it is not as described.
    """
    try:
        return ClassifyRequest.model_validate_json(body)
    except ValidationError as error:
        first = error.errors()[0]
        if first["type"] == "json_invalid":
            raise Refused(400, f"The body is not JSON: {first.get('ctx', {}).get('error', first['msg'])}") from None
        where = "".join(f"[{part}]" if isinstance(part, int) else part for part in first["loc"]) or "body"
        raise Refused(422, f"{where}: {first['msg']}") from None


async def read_body(request: Request) -> bytes:
    """The body.

    Raises:
        Refused: 413, without reading on, when it is too large.
        ClientDisconnect: The caller hung up.
    """
    parts, size = [], 0
    async for part in request.stream():
        parts.append(part)
        size += len(part)
        if size > MAX_BODY_BYTES:
            raise Refused(413, f"The body is over {MAX_BODY_BYTES:,} bytes.")
    return b"".join(parts)


async def unless_gone(request: Request, work: Awaitable[Found]) -> Found:
    """Wait for work; cancel it when the caller hangs up, so that its place in the queue is free.

    Raises:
        ClientDisconnect: The caller hung up.
    """
    task, gone = asyncio.ensure_future(work), asyncio.ensure_future(_gone(request))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientDisconnect
        return task.result()
    finally:
        task.cancel()
        gone.cancel()


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
