"""The outermost middleware: an id for each request, one line of log, a count, a duration, and a trace where one is collected.

It also sees to it that every request is answered, and every error is a problem: what takes too long, what raises, and what
BentoML and Starlette answer in words of their own. Neither a text nor a key is ever written: the line holds the route (not the
path), and of a key its id.
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
from serving.service.keys import KEY
from serving.service.logs import log
from serving.service.problems import Refused

ROUTES = frozenset(
    {"/", "/docs", "/openapi.json", "/v1/classify", "/v1/jobs", "/v1/results", "/v1/feedback", "/v1/model", "/v1/panels"}
)
"""By the first two steps of a path; all else is `other`, so that a stranger cannot make up new labels."""
QUIET = frozenset({"/livez", "/readyz", "/healthz", "/metrics"})
"""Asked every few seconds by machines: not logged, not counted."""
_ID = re.compile(rb"[\w.-]{1,64}")
_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_NOSNIFF = (b"x-content-type-options", b"nosniff")
_NO_PAGE = (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'")
"""Of responses that are no pages: opened as one they do nothing."""
_OWN_ERRORS = (b"application/problem+json", b"text/html")
"""Errors of these types are ours: problems, and pages that say what is missing."""
_KEPT = (b"allow", b"retry-after", b"www-authenticate")
_HUNG_UP = 499


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

    def __init__(self, app: Any, limit_s: float | None = None) -> None:
        """Wrap an app.

        Args:
            app: What answers.
            limit_s: Longest wait for the beginning of a response; None: for ever.
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
        answer, started = _Answer(scope, receive, send, identity), time.perf_counter()
        try:
            await self._answered(scope, receive, answer, headers)
        finally:
            if scope["path"] not in QUIET:
                seconds, route = time.perf_counter() - started, route_of(scope["path"])
                metrics.REQUESTS.labels(route=route, status=str(answer.status or 500)).inc()
                metrics.REQUEST_SECONDS.labels(route=route).observe(seconds)
                key = scope.get(KEY)
                log().info(
                    "request",
                    request_id=identity.decode(),
                    method=scope["method"],
                    route=route,
                    status=answer.status or 500,
                    ms=round(1000 * seconds, 2),
                    key=key.id if key else None,
                )

    async def _answered(self, scope: Any, receive: Any, answer: "_Answer", headers: dict[bytes, bytes]) -> None:
        """Call the app; what it leaves without an answer gets one."""
        try:
            async with asyncio.timeout(self._limit_s) as limit:
                answer.limit = limit
                await self._traced(scope, receive, answer, headers)
            if answer.status is None:
                raise RuntimeError("the request was left without an answer")
        except Exception as error:
            if isinstance(error, TimeoutError) and answer.limit and answer.limit.expired():
                detail = f"No answer within {self._limit_s:g} s; send less, or come back later."
                await answer.refuse(Refused(problems.TIMED_OUT, detail, retry_after_s=1))
                return
            log().exception("request failed", request_id=answer.identity.decode(), route=route_of(scope["path"]))
            detail = "The service's log has the error under this response's X-Request-Id."
            await answer.refuse(Refused(problems.FAILED, detail))

    async def _traced(self, scope: Any, receive: Any, answer: "_Answer", headers: dict[bytes, bytes]) -> None:
        if (spans := tracer()) is None or scope["path"] in QUIET:
            await self.app(scope, receive, answer)
            return
        from opentelemetry.trace import SpanKind, StatusCode
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        route = route_of(scope["path"])
        parent = TraceContextTextMapPropagator().extract({k.decode("latin-1"): v.decode("latin-1") for k, v in headers.items()})
        with spans.start_as_current_span(f"{scope['method']} {route}", context=parent, kind=SpanKind.SERVER) as span:
            await self.app(scope, receive, answer)
            span.set_attributes({"http.request.method": scope["method"], "http.route": route})
            span.set_attribute("http.response.status_code", answer.status or 500)
            if (answer.status or 500) >= 500:
                span.set_status(StatusCode.ERROR)


class _Answer:
    """One response on its way: the `send` that the app is given."""

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
            self.limit.reschedule(None)  # it has begun in time
        headers = list(message.get("headers", ()))
        kind = next((value for name, value in headers if name.lower() == b"content-type"), b"")
        if message["status"] >= 400 and not kind.startswith(_OWN_ERRORS) and message["status"] != _HUNG_UP:
            await self._replace(message["status"], headers)
        else:
            await self._begin(message["status"], headers, kind)

    async def refuse(self, refused: Refused) -> None:
        """Answer with a problem; where a response has begun already, the server closes the connection."""
        if self.status is None:
            await refused.response()(self._scope, self._receive, self._send_problem)  # type: ignore[arg-type]

    async def _replace(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        """An error in BentoML's or Starlette's words becomes a problem."""
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
        there = {name for name, _ in headers}
        more = [(b"x-request-id", self.identity)]
        if _NOSNIFF[0] not in there:
            more.append(_NOSNIFF)
        if _NO_PAGE[0] not in there and not kind.startswith(b"text/html"):
            more.append(_NO_PAGE)
        await self._send({"type": "http.response.start", "status": status, "headers": [*headers, *more]})
