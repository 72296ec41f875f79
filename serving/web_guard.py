"""Refuse requests that a web page of another site sends to a service on this machine through the user's browser.

Two attacks are blocked. A page sends a request to http://127.0.0.1: the browser names the page in `Origin` and `Sec-Fetch-Site`.
Or the page's own host name resolves to this machine (DNS rebinding), so that the browser treats the service as part of the page:
then `Host` has that name. Other programs send none of these headers, and use an address or localhost.
"""

import ipaddress
import re
from collections.abc import Collection, Mapping
from enum import StrEnum
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

ANY = "*"
"""As an allowed host: any name."""
_HOST = re.compile(r"(?:\[(?P<address>[0-9a-fA-F:.]+)\]|(?P<name>[\w.-]+))(?::[0-9]{1,5})?", re.ASCII)
_MAX_HOST = 300
"""Characters; a name has at most 253."""
_OWN_PAGES = {b"same-origin", b"none"}
"""Values of `Sec-Fetch-Site`; `none`: the user typed the address."""


class Foreign(StrEnum):
    """Why a request is refused."""

    HOST_TWICE = "The request names its host more than once."
    HOST = "The host is not an address, localhost or an allowed name."
    CROSS_SITE = "Pages of other sites may not send requests to this service."


def foreign(scope: Mapping[str, Any], hosts: Collection[str] = ()) -> Foreign | None:
    """Return the reason to refuse a request or WebSocket; None: it may pass.

    Args:
        scope: The ASGI scope of the connection, `http` or `websocket`.
        hosts: Names under which the service is reached, in addition to localhost and IP addresses; `*`: any.
    """
    named = [value for name, value in scope["headers"] if name == b"host"]
    if len(named) > 1:
        return Foreign.HOST_TWICE
    headers, host = dict(scope["headers"]), host_of(scope)
    if host and ANY not in hosts and not _is_ours(host[: _MAX_HOST + 1], frozenset(hosts)):
        return Foreign.HOST
    site, origin = headers.get(b"sec-fetch-site"), headers.get(b"origin")
    if site is not None and site not in _OWN_PAGES and not _follows_a_link(scope, headers):
        return Foreign.CROSS_SITE
    if origin is not None and urlsplit(origin.decode("latin-1")).netloc.lower() != host.lower():
        return Foreign.CROSS_SITE
    return None


def host_of(scope: Mapping[str, Any]) -> str:
    """Return the `Host` header, with its port; empty if there is none."""
    return next((value.decode("latin-1") for name, value in scope["headers"] if name == b"host"), "")


@lru_cache(1024)  # clients repeat theirs, and parsing an address takes longer than the rest of this module
def _is_ours(host: str, hosts: frozenset[str]) -> bool:
    match = _HOST.fullmatch(host) if len(host) <= _MAX_HOST else None
    name = (match["address"] or match["name"]).lower().removesuffix(".") if match else ""
    if name == "localhost" or name in {known.lower() for known in hosts}:
        return True
    try:
        ipaddress.ip_address(name)  # without a DNS lookup there is no DNS rebinding
    except ValueError:
        return False
    return True


def _follows_a_link(scope: Mapping[str, Any], headers: Mapping[bytes, bytes]) -> bool:
    """Whether the user follows a link to a page of this service: the linking site cannot read the response."""
    navigates = headers.get(b"sec-fetch-mode") == b"navigate" and headers.get(b"sec-fetch-dest") == b"document"
    return scope["type"] == "http" and scope["method"] in {"GET", "HEAD"} and navigates
