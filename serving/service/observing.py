"""The outermost middleware: an id for each request, one line of log, a count, a duration, and a trace where somebody takes it.

Neither a text nor a key is ever written: the line holds the route (not the path), and of a key its id.
"""

import os
import re
import secrets
import sys
import time
from collections.abc import MutableMapping
from functools import cache
from typing import Any

import structlog

from serving.service import metrics
from serving.service.admission import KEY

ROUTES = frozenset(
    {"/", "/docs", "/openapi.json", "/v1/classify", "/v1/jobs", "/v1/results", "/v1/feedback", "/v1/model", "/v1/panels"}
)
"""By the first two steps of a path; all else is `other`, so that a stranger cannot make up new labels."""
QUIET = frozenset({"/livez", "/readyz", "/healthz", "/metrics"})
"""Asked every few seconds by machines: not logged, not counted."""
_ID = re.compile(rb"[\w.-]{1,64}")
_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")


@cache
def log() -> Any:
    """JSON lines on standard output."""
    return structlog.wrap_logger(
        structlog.WriteLogger(sys.stdout),
        processors=[
            structlog.processors.TimeStamper(fmt="iso", utc=True), structlog.processors.add_log_level,
            structlog.processors.JSONRenderer(),
        ],
    )  # fmt: skip


@cache
def tracer() -> Any:
    """What makes spans, or None: traces go to the OTLP endpoint of the environment, and cost nothing without one."""
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
    """The route of a path, from a fixed set."""
    start = "/".join(path.split("/")[:3])
    return start if start in ROUTES else "other"


class Observing:
    """The middleware."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        """Handle one connection."""
        if scope["type"] != "http" or scope["path"] in QUIET:
            await self.app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        given = headers.get(b"x-request-id", b"")
        identity = given if _ID.fullmatch(given) else secrets.token_hex(8).encode()
        route, started, status = route_of(scope["path"]), time.perf_counter(), 500

        async def answer(message: MutableMapping[str, Any]) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), (b"x-request-id", identity)]
            await send(message)

        try:
            await self._traced(scope, receive, answer, route, headers, lambda: status)
        finally:
            seconds = time.perf_counter() - started
            metrics.REQUESTS.labels(route=route, status=str(status)).inc()
            metrics.REQUEST_SECONDS.labels(route=route).observe(seconds)
            key = scope.get(KEY)
            log().info(
                "request", request_id=identity.decode(), method=scope["method"], route=route, status=status,
                ms=round(1000 * seconds, 2), key=key.id if key else None,
            )  # fmt: skip

    async def _traced(self, scope: Any, receive: Any, send: Any, route: str, headers: dict[bytes, bytes], status: Any) -> None:
        if (spans := tracer()) is None:
            await self.app(scope, receive, send)
            return
        from opentelemetry.trace import SpanKind, StatusCode
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        parent = TraceContextTextMapPropagator().extract({k.decode("latin-1"): v.decode("latin-1") for k, v in headers.items()})
        with spans.start_as_current_span(f"{scope['method']} {route}", context=parent, kind=SpanKind.SERVER) as span:
            await self.app(scope, receive, send)
            span.set_attributes({"http.request.method": scope["method"], "http.route": route})
            span.set_attribute("http.response.status_code", status())
            if status() >= 500:
                span.set_status(StatusCode.ERROR)
