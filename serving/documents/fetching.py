"""Get the page of a URL: http and https only, bounded in bytes, time and redirects, from public addresses.

A name is resolved once, its addresses are checked, and the connection is made to the checked address: a second look-up could give
another one. So proxies of the environment are not used.
"""

import socket
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx

from data.errors import MalformedData, SettingsError, SourceUnavailable
from serving.documents.parsed import Source
from serving.documents.reading import MAX_DOCUMENT_BYTES, require_size
from serving.public_address import is_public

MAX_REDIRECTS = 5
DEADLINE_S = 60.0
"""Of all requests of one page together."""
_TIMEOUT_S = 10.0
"""Of a connection, and between two parts of a response."""
_PAGES, _PLAIN = ("text/html", "application/xhtml+xml"), ("text/plain",)
_AGENT = "groundswell"
_SEC = "sec.gov"
_DOWNLOAD = "Download it with a browser and classify the file."
Resolve = Callable[[str, int], list[str]]
"""Returns the addresses of a host name and port; raises `OSError`."""


def resolve(host: str, port: int) -> list[str]:
    """Return the addresses of a name, by the system."""
    return [str(found[4][0]) for found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


@dataclass(frozen=True)
class Fetcher:
    """Gets pages."""

    user_agent: str | None = None
    """With a contact; sec.gov requires one."""
    allow_private: bool = False
    """Whether addresses of private networks and of this machine are allowed."""
    resolve: Resolve = resolve

    @contextmanager
    def page(self, url: str) -> Generator[Source]:
        """Get a page; its file exists within the block.

        Raises:
            SourceUnavailable: The page cannot be had: the scheme, the address, a redirect, the status, the time.
            MalformedData: It is too large, empty, or of another content type.
            SettingsError: sec.gov is asked without a contact.
        """
        deadline = time.monotonic() + DEADLINE_S
        with TemporaryDirectory(prefix="groundswell-") as folder, httpx.Client(trust_env=False, timeout=_TIMEOUT_S) as client:
            file, at = Path(folder) / "page", _parsed(url)
            for _ in range(MAX_REDIRECTS + 1):
                found = self._get(client, at, file, url, deadline)
                if isinstance(found, Source):
                    yield found
                    return
                at = found
            redirects, expected = f"more than {MAX_REDIRECTS} redirects", "a page"
            raise SourceUnavailable(f"{url} cannot be fetched.", found=redirects, expected=expected, remedy=_DOWNLOAD)

    def _get(self, client: httpx.Client, at: httpx.URL, file: Path, url: str, deadline: float) -> Source | httpx.URL:
        """Store the page, or return where it has moved."""
        _require_time(url, deadline)
        request = self._request(client, at)
        try:
            response = client.send(request, stream=True)
            try:
                if not response.has_redirect_location:
                    return self._stored(response, file, url, deadline)
            finally:
                response.close()
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            found = f"{type(error).__name__}: {error}"
            raise SourceUnavailable(f"{at} cannot be fetched.", found=found, remedy=_DOWNLOAD) from error
        return _parsed(response.headers["location"], at)

    def _request(self, client: httpx.Client, target: httpx.URL) -> httpx.Request:
        host = target.host
        if (host == _SEC or host.endswith(f".{_SEC}")) and "@" not in (self.user_agent or ""):
            raise SettingsError(
                f"{host} wants to know who asks.",
                found="no user agent with a mail address",
                expected="a name and a mail address, such as `Example Inc. filings@example.com`",
                remedy="Set GROUNDSWELL_DOCUMENTS__USER_AGENT.",
            )
        address = self._address(target)
        headers = {"host": target.netloc.decode(), "user-agent": self.user_agent or _AGENT, "accept-encoding": "gzip, deflate"}
        headers["accept"] = ", ".join((*_PAGES, *_PLAIN))
        extensions = {"sni_hostname": host} if target.scheme == "https" else {}
        return client.build_request("GET", target.copy_with(host=address), headers=headers, extensions=extensions)

    def _address(self, target: httpx.URL) -> str:
        """Return the first address of the host, after a check of all of them."""
        host, port = target.host, target.port or (443 if target.scheme == "https" else 80)
        try:
            addresses = self.resolve(host, port)
        except (OSError, UnicodeError) as error:
            raise SourceUnavailable(f"The host {host} is not known.", found=error, remedy="Check the URL.") from error
        private = [one for one in addresses if not is_public(one)]
        if private and not self.allow_private:
            raise SourceUnavailable(
                f"The host {host} is not a public one.",
                found=private[0],
                expected="an address of the internet, not of a private network or of this machine",
                remedy="If you trust it, add --allow-private.",
            )
        return addresses[0]

    def _stored(self, response: httpx.Response, file: Path, url: str, deadline: float) -> Source:
        if response.status_code != 200:
            found = f"status {response.status_code} {response.reason_phrase}".rstrip()
            raise SourceUnavailable(f"{url} cannot be fetched.", found=found, expected="status 200", remedy=_DOWNLOAD)
        kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind and kind not in (*_PAGES, *_PLAIN):
            remedy = "Give the URL of a page, or save its text and classify the file."
            raise MalformedData(f"{url} is no page.", found=kind, expected=" or ".join((*_PAGES, *_PLAIN)), remedy=remedy)
        if (length := response.headers.get("content-length", "")).isdigit():
            require_size(int(length), url)
        size = 0
        with file.open("wb") as stored:
            for part in response.iter_bytes():
                stored.write(part)
                size += len(part)
                if size > MAX_DOCUMENT_BYTES:
                    require_size(size, url)
                _require_time(url, deadline)
        require_size(size, url)
        return Source(file, url, kind in _PAGES, response.charset_encoding)


def _parsed(url: str, base: httpx.URL | None = None) -> httpx.URL:
    try:
        target = base.join(url) if base else httpx.URL(url)
    except httpx.InvalidURL as error:
        raise SourceUnavailable(f"{url[:200]} is not a URL.", found=error, expected="http:// or https://") from error
    if target.scheme not in ("http", "https") or not target.host:
        found = f"{target.scheme or 'no scheme'}, {target.host or 'no host'}"
        raise SourceUnavailable(f"{url[:200]} cannot be fetched.", found=found, expected="http:// or https:// and a host")
    if target.userinfo:
        raise SourceUnavailable("The URL has a user name or a password.", expected="a public page", remedy=_DOWNLOAD)
    return target


def _require_time(url: str, deadline: float) -> None:
    if time.monotonic() > deadline:
        found = f"not complete after {DEADLINE_S:.0f} s"
        raise SourceUnavailable(f"{url} cannot be fetched.", found=found, remedy=_DOWNLOAD)
