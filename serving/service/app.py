"""The routes of the API, as an ASGI app that BentoML mounts at `/`."""

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Match, Route
from starlette.types import Scope

from data.settings import PathSettings
from serving.service import metrics
from serving.service.admission import KEY, Gate
from serving.service.alert_routes import alert_routes
from serving.service.answering import Answering
from serving.service.batching import Overloaded
from serving.service.feedback_route import feedback_route
from serving.service.job_routes import accept, job_routes
from serving.service.jobs import JobsUnavailable, work_forever
from serving.service.keys import Key
from serving.service.live import live_route
from serving.service.openapi import openapi
from serving.service.pages import page_route
from serving.service.panels import panel_routes
from serving.service.problems import Refused
from serving.service.reading import parse_body, read_body
from serving.service.schemas import MAX_BODY_BYTES, MAX_WEIGHT, WEIGHT_CHARS, ClassifyRequest, all_refused, weight
from serving.service.warehouse import Warehouse

Found = TypeVar("Found")

# The page's script and style come from BentoML's own package: nothing is fetched from elsewhere.
_DOCS = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Groundswell API</title>
<link rel="stylesheet" href="/static_content/swagger-ui.css"></head><body><div id="docs"></div>
<script src="/static_content/swagger-ui-bundle.js"></script>
<script>SwaggerUIBundle({url: "/openapi.json", dom_id: "#docs"})</script></body></html>"""


def create_app(answering: Callable[[], Answering], gate: Callable[[], Gate]) -> Starlette:
    """The app. `/` is the dashboard; BentoML's own page there calls an analytics host.

    Args:
        answering: What answers; called for each request, since the model is loaded after the app is made.
        gate: Counts what a key uses.
    """

    async def classify(request: Request) -> Response:
        key: Key | None = request.scope.get(KEY)
        try:
            wanted = parse_body(ClassifyRequest, await read_body(request, MAX_BODY_BYTES))
            if reason := all_refused(wanted.texts):
                raise Refused(422, f"texts[0]: {reason}")
        except Refused:
            if key is not None:
                await gate().spend(key, 1)  # a stream of nonsense is not free
            raise
        weights = sum(map(weight, wanted.texts))
        headers = {} if key is None else await gate().spend(key, weights)
        here = answering()
        if "respond-async" in request.headers.get("prefer", ""):
            return await accept(here.jobs, request, wanted.texts, wanted.detail)
        if weights > MAX_WEIGHT:
            most = f"at most {MAX_WEIGHT * WEIGHT_CHARS:,} characters are judged at once"
            raise Refused(413, f"The texts are too long together: {most}. Send `Prefer: respond-async`, or fewer.")
        try:
            entries = await unless_gone(request, here.entries(wanted.texts, wanted.detail))
        except Overloaded as error:
            metrics.SHED.labels(cause=error.cause).inc()
            raise Refused(503, "Too many texts wait; come back later.", retry_after_s=error.retry_after_s) from error
        metrics.REQUEST_TEXTS.labels(domain=wanted.domain or "none").inc(len(entries))
        body = json.dumps({"model_version": here.version, "predictions": entries}, separators=(",", ":"))
        return Response(body, headers=headers, media_type="application/json")

    async def show_model(_: Request) -> JSONResponse:
        return JSONResponse(answering().describe())

    async def show_openapi(_: Request) -> JSONResponse:
        return JSONResponse(openapi())

    async def show_docs(_: Request) -> HTMLResponse:
        return HTMLResponse(_DOCS)

    async def unknown(request: Request) -> Response:
        for route in request.app.routes:
            if isinstance(route, Route) and route.matches(request.scope)[0] == Match.PARTIAL:
                allowed = ", ".join(sorted(route.methods or ()))
                raise Refused(405, f"{request.method} is not for this road, but {allowed}.", headers={"allow": allowed})
        raise Refused(404, f"There is no {request.url.path[:200]!r} here; /docs shows what there is.")

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        """Jobs are judged from the start: a process before this one may have left some."""
        worker = asyncio.create_task(work_forever(answering().jobs, answering().entries))
        yield
        worker.cancel()
        await asyncio.wait([worker])

    var = PathSettings.load().var
    warehouse = Warehouse(var)
    return Starlette(
        routes=[
            Route("/v1/classify", classify, methods=["POST"]),
            *job_routes(lambda: answering().jobs),
            feedback_route(answering),
            Route("/v1/model", show_model),
            *panel_routes(var, warehouse, answering),
            *alert_routes(var, warehouse),
            live_route(warehouse.ask, lambda scope: gate().admit(scope)),
            Route("/openapi.json", show_openapi),
            Route("/docs", show_docs),
            page_route(),
            _AllElse("/{rest:path}", unknown, methods=["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]),
        ],
        exception_handlers={
            Refused: _refused,
            HTTPException: _refused,
            ClientDisconnect: lambda *_: Response(status_code=499),  # nobody reads it
            JobsUnavailable: lambda *_: Refused(503, "Jobs cannot be taken down or read now.", retry_after_s=5).response(),
            sqlite3.Error: lambda *_: Refused(503, "Feedback cannot be kept now.", retry_after_s=5).response(),
            Exception: lambda *_: Refused(500, "The server's log says more.").response(),
        },
        lifespan=lifespan,
    )


class _AllElse(Route):
    """Every road that is not ours, but the files of the documentation page, which BentoML serves behind our app."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        return (Match.NONE, {}) if scope["path"].startswith("/static_content/") else super().matches(scope)


async def _refused(_: Request, error: Exception) -> Response:
    if isinstance(error, HTTPException):
        error = Refused(error.status_code, error.detail, headers=dict(error.headers or {}))
    assert isinstance(error, Refused)
    return error.response()


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
