"""The edge of the service: uvicorn's HTTP protocol, with limits on what a connection may send, and for how long.

uvicorn does not limit headers: an endless one fills the memory, copied again with each read, before a key is checked. It also
keeps connections that send nothing, or half a request, without a time limit. Here a request's line and headers may have
`MAX_HEADER_BYTES` and `MAX_HEADERS`, and `HEADER_S` to arrive; connections are counted, and the longest idle one is closed when
a new one needs its place.

BentoML starts uvicorn itself and passes none of these limits on, so `install` registers the protocol in uvicorn's own table.
"""

import asyncio
import resource
from collections.abc import Callable
from contextlib import suppress
from typing import Any, ClassVar

import uvicorn.config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from serving.service import metrics, problems
from serving.service.middleware.scope import GONE
from serving.service.problems import Kind, Refused

MAX_HEADER_BYTES = 65_536
"""Of a request's line and headers together, and of the framing of its body (chunk sizes, trailers)."""
MAX_HEADERS = 100
MAX_PIPELINED = 16
"""Requests that one connection may send before it has read a response."""
KEEP_ALIVE_S = 30.0
"""An idle connection is closed after this time. Clients should close theirs first (httpx after 5 s, aiohttp after 15): a request
that is sent while the server closes has no response. uvicorn's own default is 5."""
HEADER_S = 10.0
"""From a connection's first byte, or a request's, to the end of its headers."""
STALLED_S = 30.0
"""A response of which the client reads nothing for this time is cut."""
LINGER_S = 10.0
"""A closed connection whose last bytes are not read for this time is cut."""
SWEEP_S = 1.0
_RESERVED_FILES = 256
"""Open files other than connections: databases, the model, the log."""


class Edge:
    """All connections of one server, checked once a second."""

    max_connections = 2_000

    def __init__(self, connections: "set[Any]", loop: asyncio.AbstractEventLoop) -> None:
        self._connections, self._loop = connections, loop
        self._tick()

    def make_room(self, new: "BoundedProtocol") -> bool:
        """Whether a new connection may stay; at the limit the longest idle connection is closed for it."""
        if len(self._connections) <= self.max_connections:
            return True
        idle = [one for one in self._connections if isinstance(one, BoundedProtocol) and one is not new and one.waits_since()]
        if not idle:
            return False
        min(idle, key=lambda one: one.waits_since() or 0.0).drop("full")
        return True

    def sweep(self, now: float) -> None:
        """Close connections that are over a time limit, by the loop's clock."""
        metrics.CONNECTIONS.set(len(self._connections))
        for one in list(self._connections):
            if isinstance(one, BoundedProtocol):
                one.check(now)

    def _tick(self) -> None:
        self.sweep(self._loop.time())
        self._loop.call_later(SWEEP_S, self._tick)


