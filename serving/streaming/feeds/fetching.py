"""Requests to servers of feeds: bounded in bytes, time and redirects."""

import importlib.metadata
import threading
import time
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from urllib.parse import SplitResult, urljoin, urlsplit, urlunsplit

import httpcore
import httpx

from serving.streaming.feeds.errors import FeedError, FeedUnavailable
from serving.streaming.feeds.network import PublicBackend, Watch

MAX_BYTES = 5 * 1024 * 1024
"""Of a response, decompressed."""
MAX_REDIRECTS = 5
TOTAL_S = 30.0
"""Of a request with its redirects, from the connection to the last byte."""
MAX_WAIT_S = 86_400.0
_REDIRECTS = {301, 302, 303, 307, 308}
LATER = {408, 425, 429, 500, 502, 503, 504}
"""Statuses of a server that may be available later."""
_BLOCK = 64 * 1024


@dataclass(frozen=True)
class Response:
    """A response with status 200 or 304."""

    status: int
    headers: Mapping[str, str]
    """Names in lower case; of several with one name the last."""
    body: bytes
    """Decompressed."""
    url: str
    """After the redirects."""


def shown(url: str) -> str:
    """Return an address for people: without query, user and password, which may be secrets."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def require_url(url: str, schemes: tuple[str, ...] = ("http", "https")) -> SplitResult:
    """Return the parts of an address that can be requested.

    Raises:
        FeedError: It has another scheme, no host, an invalid port, or a user name.
    """
    expected = " or ".join(f"{scheme}://host/path" for scheme in schemes)
    try:
        parts = urlsplit(url)
        port_is_valid = parts.port != 0
    except ValueError:
        parts, port_is_valid = urlsplit(""), False
    if parts.scheme.lower() not in schemes or not parts.hostname or not port_is_valid or any(one.isspace() for one in url):
        raise FeedError("The address of the feed cannot be used.", found=shown(url) if parts.hostname else url, expected=expected)
    if "@" in parts.netloc:
        raise FeedError(
            "The address of the feed has a user name or password, which is not supported.", found=shown(url), expected=expected
        )
    return parts


class Fetcher:
    """Sends GET requests, one after the other. Any response that is neither 200 nor 304 is an error.

    Args:
        stop: Ends a request early, within about half a second.
        contact: Who sends the requests, such as an e-mail address; part of `User-Agent`.
        allow_private: Whether servers may be in a private network or on this machine.
        least_gap_s: Least seconds between the starts of two requests.
    """

    def __init__(
        self, stop: threading.Event, *, contact: str | None = None, allow_private: bool = False, least_gap_s: float = 0.0
    ) -> None:
        version = importlib.metadata.version("groundswell")
        self._agent = f"Groundswell/{version} {contact}" if contact else f"Groundswell/{version}"
        self._stop, self._watch, self._gap_s, self._next_at = stop, Watch(stop), least_gap_s, 0.0
        self._pool = httpcore.ConnectionPool(
            network_backend=PublicBackend(self._watch, allow_private=allow_private), max_connections=4, keepalive_expiry=15.0
        )

    def close(self) -> None:
        """Close the connections."""
        self._pool.close()

    def get(
        self, url: str, headers: Mapping[str, str] | None = None, *, max_bytes: int = MAX_BYTES, cut: bool = False
    ) -> Response:
        """Return the response to a GET request. Blocks for at most `TOTAL_S`, and for the gap between two requests.

        Args:
            url: http or https.
            headers: In addition to `User-Agent` and `Accept-Encoding`.
            max_bytes: Of the body, decompressed.
            cut: Return the first `max_bytes` of a longer body, which is else an error.

        Raises:
            FeedUnavailable: The server is not reachable, too slow or overloaded.
            FeedError: It refuses, redirects too often or into a private network, or sends more than `max_bytes`.
        """
        self._watch.begin(TOTAL_S)
        sent = {"User-Agent": self._agent, "Accept-Encoding": "gzip, deflate", **(headers or {})}
        for _ in range(MAX_REDIRECTS + 1):
            require_url(url)
            self._pace()
            found = self._once(url, sent, max_bytes, cut)
            if isinstance(found, Response):
                return found
            url = found
        raise FeedError(f"More than {MAX_REDIRECTS} redirects.", found=shown(url), remedy="Use the address of the feed itself.")

    def _pace(self) -> None:
        if self._gap_s and self._stop.wait(max(0.0, self._next_at - time.monotonic())):
            raise FeedUnavailable("Stopped before a request.")
        self._next_at = time.monotonic() + self._gap_s

    def _once(self, url: str, headers: Mapping[str, str], max_bytes: int, cut: bool) -> Response | str:
        """Return the response, or the address that it redirects to."""
        try:
            parsed = httpx.URL(url)  # encodes names and paths that are not ASCII
            target = httpcore.URL(scheme=parsed.raw_scheme, host=parsed.raw_host, port=parsed.port, target=parsed.raw_path)
            sent = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
            with self._pool.stream("GET", target, headers=[(b"Host", parsed.netloc), *sent]) as response:
                names = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in response.headers}
                if response.status in _REDIRECTS and (to := names.get("location")):
                    return urljoin(url, to)
                if response.status not in (200, 304):
                    raise refusal(url, response.status, names)
                body = b"" if response.status == 304 else _body(response.iter_stream(), names, max_bytes, cut, url)
                return Response(response.status, names, body, url)
        except (httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError) as error:
            raise FeedUnavailable(f"{shown(url)} cannot be read.", found=str(error) or type(error).__name__) from error
        except (httpcore.UnsupportedProtocol, httpx.InvalidURL, UnicodeError, ValueError) as error:
            raise FeedError("The address of the feed cannot be used.", found=shown(url), expected="http or https") from error


def refusal(url: str, status: int, headers: Mapping[str, str]) -> FeedError:
    """Return the error for a status that is neither 200 nor 304."""
    if status in LATER:
        return FeedUnavailable(
            f"{shown(url)} is not available at the moment.",
            found=f"HTTP {status}",
            status=status,
            wait_s=seconds_to_wait(headers.get("retry-after")),
        )
    remedies = {401: "The feed needs an account.", 403: "The server refuses this client.", 410: "The feed is gone; remove it."}
    return FeedError(
        f"{shown(url)} cannot be read.",
        found=f"HTTP {status}",
        expected="HTTP 200 with a feed",
        remedy=remedies.get(status, "Check the address."),
        status=status,
    )


def seconds_to_wait(retry_after: str | None) -> float | None:
    """Return the seconds in a `Retry-After` header, 0 to `MAX_WAIT_S`; None without a valid one."""
    if retry_after is None:
        return None
    if retry_after.strip().isdecimal():
        return min(float(retry_after), MAX_WAIT_S)
    try:
        at = parsedate_to_datetime(retry_after)
    except (ValueError, TypeError):
        return None
    left = (at.replace(tzinfo=at.tzinfo or UTC) - datetime.now(UTC)).total_seconds()
    return min(max(left, 0.0), MAX_WAIT_S)


def _body(blocks: Iterator[bytes], headers: Mapping[str, str], max_bytes: int, cut: bool, url: str) -> bytes:
    encoding = headers.get("content-encoding", "identity").strip().lower()
    if encoding in ("identity", ""):
        parts = blocks
    elif encoding in ("gzip", "x-gzip", "deflate"):
        parts = _decompressed(blocks)
    else:
        raise FeedError(f"{shown(url)} is compressed in an unknown way.", found=encoding, expected="gzip or deflate")
    body = bytearray()
    try:
        for part in parts:
            body += part
            if len(body) > max_bytes:
                if cut:
                    return bytes(body[:max_bytes])
                raise FeedError(
                    f"{shown(url)} is too large.",
                    found=f"more than {max_bytes:,} bytes",
                    expected=f"at most {max_bytes:,} bytes, decompressed",
                )
    except zlib.error as error:
        raise FeedUnavailable(f"{shown(url)} is corrupt.", found=error, expected=encoding) from error
    return bytes(body)


def _decompressed(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """Yield parts of at most `_BLOCK` bytes, so that a small response cannot fill the memory before it is counted.

    Raises:
        zlib.error: The data is corrupt or ends too early.
    """
    inflate, started = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32), False
    for block in blocks:
        if not started and block:
            started = True
            # gzip begins with 1f 8b, zlib with a header that 31 divides; some servers send neither for `deflate`.
            if block[:2] != b"\x1f\x8b" and (len(block) < 2 or int.from_bytes(block[:2], "big") % 31):
                inflate = zlib.decompressobj(wbits=-zlib.MAX_WBITS)
        data = block
        while data and not inflate.eof:
            yield inflate.decompress(data, _BLOCK)
            data = inflate.unconsumed_tail
    if started and not inflate.eof:
        raise zlib.error("the compressed data ends too early")
