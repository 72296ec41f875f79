"""Who may ask, and how much: an ASGI middleware in front of every route, WebSockets and BentoML's own pages included.

Without keys only this machine is answered. With keys each request shows one (`Authorization: Bearer gs_…`; a browser's WebSocket,
which cannot set that, the subprotocol `bearer.gs_…`), which opens the routes of its scopes; `/livez`, `/readyz`, BentoML's
`/healthz` and the dashboard's files stay open, since they say nothing. Pages of other sites open no WebSocket here.
"""

import asyncio
import ipaddress
import math
import time
from collections.abc import Callable, Iterable, MutableMapping
from typing import Any
from urllib.parse import urlsplit

from limits import RateLimitItem, parse
from limits.aio.strategies import SlidingWindowCounterRateLimiter
from limits.storage import storage_from_string

from data.errors import SettingsError
from serving.service import metrics, pages
from serving.service.keys import Key, Keys
from serving.service.problems import Refused

OPEN = frozenset({"/livez", "/readyz", "/healthz"})
SCOPE_OF = {
    **dict.fromkeys(("/v1/classify", "/v1/model", "/v1/jobs", "/v1/results"), "classify"),
    **dict.fromkeys(("/v1/panels", "/v1/live", "/v1/alerts"), "dashboard"),
    "/v1/feedback": "feedback",
    "/metrics": "admin",
}
"""By the first two steps of a path. Other routes (the documentation) are open to any key."""
BEARER = "bearer."
KEY = "groundswell.key"
"""Where a request's scope carries its `Key`."""
_POLICY_CLOSE = 1008
_COUNT_S = 0.2
"""Longest wait for the count of a key's use."""


class Gate:
    """Checks keys and counts what they use."""

    def __init__(self, keys: Keys | None, redis_url: str | None = None) -> None:
        """Make it.

        Args:
            keys: None: everybody on this machine may ask, nobody else.
            redis_url: Where use is counted for all processes together; none: in this process.
        """
        self._keys = keys
        storage: Any = storage_from_string(f"async+{redis_url}" if redis_url else "async+memory://", implementation="redispy")
        self._limiter = SlidingWindowCounterRateLimiter(storage)
        self._items: dict[str, RateLimitItem] = {}

    def admit(self, scope: MutableMapping[str, Any]) -> Key | None:
        """The key of a request; None where keys are off.

        Raises:
            Refused: 401 or 403.
        """
        if self._keys is None:
            if not _is_local(scope):
                raise _shed(Refused(403, "This service runs without keys and answers its own machine only."), "foreign")
            return None
        if scope["type"] == "http" and pages.is_page(scope["path"]):
            return None
        token = _token(scope)
        key = self._keys.find(token) if token else None
        if key is None:
            detail = "Send `Authorization: Bearer <key>`; keys come from `groundswell keys add`."
            raise _shed(Refused(401, detail, headers={"www-authenticate": "Bearer"}), "no_key")
        if (wanted := SCOPE_OF.get("/".join(scope["path"].split("/")[:3]))) and not key.may(wanted):
            raise _shed(Refused(403, f"The key {key.id} has not the scope {wanted!r}, but {', '.join(key.scopes)}."), "scope")
        return key

    async def spend(self, key: Key, texts: int) -> dict[str, str]:
        """Count texts against a key's rate; gives the `RateLimit-*` headers of the response.

        When the count cannot be kept (Redis is away, or hangs) the request passes.

        Raises:
            Refused: 429, with `Retry-After`.
        """
        item = self._items.setdefault(key.rate, parse(key.rate))
        try:
            async with asyncio.timeout(_COUNT_S):
                admitted = await self._limiter.hit(item, key.id, cost=texts)
                window = await self._limiter.get_window_stats(item, key.id)
        except Exception:  # each storage has errors of its own
            metrics.STORE_ERRORS.inc()
            return {}
        reset = max(1, math.ceil(window.reset_time - time.time()))
        counts = {"limit": item.amount, "remaining": max(0, window.remaining), "reset": reset}
        headers = {f"ratelimit-{name}": str(count) for name, count in counts.items()}
        if not admitted:
            detail = f"The key {key.id} may judge {key.rate}; {texts} more are too many now."
            raise _shed(Refused(429, detail, retry_after_s=reset, headers=headers), "rate")
        return headers


