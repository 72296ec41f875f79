"""The routes of the API, as an ASGI app that BentoML mounts at `/`."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Match, Route

from data.errors import StreamError
from data.settings import PathSettings
from serving.service import metrics, problems
from serving.service.classify_route import classify_route
from serving.service.disk import NoSpace
from serving.service.docs.openapi import openapi
from serving.service.docs.page import POLICY, docs_page
from serving.service.feedback_route import feedback_route
from serving.service.inference import InferenceService
from serving.service.jobs.queue import JobsUnavailable, work_forever
from serving.service.jobs.routes import job_routes
from serving.service.middleware.admission import Authenticator
from serving.service.pages import page_route
from serving.service.panels.alerts import alert_routes
from serving.service.panels.api_use import ApiUse
from serving.service.panels.live import live_route
from serving.service.panels.routes import panel_routes
from serving.service.panels.warehouse import Warehouse
from serving.service.problems import Kind, Refused


def create_app(inference: Callable[[], InferenceService], authenticator: Callable[[], Authenticator]) -> Starlette:
    """Make the app. `/` is the dashboard, since BentoML's own page there calls an analytics host.

    Args:
        inference: Returns the inference service; called for each request, since the model is loaded after the app is made.
        authenticator: Checks keys and counts what they use.
    """

    async def show_model(_: Request) -> JSONResponse:
        return JSONResponse(inference().describe())

    async def show_metrics(_: Request) -> Response:
        return Response(await asyncio.to_thread(generate_latest), media_type=CONTENT_TYPE_LATEST)

    async def show_openapi(_: Request) -> JSONResponse:
        return JSONResponse(openapi(authenticator().asks_for_keys))

    async def show_docs(request: Request) -> HTMLResponse:
        page = docs_page(str(request.base_url).rstrip("/"), keys=authenticator().asks_for_keys)
        return HTMLResponse(page, headers={"content-security-policy": POLICY})

    async def unknown(request: Request) -> Response:
        for route in request.app.routes:
            if isinstance(route, Route) and route.matches(request.scope)[0] == Match.PARTIAL:
                allowed = ", ".join(sorted(route.methods or ()))
                detail = f"Method {request.method} not allowed; use {allowed}."
                raise Refused(problems.METHOD_NOT_ALLOWED, detail, headers={"allow": allowed})
        raise Refused(problems.NOT_FOUND, f"{request.url.path[:200]!r} not found; see /docs.")

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        """Classify jobs from the start: an earlier process may have left some unfinished."""
        tasks = [
            asyncio.create_task(work_forever(inference().jobs, inference().entries)),
            asyncio.create_task(use.watch()),
        ]
        yield
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)

    var, use = PathSettings.load().var, ApiUse()
    warehouse = Warehouse(var)
    return Starlette(
        routes=[
            classify_route(inference, authenticator),
            *job_routes(lambda: inference().jobs),
            feedback_route(inference),
            Route("/v1/model", show_model),
            *panel_routes(var, warehouse, inference, use),
            *alert_routes(var, warehouse),
            live_route(warehouse.ask, lambda scope: authenticator().still_admits(scope)),
            Route("/metrics", show_metrics),
            Route("/openapi.json", show_openapi),
            Route("/docs", show_docs),
            page_route(),
            Route("/{rest:path}", unknown, methods=["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]),
        ],
        exception_handlers={
            Refused: _refused,
            HTTPException: _refused,
            ClientDisconnect: lambda *_: Response(status_code=499),  # the client is gone: no one reads it
            JobsUnavailable: _respond(problems.NO_JOBS, "The job store is unavailable; retry later.", 5),
            sqlite3.Error: _respond(problems.NO_FEEDBACK, "The feedback store is unavailable; retry later.", 5),
            Exception: _respond(problems.FAILED, "The service's log has the error under this response's X-Request-Id."),
            NoSpace: _no_space,
            StreamError: _stream_unknown,
        },
        lifespan=lifespan,
    )


def _respond(kind: Kind, detail: str, retry_after_s: int | None = None) -> Callable[..., Response]:
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
