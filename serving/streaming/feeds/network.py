"""Connections to public servers only, each within a time limit, and ended early when the command stops.

The address is checked where the connection is made, after the name was resolved and for each redirect: so neither a redirect nor
a name that resolves to another address the second time (DNS rebinding) reaches the private network.
"""

import socket
import ssl
import threading
import time
from collections.abc import Iterable
from typing import Any

import httpcore

from serving.public_address import is_public
from serving.streaming.feeds.errors import FeedError, FeedUnavailable

CONNECT_S = 10.0
SLICE_S = 0.5
"""A wait looks this often whether the command stops."""


def resolve(host: str, port: int, *, allow_private: bool) -> list[str]:
    """Return the addresses of a host. Blocks as long as the system's resolver does.

    Raises:
        FeedError: One of them is not public, and only public ones are allowed.
        FeedUnavailable: The name cannot be resolved.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise FeedUnavailable(f"The name {host} cannot be resolved.", found=error, remedy="Check the address.") from error
    addresses = list(dict.fromkeys(str(one[4][0]) for one in found))
    private = [address for address in addresses if not is_public(address)]
    if private and not allow_private:
        raise FeedError(
            f"{host} is in a private network.",
            found=", ".join(private),
            expected="an address of the public internet",
            remedy="Use --allow-private if you trust this feed and everything that it may redirect to.",
        )
    return addresses


class Watch:
    """The time that a request has left, and the event that ends it early."""

    def __init__(self, stop: threading.Event) -> None:
        self._stop = stop
        self._ends_at = 0.0

    def begin(self, total_s: float) -> None:
        """Start the time of a request."""
        self._ends_at = time.monotonic() + total_s

    def left_s(self) -> float:
        """Return the seconds left, more than 0.

        Raises:
            FeedUnavailable: None is left, or the command stops.
        """
        if self._stop.is_set():
            raise FeedUnavailable("Stopped during a request.")
        left = self._ends_at - time.monotonic()
        if left <= 0:
            raise FeedUnavailable("The response did not end in time.", remedy="The feed is read again later.")
        return left


class PublicBackend(httpcore.NetworkBackend):
    """What httpcore connects with: public addresses only, and streams that keep to a `Watch`."""

    def __init__(self, watch: Watch, *, allow_private: bool) -> None:
        self._watch, self._allow_private = watch, allow_private
        self._inner = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        """Connect to the first address that accepts."""
        failed: Exception | None = None
        for address in resolve(host, port, allow_private=self._allow_private):
            try:
                within = min(CONNECT_S, self._watch.left_s())
                stream = self._inner.connect_tcp(address, port, within, local_address, socket_options)
                return _WatchedStream(stream, self._watch)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failed = error
        raise failed or httpcore.ConnectError(f"{host} has no address")


class _WatchedStream(httpcore.NetworkStream):
    """A stream whose waits are short, so that it notices the end of the time and of the command."""

    def __init__(self, inner: httpcore.NetworkStream, watch: Watch) -> None:
        self._inner, self._watch = inner, watch

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        while True:
            try:
                return self._inner.read(max_bytes, min(SLICE_S, self._watch.left_s()))
            except httpcore.ReadTimeout:
                continue  # left_s raises when the time is over

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._inner.write(buffer, min(CONNECT_S, self._watch.left_s()))

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        within = min(CONNECT_S, self._watch.left_s())
        return _WatchedStream(self._inner.start_tls(ssl_context, server_hostname, within), self._watch)

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)
