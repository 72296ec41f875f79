"""The outermost middleware: an id for each request, one line of log, a count, a duration, and a trace where one is collected.

Every request gets a response, and every error is a problem document: time-outs, exceptions, and the errors that BentoML and
Starlette format their own way. No text and no key is ever logged: a line has the route (not the path) and the id of a key.
"""

import asyncio
import os
import re
import secrets
import time
from collections.abc import MutableMapping
from functools import cache
from typing import Any

from serving.service import metrics, problems
from serving.service.logs import log
from serving.service.middleware.keys import KEY
from serving.service.problems import Refused

ROUTES = frozenset(
    {"/", "/docs", "/openapi.json", "/v1/classify", "/v1/jobs", "/v1/results", "/v1/feedback", "/v1/model", "/v1/panels"}
)
"""By the first two segments of a path; all others are `other`, so that a client cannot create new labels."""
QUIET = frozenset({"/livez", "/readyz", "/healthz", "/metrics"})
"""Requested every few seconds by probes and Prometheus: not logged, not counted."""
_ID = re.compile(rb"[\w.-]{1,64}")
_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_NOSNIFF = (b"x-content-type-options", b"nosniff")
_NO_PAGE = (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'")
"""Of responses that are not pages: a browser that opens one loads and runs nothing."""
_OWN_ERRORS = (b"application/problem+json", b"text/html")
"""Errors of these types are ours: problems, and the page that replaces a dashboard that is not built."""
_KEPT = (b"allow", b"retry-after", b"www-authenticate")
_CLIENT_CLOSED = 499


@cache
def tracer() -> Any:
    """The tracer, or None where the environment names no OTLP endpoint; then tracing costs nothing."""
    if not any(os.environ.get(name) for name in _ENDPOINTS):
        return None
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import SERVICE_NAME, Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider(resource=Resource.create({SERVICE_NAME: os.environ.get("OTEL_SERVICE_NAME", "groundswell")}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider.get_tracer("groundswell")


def route_of(path: str) -> str:
    """Map a path to its route, from a fixed set."""
    start = "/".join(path.split("/")[:3])
    return start if start in ROUTES else "other"


@cache
def _metrics_of(route: str, status: int) -> tuple[Any, Any]:
    """Return count and duration of requests; finding them by their labels each time took 3 % of a request's CPU time."""
    return metrics.REQUESTS.labels(route=route, status=str(status)), metrics.REQUEST_SECONDS.labels(route=route)


class Observing:
    """The middleware."""

    def __init__(self, app: Any, limit_s: float | None = None) -> None:
        """Wrap an app.

        Args:
            app: Handles the requests.
            limit_s: Longest wait for the start of a response; None: no limit.
        """
        self.app, self._limit_s = app, limit_s

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        """Handle one connection."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        given = headers.get(b"x-request-id", b"")
        identity = given if _ID.fullmatch(given) else secrets.token_hex(8).encode()
        response, started = _Response(scope, receive, send, identity), time.perf_counter()
        try:
            await self._respond(scope, receive, response, headers)
        finally:
            if scope["path"] not in QUIET:
                seconds, route = time.perf_counter() - started, route_of(scope["path"])
                count, duration = _metrics_of(route, response.status or 500)
                count.inc()
                duration.observe(seconds)
                key = scope.get(KEY)
                log().info(
                    "request",
                    request_id=identity.decode(),
                    method=scope["method"],
                    route=route,
                    status=response.status or 500,
                    ms=round(1000 * seconds, 2),
                    key=key.id if key else None,
                )

    async def _respond(self, scope: Any, receive: Any, response: "_Response", headers: dict[bytes, bytes]) -> None:
        """Call the app; send a problem where it raises, takes too long or sends no response."""
        try:
            async with asyncio.timeout(self._limit_s) as limit:
                response.limit = limit
                await self._traced(scope, receive, response, headers)
            if response.status is None:
                raise RuntimeError("the app sent no response")
        except Exception as error:
            if isinstance(error, TimeoutError) and response.limit and response.limit.expired():
                detail = f"No response within {self._limit_s:g} s; send less, or retry later."
                await response.refuse(Refused(problems.TIMED_OUT, detail, retry_after_s=1))
                return
            log().exception("request failed", request_id=response.identity.decode(), route=route_of(scope["path"]))
            detail = "The service's log has the error under this response's X-Request-Id."
            await response.refuse(Refused(problems.FAILED, detail))

    async def _traced(self, scope: Any, receive: Any, response: "_Response", headers: dict[bytes, bytes]) -> None:
        if (spans := tracer()) is None or scope["path"] in QUIET:
            await self.app(scope, receive, response)
            return
        from opentelemetry.trace import SpanKind, StatusCode
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        route = route_of(scope["path"])
        parent = TraceContextTextMapPropagator().extract({k.decode("latin-1"): v.decode("latin-1") for k, v in headers.items()})
        with spans.start_as_current_span(f"{scope['method']} {route}", context=parent, kind=SpanKind.SERVER) as span:
            await self.app(scope, receive, response)
            span.set_attributes({"http.request.method": scope["method"], "http.route": route})
            span.set_attribute("http.response.status_code", response.status or 500)
            if (response.status or 500) >= 500:
                span.set_status(StatusCode.ERROR)


class _Response:
    """The `send` callable that the app gets for one response."""

    def __init__(self, scope: Any, receive: Any, send: Any, identity: bytes) -> None:
        self._scope, self._receive, self._send = scope, receive, send
        self.identity = identity
        self.limit: asyncio.Timeout | None = None
        self.status: int | None = None
        """None until the response begins."""
        self._replaced = False

    async def __call__(self, message: MutableMapping[str, Any]) -> None:
        if message["type"] != "http.response.start":
            if not self._replaced:
                await self._send(message)
            return
        if self.limit and not self.limit.expired():
            self.limit.reschedule(None)  # it began in time
        headers = list(message.get("headers", ()))
        kind = next((value for name, value in headers if name.lower() == b"content-type"), b"")
        if message["status"] >= 400 and not kind.startswith(_OWN_ERRORS) and message["status"] != _CLIENT_CLOSED:
            await self._replace(message["status"], headers)
        else:
            await self._begin(message["status"], headers, kind)

    async def refuse(self, refused: Refused) -> None:
        """Respond with a problem; if a response has begun already, the server closes the connection."""
        if self.status is None:
            await refused.response()(self._scope, self._receive, self._send_problem)  # type: ignore[arg-type]

    async def _replace(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        """Replace an error that BentoML or Starlette formatted by a problem."""
        kept = {name.decode(): value.decode("latin-1") for name, value in headers if name.lower() in _KEPT}
        kind = problems.kind_of(status)
        retry_after_s = 5 if status in {429, 503, 504} and "retry-after" not in kept else None
        await self.refuse(Refused(kind, kind.meaning or kind.title, retry_after_s=retry_after_s, headers=kept))
        self._replaced = True

    async def _send_problem(self, message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            await self._begin(message["status"], list(message["headers"]), b"application/problem+json")
        else:
            await self._send(message)

    async def _begin(self, status: int, headers: list[tuple[bytes, bytes]], kind: bytes) -> None:
        self.status = status
        present = {name for name, _ in headers}
        more = [(b"x-request-id", self.identity)]
        if _NOSNIFF[0] not in present:
            more.append(_NOSNIFF)
        if _NO_PAGE[0] not in present and not kind.startswith(b"text/html"):
            more.append(_NO_PAGE)
        await self._send({"type": "http.response.start", "status": status, "headers": [*headers, *more]})
