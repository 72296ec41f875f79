"""Which requests a browser may send here: a web page of another site reaches a service on this machine as easily as its user.

Two ways are closed. A page posts to http://127.0.0.1:3000: its browser says so in `Origin` and `Sec-Fetch-Site`. Or its own
name is made to lead to this machine (DNS rebinding), so that the browser believes that the page came from here: then `Host` is
that name. Programs send none of these headers, and an IP address or localhost for a host.
"""

import ipaddress
import re
from collections.abc import Collection, MutableMapping
from typing import Any
from urllib.parse import urlsplit

from serving.service import problems
from serving.service.problems import Refused

ANY = "*"
_OURS = frozenset({b"same-origin", b"none"})
"""Of `Sec-Fetch-Site`: our own pages; what a person typed."""
_HOST = re.compile(r"(?:\[(?P<address>[0-9a-fA-F:.]+)\]|(?P<name>[\w.-]+))(?::[0-9]{1,5})?", re.ASCII)


def refuse_foreign(scope: MutableMapping[str, Any], hosts: Collection[str]) -> None:
    """Refuse a request or WebSocket that a page of another site sent, or that is meant for another host.

    Args:
        scope: Of the connection.
        hosts: Names, beside localhost and IP addresses, under which the service is reached; `*`: any.

    Raises:
        Refused: 400 or 403.
    """
    found = [value for name, value in scope["headers"] if name == b"host"]
    if len(found) > 1:
        raise Refused(problems.BAD_REQUEST, "The request names its host more than once.")
    host = found[0].decode("latin-1") if found else ""
    if host and ANY not in hosts and not _is_ours(host, hosts):
        detail = f"The host {host[:100]!r} is not among GROUNDSWELL_SERVING__HOSTS. Use the service's address, or add the name."
        raise Refused(problems.HOST_NOT_ALLOWED, detail)
    headers = dict(scope["headers"])
    site, origin = headers.get(b"sec-fetch-site"), headers.get(b"origin")
    if site is not None and site not in _OURS and not _follows_a_link(scope, headers):
        raise Refused(problems.CROSS_SITE, "Pages of other sites may send no requests here.")
    if origin is not None and urlsplit(origin.decode("latin-1")).netloc.lower() != host.lower():
        raise Refused(problems.CROSS_SITE, "Pages of other sites may send no requests here.")


def _is_ours(host: str, hosts: Collection[str]) -> bool:
    name = _name(host)
    if name == "localhost" or name in {known.lower() for known in hosts}:
        return True
    try:
        ipaddress.ip_address(name)  # no name leads here, so none was made to
    except ValueError:
        return False
    return True


def _name(host: str) -> str:
    """The name or address of a `Host` header, without its port; empty where it is neither."""
    found = _HOST.fullmatch(host)
    return (found["address"] or found["name"]).lower().removesuffix(".") if found else ""


def _follows_a_link(scope: MutableMapping[str, Any], headers: dict[bytes, bytes]) -> bool:
    """Whether a person follows a link to a page: the site it stands on sees nothing of the response, and nothing is changed."""
    navigates = headers.get(b"sec-fetch-mode") == b"navigate" and headers.get(b"sec-fetch-dest") == b"document"
    return scope["type"] == "http" and scope["method"] in {"GET", "HEAD"} and navigates