class Admission:
    """The middleware."""

    def __init__(self, app: Any, gate: Callable[[], Gate], full: Callable[[], int | None] = lambda: None) -> None:
        """Wrap an app.

        Args:
            app: What is asked when a request is admitted.
            gate: Checks keys.
            full: Seconds after which a caller may come back, or None while there is room. Asked before the body is read: at twice
                the capacity every second request is refused, and what that costs is taken from the others.
        """
        self.app, self._gate, self._full = app, gate, full

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        """Handle one connection."""
        if scope["type"] not in {"http", "websocket"} or scope["path"] in OPEN:
            await self.app(scope, receive, send)
            return
        try:
            if scope["type"] == "websocket" and not _same_site(scope):
                raise _shed(Refused(403, "Pages of other sites may not listen here."), "foreign")
            scope[KEY] = self._gate().admit(scope)
            if not scope["path"].isprintable():  # a line feed is no part of any road, and ends the search for one
                raise Refused(404, "There is no such road here; /docs shows what there is.")
            if _is_classify(scope) and (seconds := self._full()):
                raise _shed(Refused(503, "Too many texts wait; come back later.", retry_after_s=seconds), "queue")
        except Refused as refused:
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": _POLICY_CLOSE, "reason": refused.detail})
            else:
                await refused.response()(scope, receive, send)
            return
        await self.app(scope, receive, send)


def _is_classify(scope: MutableMapping[str, Any]) -> bool:
    """Whether an answer is wanted now, and not a job."""
    if scope["type"] != "http" or scope["path"] != "/v1/classify":
        return False
    return not any(name == b"prefer" and b"respond-async" in value for name, value in scope["headers"])


def need_keys(keys: bool, addresses: Iterable[str]) -> None:
    """Refuse to be open to other machines without keys.

    Args:
        keys: Whether they are on.
        addresses: What this process listens on.

    Raises:
        SettingsError: An address is open to others, and keys are off.
    """
    if keys:
        return
    for address in addresses:
        if not ipaddress.ip_address(address).is_loopback:
            raise SettingsError(
                "Without keys the service answers its own machine only.", found=f"it listens on {address}",
                remedy="Leave --host out, or set GROUNDSWELL_SERVING__KEYS=true and make keys: groundswell keys add NAME.",
            )  # fmt: skip


def listening() -> list[str]:
    """Addresses on which this process holds a TCP socket that listens; one that was handed down counts."""
    import psutil

    return [one.laddr.ip for one in psutil.Process().net_connections("tcp") if one.status == psutil.CONN_LISTEN]


def _token(scope: MutableMapping[str, Any]) -> str:
    """What the caller shows as its key; empty: nothing."""
    kind, _, token = dict(scope["headers"]).get(b"authorization", b"").decode("latin-1").partition(" ")
    if kind.lower() == "bearer":
        return token.strip()
    offered = scope.get("subprotocols") or []  # of a WebSocket
    return next((one.removeprefix(BEARER) for one in offered if one.startswith(BEARER)), "")


def _same_site(scope: MutableMapping[str, Any]) -> bool:
    """Whether a browser opens this from a page that came from here. Browsers ask no server before they open a WebSocket, so
    without this any page could listen to a service of its reader's machine. Who is no browser names no origin.
    """
    headers = dict(scope["headers"])
    origin = headers.get(b"origin")
    return origin is None or urlsplit(origin.decode("latin-1")).netloc == headers.get(b"host", b"").decode("latin-1")


def _is_local(scope: MutableMapping[str, Any]) -> bool:
    """A caller over a Unix socket has no address and is on this machine."""
    client = scope.get("client")
    try:
        return client is None or ipaddress.ip_address(client[0]).is_loopback
    except ValueError:
        return False


def _shed(refused: Refused, cause: str) -> Refused:
    metrics.SHED.labels(cause=cause).inc()
    return refused
