"""The routes of the API, as an ASGI app that BentoML mounts at `/`."""

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Match, Route

from data.errors import StreamError
from data.settings import PathSettings
from serving.service import metrics, problems
from serving.service.admission import Gate
from serving.service.answering import Answering
from serving.service.batching import Overloaded
from serving.service.disk import NoSpace
from serving.service.docs_page import POLICY, docs_page
from serving.service.feedback_route import feedback_route
from serving.service.job_routes import accept, job_routes
from serving.service.jobs import JobsUnavailable, work_forever
from serving.service.json_reader import Unfit, read_fields
from serving.service.keys import KEY, Key
from serving.service.live import live_route
from serving.service.openapi import openapi
from serving.service.pages import page_route
from serving.service.panels import panel_routes
from serving.service.problems import Kind, Refused
from serving.service.reading import fit, read_request
from serving.service.schemas import (
    MAX_BODY_BYTES,
    MAX_TEXTS,
    MAX_WEIGHT,
    WEIGHT_CHARS,
    ClassifyRequest,
    JobRequest,
    all_refused,
    weight,
)
from serving.service.warehouse import Warehouse

Found = TypeVar("Found")


def create_app(answering: Callable[[], Answering], gate: Callable[[], Gate]) -> Starlette:
    """The app. `/` is the dashboard; BentoML's own page there calls an analytics host.

    Args:
        answering: What answers; called for each request, since the model is loaded after the app is made.
        gate: Counts what a key uses.
    """

    async def classify(request: Request) -> Response:
        key: Key | None = request.scope.get(KEY)
        try:
            wanted = await read_request(request, MAX_BODY_BYTES, _parse)
        except Refused:
            if key is not None:
                await gate().spend(key, 1)  # a stream of nonsense is not free
            raise
        weights = sum(map(weight, wanted.texts))
        headers = {} if key is None else await gate().spend(key, weights)
        here = answering()
        if "respond-async" in request.headers.get("prefer", ""):
            return await accept(here.jobs, request, JobRequest(texts=wanted.texts, detail=wanted.detail))
        if weights > MAX_WEIGHT:
            most = f"at most {MAX_WEIGHT * WEIGHT_CHARS:,} characters are classified at once"
            detail = f"The texts are too long together: {most}. Send fewer, or set `Prefer: respond-async`."
            raise Refused(problems.TOO_LARGE, detail)
        try:
            entries = await unless_gone(request, here.entries(wanted.texts, wanted.detail))
        except Overloaded as error:
            metrics.SHED.labels(cause=error.cause).inc()
            detail = "Too many texts wait; come back later."
            raise Refused(problems.OVERLOADED, detail, retry_after_s=error.retry_after_s) from error
        metrics.REQUEST_TEXTS.labels(domain=wanted.domain or "none").inc(len(entries))
        body = json.dumps({"model_version": here.version, "predictions": entries}, separators=(",", ":"))
        return Response(body, headers=headers, media_type="application/json")

    async def show_model(_: Request) -> JSONResponse:
        return JSONResponse(answering().describe())

    async def show_metrics(_: Request) -> Response:
        return Response(await asyncio.to_thread(generate_latest), media_type=CONTENT_TYPE_LATEST)

    async def show_openapi(_: Request) -> JSONResponse:
        return JSONResponse(openapi(gate().asks_for_keys))

    async def show_docs(request: Request) -> HTMLResponse:
        page = docs_page(str(request.base_url).rstrip("/"), keys=gate().asks_for_keys)
        return HTMLResponse(page, headers={"content-security-policy": POLICY})

    async def unknown(request: Request) -> Response:
        for route in request.app.routes:
            if isinstance(route, Route) and route.matches(request.scope)[0] == Match.PARTIAL:
                allowed = ", ".join(sorted(route.methods or ()))
                detail = f"{request.method} is not allowed here; use {allowed}."
                raise Refused(problems.METHOD_NOT_ALLOWED, detail, headers={"allow": allowed})
        raise Refused(problems.NOT_FOUND, f"There is no {request.url.path[:200]!r} here; see /docs.")

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        """Jobs are classified from the start: a process before this one may have left some."""
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
            live_route(var, warehouse.ask, lambda scope: gate().still_admits(scope)),
            Route("/metrics", show_metrics),
            Route("/openapi.json", show_openapi),
            Route("/docs", show_docs),
            page_route(),
            Route("/{rest:path}", unknown, methods=["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]),
        ],
        exception_handlers={
            Refused: _refused,
            HTTPException: _refused,
            ClientDisconnect: lambda *_: Response(status_code=499),  # nobody reads it
            JobsUnavailable: _answer(problems.NO_JOBS, "Jobs cannot be read or written now.", 5),
            sqlite3.Error: _answer(problems.NO_FEEDBACK, "Feedback cannot be saved now.", 5),
            Exception: _answer(problems.FAILED, "The service's log has the error under this response's X-Request-Id."),
            NoSpace: _no_space,
            StreamError: _stream_unknown,
        },
        lifespan=lifespan,
    )


def _parse(body: bytes) -> ClassifyRequest:
    wanted = fit(ClassifyRequest, read_fields(body, texts=MAX_TEXTS))
    if reason := all_refused(wanted.texts):
        raise Unfit(f"texts[0]: {reason}")
    return wanted


def _answer(kind: Kind, detail: str, retry_after_s: int | None = None) -> Callable[..., Response]:
    return lambda *_: Refused(kind, detail, retry_after_s=retry_after_s).response()


def _no_space(_: Request, error: Exception) -> Response:
    metrics.SHED.labels(cause="disk").inc()
    return Refused(problems.NO_DISK, str(error), retry_after_s=60).response()


def _stream_unknown(_: Request, error: Exception) -> Response:
    assert isinstance(error, StreamError)
    return Refused(problems.STREAM_UNKNOWN, f"{error.message} {error.remedy or ''}".strip(), retry_after_s=5).response()


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
