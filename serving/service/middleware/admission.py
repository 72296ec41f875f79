"""Who may send requests, and how many: an ASGI middleware in front of every route, WebSockets and BentoML's own pages included.

Without keys only requests from this machine are accepted. With keys each request carries one (`Authorization: Bearer gs_…`; a
browser's WebSocket, which cannot set that header, uses the subprotocol `bearer.gs_…`), which opens the routes of its scopes. The
probes `/livez`, `/readyz` and `/healthz` stay open, since they come under any address that a pod has, and so do the dashboard's
files, which hold no data. Pages of other sites are refused (`origins`). A failure here is a 503 response.
"""

import asyncio
import ipaddress
import math
import time
from collections.abc import Callable, Collection, Iterable, MutableMapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from limits import RateLimitItem, parse
from limits.aio.strategies import SlidingWindowCounterRateLimiter
from limits.storage import storage_from_string

from data.errors import SettingsError
from serving.service import metrics, pages, problems
from serving.service.logs import log
from serving.service.middleware.keys import KEY, Key, Keys
from serving.service.middleware.origins import refuse_foreign
from serving.service.middleware.rates import SharedCounts
from serving.service.problems import Refused

OPEN = frozenset({"/livez", "/readyz", "/healthz"})
SCOPE_OF = {
    **dict.fromkeys(("/v1/classify", "/v1/model", "/v1/jobs", "/v1/results"), "classify"),
    **dict.fromkeys(("/v1/panels", "/v1/live", "/v1/alerts"), "dashboard"),
    "/v1/feedback": "feedback",
    "/metrics": "admin",
}
"""By the first two segments of a path. Other routes (the documentation) are open to any key."""
BEARER = "bearer."
_MAX_ADDRESS = 100
"""Characters of a client's address; a proxy's header may have more."""
_POLICY_CLOSE, _TRY_AGAIN_LATER = 1008, 1013
_NO_KEYS = "API keys cannot be checked; the service's log has the error."
_COUNT_S = 0.2
"""Longest wait for the rate limiter's storage."""


