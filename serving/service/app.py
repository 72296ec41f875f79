"""The API: a FastAPI app that BentoML mounts at `/`."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable, MutableMapping
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from data.errors import StreamError
from data.settings import PathSettings
from serving.service import metrics, problems
from serving.service.classify_route import classify
from serving.service.disk import NoSpace
from serving.service.docs import routes as docs
from serving.service.inference import InferenceService
from serving.service.jobs.queue import JobsUnavailable, work_forever
from serving.service.middleware.admission import Authenticator
from serving.service.pages import page_route
from serving.service.panels.api_use import ApiUse
from serving.service.panels.live import Live
from serving.service.panels.stream import StreamPanel
from serving.service.panels.warehouse import Warehouse
from serving.service.problems import Kind, Refused
from serving.service.reading import explain
from serving.service.routers import ROUTERS

_FORWARDED = frozenset({b"x-forwarded-for", b"x-forwarded-proto"})
_NO_TELEMETRY: Any = {"tracing": False, "metrics": False, "logs": False}
"""Of FastAPI: requests are traced, counted and logged by `middleware.observing`."""


def create_app(inference: Callable[[], InferenceService], authenticator: Callable[[], Authenticator]) -> FastAPI:
    """Make the app. `/` is the dashboard, since BentoML's own page there calls an analytics host.

    Args:
        inference: Returns the inference service; called for each request, since the model is loaded after the app is made.
        authenticator: Checks keys and counts what they use.
    """
    app = FastAPI(
        openapi_url=None,  # `docs` has our own routes of the document and the page: they depend on whether keys are on
        telemetry=_NO_TELEMETRY,
        middleware=[Middleware(HeadAsGet)],
        exception_handlers=_HANDLERS,
        lifespan=_lifespan,
    )
    state, var = app.state, PathSettings.load().var
    state.inference, state.authenticator = inference, authenticator
    state.var, state.use, state.warehouse, state.stream = var, ApiUse(), Warehouse(var), StreamPanel(var)
    state.live = Live(state.warehouse.ask, lambda scope: authenticator().still_admits(scope))
    for router in (*ROUTERS, docs.router):  # `include_router` would match the path of each request twice, in 10 µs
        app.router.routes.extend(router.routes)
    app.router.routes.append(page_route())
    app.add_route("/{rest:path}", _unknown, methods=["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD"])
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Classify jobs from the start: an earlier process may have left some unfinished."""
    service: InferenceService = app.state.inference()
    tasks = [
        asyncio.create_task(work_forever(service.jobs, service.entries, service.takes_jobs)),
        asyncio.create_task(app.state.use.watch()),
    ]
    yield
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)


class HeadAsGet:
    """A middleware for HEAD, which FastAPI's routes do not have: as GET; the server sends no body, since its request is HEAD."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        """Handle one connection."""
        is_head = scope["type"] == "http" and scope["method"] == "HEAD"
        await self.app({**scope, "method": "GET"} if is_head else scope, receive, send)


class Shortcut:
    """An app around BentoML's that passes `POST /v1/classify` to its function, past the middlewares and routers of others.

    The routers alone cost 0.5 ms of CPU time where a text costs 17 (docs/benchmarks.md). Responses and errors are the same on
    both ways. What a proxy has forwarded takes the long way, where uvicorn reads the client's address from the headers.
    """

    def __init__(self, app: Any, direct: Any) -> None:
        """Make it.

        Args:
            app: Handles all other requests.
            direct: Handles those of the route: `classify_app`, in our middlewares.
        """
        self._app, self._direct = app, direct

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        """Handle one connection."""
        is_direct = (
            scope["type"] == "http"
            and scope["path"] == "/v1/classify"
            and scope["method"] == "POST"
            and not any(name in _FORWARDED for name, _ in scope["headers"])
        )
        await (self._direct if is_direct else self._app)(scope, receive, send)


def classify_app(routes: FastAPI) -> Any:
    """Make the app of `POST /v1/classify` alone.

    Args:
        routes: Of `create_app`; its state is what the function uses.
    """
    handlers = {kind: handler for kind, handler in _HANDLERS.items() if kind is not Exception}  # `Observing` handles these
    app = ExceptionMiddleware(_classify, handlers)

    async def classify_alone(scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        scope["app"] = routes
        await app(scope, receive, send)

    return classify_alone


async def _classify(scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
    response = await classify(Request(scope, receive, send))
    await response(scope, receive, send)


def _respond(kind: Kind, detail: str, retry_after_s: int | None = None) -> Callable[..., Response]:
    return lambda *_: Refused(kind, detail, retry_after_s=retry_after_s).response()


def _no_space(_: Request, error: Exception) -> Response:
    metrics.SHED.labels(cause="disk").inc()
    return Refused(problems.NO_DISK, str(error), retry_after_s=60).response()


def _stream_unknown(_: Request, error: Exception) -> Response:
    assert isinstance(error, StreamError)
    return Refused(problems.STREAM_UNKNOWN, f"{error.message} {error.remedy or ''}".strip(), retry_after_s=5).response()


async def _invalid(_: Request, error: Exception) -> Response:
    """Respond to a parameter that FastAPI refused; bodies are validated by `reading`."""
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    return Refused(problems.INVALID, explain(first["loc"][1:], first)).response()


async def _refused(_: Request, error: Exception) -> Response:
    if isinstance(error, HTTPException):
        error = Refused(error.status_code, error.detail, headers=dict(error.headers or {}))
    assert isinstance(error, Refused)
    return error.response()


async def _unknown(request: Request) -> Response:
    """Refuse what no route takes. It is a route, since BentoML passes on only requests that a route of this app matches."""
    routes = [route for route in request.app.routes if isinstance(route, APIRoute)]
    methods = {method for route in routes if route.path_regex.match(request.scope["path"]) for method in route.methods or ()}
    if methods:
        allowed = ", ".join(sorted(methods | ({"HEAD"} if "GET" in methods else set())))
        detail = f"Method {request.method} not allowed; use {allowed}."
        raise Refused(problems.METHOD_NOT_ALLOWED, detail, headers={"allow": allowed})
    raise Refused(problems.NOT_FOUND, f"{request.url.path[:200]!r} not found; see /docs.")


_HANDLERS: dict[Any, Callable[..., Any]] = {
    Refused: _refused,
    HTTPException: _refused,
    RequestValidationError: _invalid,
    ClientDisconnect: lambda *_: Response(status_code=499),  # the client is gone: no one reads it
    JobsUnavailable: _respond(problems.NO_JOBS, "The job store is unavailable; retry later.", 5),
    sqlite3.Error: _respond(problems.NO_FEEDBACK, "The feedback store is unavailable; retry later.", 5),
    Exception: _respond(problems.FAILED, "The service's log has the error under this response's X-Request-Id."),
    NoSpace: _no_space,
    StreamError: _stream_unknown,
}