class BoundedProtocol(HttpToolsProtocol):
    """One connection."""

    around: "ClassVar[Callable[[Any], Any] | None]" = None
    """Returns the app for a connection, given the server's."""
    last_requests: ClassVar[bool] = False
    """Whether each connection is closed after its next response, since this process stops."""
    gone: "asyncio.Future[None]"
    """Done when the connection is closed; requests have it in their scope, under `GONE`."""
    _waits_since: float | None = None
    """When it began to wait for a request's headers; None while a request is handled."""
    _due: float | None = None
    _closing_since: float | None = None
    _stalled_since: float | None = None
    _overhead = 0
    """Bytes received since the request began, without its body."""
    _body_bytes = 0
    _wrong: Kind = problems.BAD_REQUEST

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.access_log = False  # `middleware.observing` logs requests
        if self.around is not None:
            self.app = type(self).around(self.app)  # type: ignore[misc]

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """See `asyncio.Protocol`."""
        super().connection_made(transport)
        self.gone = self.loop.create_future()
        self.timeout_keep_alive = max(self.timeout_keep_alive, KEEP_ALIVE_S)
        self._wait(HEADER_S)
        edge = getattr(self.server_state, "edge", None)
        if edge is None:
            edge = self.server_state.edge = Edge(self.connections, self.loop)  # type: ignore[attr-defined]
        if not edge.make_room(self):
            metrics.CONNECTIONS_CLOSED.labels(cause="full").inc()
            self._respond(problems.TOO_MANY_CONNECTIONS, "All connections that the service may have are in use; retry later.")

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        super().connection_lost(exc)
        self.gone.set_result(None)

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`. The limit is checked after each read of at most 256 KiB."""
        self._overhead += len(data)
        super().data_received(data)
        if self._overhead > MAX_HEADER_BYTES + self._body_bytes and not self.transport.is_closing():
            self._refuse_headers()

    def on_message_begin(self) -> None:
        """See uvicorn."""
        super().on_message_begin()
        self.scope[GONE] = self.gone  # type: ignore[typeddict-unknown-key]
        now = self.loop.time()
        self._due = min(self._due or now + HEADER_S, now + HEADER_S)

    def on_headers_complete(self) -> None:
        """See uvicorn."""
        size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
        if size > MAX_HEADER_BYTES or len(self.headers) > MAX_HEADERS:
            self._refuse_headers()
            raise ValueError("headers too large")
        if len(self.pipeline) >= MAX_PIPELINED:
            self.drop("pipelined")
            raise ValueError("too many requests at once")
        self._waits_since = self._due = None
        super().on_headers_complete()
        if self.last_requests:
            self.close_after_response()

    def on_body(self, body: bytes) -> None:
        """See uvicorn."""
        self._overhead -= len(body)
        self._body_bytes += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """See uvicorn."""
        self._overhead = self._body_bytes = 0
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """See uvicorn."""
        super().on_response_complete()
        if not self._is_responding():  # uvicorn's own timer closes it earlier, unless it keeps sending bytes
            self._wait(self.timeout_keep_alive + HEADER_S)

    def close_after_response(self) -> None:
        """Announce the end of the connection in the response to the present request, if one is handled that has not begun."""
        if self._is_responding() and not self.cycle.response_started:
            self.cycle.keep_alive = False

    def pause_writing(self) -> None:
        """See `asyncio.Protocol`."""
        self._stalled_since = self.loop.time()
        super().pause_writing()

    def resume_writing(self) -> None:
        """See `asyncio.Protocol`."""
        self._stalled_since = None
        super().resume_writing()

    def send_400_response(self, msg: str) -> None:
        """Respond to bytes that are not HTTP; uvicorn's own response is not a problem document."""
        self._respond(self._wrong, msg or self._wrong.meaning)

    def waits_since(self) -> float | None:
        """Since when it waits for a request; None while it handles one, or is closed."""
        return None if self._is_responding() or self.transport.is_closing() else self._waits_since

    def drop(self, cause: str) -> None:
        """Cut the connection."""
        metrics.CONNECTIONS_CLOSED.labels(cause=cause).inc()
        self.transport.abort()

    def check(self, now: float) -> None:
        """Close the connection if it is over a time limit."""
        if self.transport.is_closing():
            self._closing_since = self._closing_since or now
            if now - self._closing_since > LINGER_S:
                self.transport.abort()
        elif self._stalled_since is not None and now - self._stalled_since > STALLED_S:
            self.drop("stalled")
        elif self._due is not None and now > self._due and not self._is_responding():
            metrics.CONNECTIONS_CLOSED.labels(cause="idle").inc()
            self.transport.close()

    def _is_responding(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _wait(self, seconds: float) -> None:
        self._waits_since = self.loop.time()
        self._due = self._waits_since + seconds

    def _refuse_headers(self) -> None:
        metrics.CONNECTIONS_CLOSED.labels(cause="headers").inc()
        if self._is_responding():  # a response is being sent: a second one cannot follow
            self.transport.abort()
            return
        self._wrong = problems.HEADERS_TOO_LARGE
        detail = f"Headers too large: a request may have {MAX_HEADERS} of them with {MAX_HEADER_BYTES:,} bytes together."
        self._respond(self._wrong, detail)

    def _respond(self, kind: Kind, detail: str) -> None:
        if self.transport.is_closing():
            return
        body = Refused(kind, detail).body()
        head = [STATUS_LINE[kind.status], b"content-type: application/problem+json\r\nconnection: close\r\n"]
        if kind.status == 503:
            head.append(b"retry-after: 1\r\n")
        self.transport.write(b"".join([*head, b"content-length: %d\r\n\r\n" % len(body), body]))
        self.transport.close()


def install(max_connections: int, around: Callable[[Any], Any]) -> tuple[int, int]:
    """Make uvicorn use the protocol in this process, and raise the limit of open files to fit.

    Args:
        max_connections: Most open connections; fewer where the limit of open files cannot be raised enough.
        around: Returns the app for a connection, given BentoML's.

    Returns:
        Connections, and open files, that this process may have.
    """
    BoundedProtocol.around = staticmethod(around)
    uvicorn.config.HTTP_PROTOCOLS["auto"] = f"{__name__}:{BoundedProtocol.__name__}"
    files = _raise_open_files(max_connections + _RESERVED_FILES)
    Edge.max_connections = max(1, min(max_connections, files - _RESERVED_FILES))
    return Edge.max_connections, files


def _raise_open_files(wanted: int) -> int:
    """The limit of open files after raising it to `wanted`, or as far as the hard limit allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        with suppress(ValueError, OSError):  # macOS has an additional, lower limit
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
            return most
    return wanted if soft == resource.RLIM_INFINITY else soft