class Authenticator:
    """Checks keys and counts what they use."""

    def __init__(self, keys: Keys | None, redis_url: str | None = None, counts: Path | None = None) -> None:
        """Make it.

        Args:
            keys: None: keys are off; only requests from this machine are accepted.
            redis_url: Counts for the processes of all machines together.
            counts: File that counts for all processes of this machine, without Redis; None: counted in this process.
        """
        self._keys = keys
        self._limiter = SlidingWindowCounterRateLimiter(_storage(redis_url, counts))
        self._items: dict[str, RateLimitItem] = {}

    @property
    def asks_for_keys(self) -> bool:
        """Whether keys are on."""
        return self._keys is not None

    def check(self) -> None:
        """Read the keys, as each request does; raises what that raises."""
        if self._keys is not None:
            self._keys.check()

    def admit(self, scope: MutableMapping[str, Any]) -> Key | None:
        """Return the key of a request; None where keys are off.

        Raises:
            Refused: 401 or 403.
        """
        if self._keys is None:
            if not _is_local(scope):
                detail = "API keys are off, so only requests from the service's own machine are accepted."
                raise _shed(Refused(problems.NOT_LOCAL, detail), "foreign")
            return None
        if scope["type"] == "http" and pages.is_page(scope["path"]):
            return None
        token = _token(scope)
        key = self._keys.find(token) if token else None
        if key is None:
            detail = "Send `Authorization: Bearer <key>`; make a key with `groundswell keys add`."
            raise _shed(Refused(problems.NO_KEY, detail, headers={"www-authenticate": "Bearer"}), "no_key")
        if (wanted := scope_of(scope["path"])) and not key.may(wanted):
            detail = f"API key {key.id} lacks scope {wanted!r} (it has {', '.join(key.scopes)})."
            raise _shed(Refused(problems.NO_SCOPE, detail), "scope")
        return key

    def still_admits(self, scope: MutableMapping[str, Any]) -> None:
        """Check again a connection that was admitted before.

        Raises:
            Refused: Its key is no longer good, or cannot be checked.
        """
        try:
            self.admit(scope)
        except Refused:
            raise
        except Exception:
            log().exception("connection recheck failed")
            raise Refused(problems.NO_KEYS, _NO_KEYS) from None

    async def spend(self, key: Key, texts: int) -> dict[str, str]:
        """Count texts against a key's rate; return the `RateLimit-*` headers of the response.

        When the limiter's storage fails (Redis is down, or hangs) the request passes.

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
            detail = f"API key {key.id} has a rate of {key.rate} texts; {texts} more exceed it. Retry after {reset} s."
            raise _shed(Refused(problems.RATE_LIMIT, detail, retry_after_s=reset, headers=headers), "rate")
        return headers


def _storage(redis_url: str | None, counts: Path | None) -> Any:
    if redis_url is None and counts is not None:
        try:
            return SharedCounts(counts)
        except OSError as error:
            log().error("each process counts by itself for rate limits", error=str(error))
    return storage_from_string(f"async+{redis_url}" if redis_url else "async+memory://", implementation="redispy")


class Admission:
    """The middleware."""

    def __init__(
        self,
        app: Any,
        authenticator: Callable[[], Authenticator],
        full: Callable[[], int | None] = lambda: None,
        hosts: Collection[str] = (),
    ) -> None:
        """Wrap an app.

        Args:
            app: Called when a request is admitted.
            authenticator: Checks keys.
            full: Seconds after which a caller may retry, or None while there is room. Called before the body is read: at twice
                the capacity every second request is refused, and the other requests pay for the cost of a refusal.
            hosts: Names under which the service is reached, in addition to localhost and IP addresses.
        """
        self.app, self._authenticator, self._full, self._hosts = app, authenticator, full, hosts

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        """Handle one connection."""
        if scope["type"] not in {"http", "websocket"} or scope["path"] in OPEN:
            await self.app(scope, receive, send)
            return
        try:
            self._admit(scope)
        except Refused as refused:
            await _refuse(refused, _POLICY_CLOSE, scope, receive, send)
        except Exception:  # any failure: no request may end without a response or pass unchecked
            log().exception("admission failed")
            refused = Refused(problems.NO_KEYS, _NO_KEYS, retry_after_s=5)
            await _refuse(refused, _TRY_AGAIN_LATER, scope, receive, send)
        else:
            await self.app(scope, receive, send)

    def _admit(self, scope: MutableMapping[str, Any]) -> None:
        try:
            refuse_foreign(scope, self._hosts)
        except Refused as refused:
            raise _shed(refused, "foreign") from None
        scope[KEY] = self._authenticator().admit(scope)
        if not scope["path"].isprintable():  # no route has such a character, and a line feed would end the regular expression
            raise Refused(problems.NOT_FOUND, "Path not found: it has a character that no route has; see /docs.")
        if _is_classify(scope) and (seconds := self._full()):
            raise _shed(
                Refused(
                    problems.OVERLOADED, "Too many texts wait; retry after the seconds in `Retry-After`.", retry_after_s=seconds
                ),
                "queue",
            )


async def _refuse(refused: Refused, code: int, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": code, "reason": refused.detail})
    else:
        await refused.response()(scope, receive, send)


def scope_of(path: str) -> str | None:
    """The scope that opens a path; None: any key does."""
    return SCOPE_OF.get("/".join(path.split("/")[:3]))


def _is_classify(scope: MutableMapping[str, Any]) -> bool:
    """Whether the request is for predictions now, not for a job."""
    if scope["type"] != "http" or scope["path"] != "/v1/classify":
        return False
    return not any(name == b"prefer" and b"respond-async" in value for name, value in scope["headers"])


def require_keys(keys: bool, addresses: Iterable[str]) -> None:
    """Raise if the service is open to other machines without keys.

    Args:
        keys: Whether keys are on.
        addresses: What this process listens on.

    Raises:
        SettingsError: An address is open to others, and keys are off.
    """
    if keys:
        return
    for address in addresses:
        if not ipaddress.ip_address(address).is_loopback:
            raise SettingsError(
                "API keys are off, so the service must listen on its own machine only.",
                found=f"it listens on {address}",
                remedy="Leave out --host, or set GROUNDSWELL_SERVING__KEYS=true and make keys: groundswell keys add NAME.",
            )


def listening() -> list[str]:
    """Addresses on which this process has a listening TCP socket, inherited ones included."""
    import psutil

    return [one.laddr.ip for one in psutil.Process().net_connections("tcp") if one.status == psutil.CONN_LISTEN]


def _token(scope: MutableMapping[str, Any]) -> str:
    """Return the token of a request; empty: none."""
    kind, _, token = dict(scope["headers"]).get(b"authorization", b"").decode("latin-1").partition(" ")
    if kind.lower() == "bearer":
        return token.strip()
    offered = scope.get("subprotocols") or []  # of a WebSocket
    return next((one.removeprefix(BEARER) for one in offered if one.startswith(BEARER)), "")


def _is_local(scope: MutableMapping[str, Any]) -> bool:
    """A caller over a Unix socket has no address and is on this machine."""
    client = scope.get("client")
    return client is None or _is_loopback(client[0][:_MAX_ADDRESS])


@lru_cache(1024)
def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def _shed(refused: Refused, cause: str) -> Refused:
    metrics.SHED.labels(cause=cause).inc()
    return refused
