"""Pages that are fetched: within bounds of bytes, time and redirects, from public addresses, for sec.gov with a contact."""

import gzip
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from data.errors import DataError, MalformedData, SettingsError, SourceUnavailable
from serving.documents import fetching
from serving.documents.fetching import MAX_REDIRECTS, Fetcher, resolve
from tests.serving.running import spare_port

PAGE = b"<p>Profit rose.</p>"


class _Handler(BaseHTTPRequestHandler):
    respond: Callable[["_Handler"], None]
    requests: list[dict[str, str]]

    def do_GET(self):
        self.requests.append({"path": self.path} | {name.lower(): value for name, value in self.headers.items()})
        try:
            self.respond()
        except OSError:
            self.close_connection = True  # the client has what it wants

    def send(self, body: bytes, status: int = 200, **headers: str) -> None:
        self.send_response(status)
        for name, value in ({"content_type": "text/html; charset=utf-8", "content_length": str(len(body))} | headers).items():
            if value:
                self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@contextmanager
def serving(respond: Callable[[_Handler], None]) -> Iterator[tuple[str, list[dict[str, str]]]]:
    """Serve a response on 127.0.0.1; yields the URL and the requests."""
    handler = type("Handler", (_Handler,), {"respond": respond, "requests": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/a.htm", handler.requests
    finally:
        server.shutdown()
        server.server_close()


def fetch(url: str, fetcher: Fetcher | None = None) -> bytes:
    with (fetcher or Fetcher(allow_private=True)).page(url) as source:
        return source.path.read_bytes()


def test_page_is_fetched_and_its_file_is_removed_after_use():
    with serving(lambda handler: handler.send(PAGE)) as (url, requests), Fetcher(allow_private=True).page(url) as source:
        assert source.path.read_bytes() == PAGE
        assert (source.name, source.is_page, source.charset) == (url, True, "utf-8")
    assert not source.path.exists()
    assert requests[0]["user-agent"] == "groundswell"


def test_compressed_page_is_unpacked_and_bounded_unpacked(monkeypatch):
    packed = gzip.compress(PAGE * 1_000)
    with serving(lambda handler: handler.send(packed, content_encoding="gzip")) as (url, _):
        assert fetch(url) == PAGE * 1_000
        monkeypatch.setattr(fetching, "MAX_DOCUMENT_BYTES", 10_000)
        monkeypatch.setattr("serving.documents.reading.MAX_DOCUMENT_BYTES", 10_000)
        with pytest.raises(MalformedData, match="too large"):
            fetch(url)


def test_large_page_is_refused_by_its_declared_size():
    with (
        serving(lambda handler: handler.send(PAGE, content_length="200000000")) as (url, _),
        pytest.raises(MalformedData, match="200,000,000 bytes"),
    ):
        fetch(url)


def test_page_without_end_is_refused_when_it_is_too_large(monkeypatch):
    def stream(handler: _Handler) -> None:
        handler.send(b"", content_length="")
        while True:
            handler.wfile.write(b"Profit rose. " * 1_000)

    monkeypatch.setattr(fetching, "MAX_DOCUMENT_BYTES", 100_000)
    monkeypatch.setattr("serving.documents.reading.MAX_DOCUMENT_BYTES", 100_000)
    with serving(stream) as (url, _), pytest.raises(MalformedData, match="too large"):
        fetch(url)


def test_page_that_takes_too_long_is_refused(monkeypatch):
    monkeypatch.setattr(fetching, "DEADLINE_S", -1.0)
    with serving(lambda handler: handler.send(PAGE)) as (url, _), pytest.raises(SourceUnavailable, match="not complete after"):
        fetch(url)


def test_redirect_is_followed_and_a_loop_is_refused():
    def to_b(handler: _Handler) -> None:
        handler.send(b"", 302, location="/b.htm") if handler.path == "/a.htm" else handler.send(PAGE)

    with serving(to_b) as (url, _):
        assert fetch(url) == PAGE
    with serving(lambda handler: handler.send(b"", 302, location="/a.htm")) as (url, requests):
        with pytest.raises(SourceUnavailable, match="redirects"):
            fetch(url)
        assert len(requests) == MAX_REDIRECTS + 1


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.1.2.3",
        "192.168.0.9",
        "169.254.169.254",
        "::1",
        "fe80::1%eth0",
        "::ffff:10.0.0.1",
        "0.0.0.0",
        "100.64.0.1",
    ],
)
def test_private_address_is_refused_before_a_connection(address):
    fetcher = Fetcher(resolve=lambda *_: ["93.184.216.34", address])
    with pytest.raises(SourceUnavailable, match="not a public one") as refused:
        fetch("http://example.com/a.htm", fetcher)
    assert refused.value.found == address and "--allow-private" in str(refused.value.remedy)


def test_redirect_from_a_public_host_to_a_private_one_is_refused(monkeypatch):
    monkeypatch.setattr(fetching, "is_public", lambda address: address == "127.0.0.1")
    names = {"public.example": "127.0.0.1", "private.example": "127.0.0.2"}
    fetcher = Fetcher(resolve=lambda host, _: [names[host]])
    with (
        serving(lambda handler: handler.send(b"", 302, location="http://private.example/")) as (url, requests),
        pytest.raises(SourceUnavailable, match=r"private\.example is not a public one"),
    ):
        fetch(url.replace("127.0.0.1", "public.example"), fetcher)
    assert len(requests) == 1 and requests[0]["host"].startswith("public.example:"), "the address is used, the name is sent"


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("ftp://example.com/a", "http:// or https://"),
        ("file:///etc/passwd", "http:// or https://"),
        ("http://", "a host"),
        ("http://user:secret@example.com/", "a user name or a password"),
        ("http://[::1", "is not a URL"),
    ],
)
def test_url_that_is_not_of_a_public_page_is_refused(url, message):
    with pytest.raises(SourceUnavailable, match=message) as refused:
        fetch(url)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    ("headers", "status", "error", "message"),
    [
        ({"content_type": "application/pdf"}, 200, MalformedData, "application/pdf"),
        ({"content_type": "application/json"}, 200, MalformedData, "application/json"),
        ({}, 404, SourceUnavailable, "status 404"),
        ({}, 403, SourceUnavailable, "status 403"),
        ({}, 304, SourceUnavailable, "status 304"),
    ],
)
def test_response_that_is_no_page_is_refused(headers, status, error, message):
    with serving(lambda handler: handler.send(b"x", status, **headers)) as (url, _), pytest.raises(error, match=message):
        fetch(url)


def test_empty_page_and_a_host_that_does_not_respond_are_errors():
    with serving(lambda handler: handler.send(b"")) as (url, _), pytest.raises(MalformedData, match="is empty"):
        fetch(url)
    with pytest.raises(SourceUnavailable, match="cannot be fetched"):
        fetch(f"http://127.0.0.1:{spare_port()}/")

    def unknown(host: str, port: int) -> list[str]:
        raise OSError("Name or service not known")

    with pytest.raises(DataError, match=r"The host example\.invalid is not known"):
        fetch("http://example.invalid/", Fetcher(resolve=unknown))


def test_sec_is_asked_only_with_a_contact():
    with pytest.raises(SettingsError, match="GROUNDSWELL_DOCUMENTS__USER_AGENT"):
        fetch("https://www.sec.gov/Archives/a.htm", Fetcher(user_agent="groundswell"))
    agent = "Example Inc. filings@example.com"
    fetcher = Fetcher(agent, allow_private=True, resolve=lambda *_: ["127.0.0.1"])
    with serving(lambda handler: handler.send(PAGE)) as (url, requests):
        assert fetch(url.replace("127.0.0.1", "www.sec.gov"), fetcher) == PAGE
    assert requests[0]["user-agent"] == agent


def test_names_are_resolved_by_the_system():
    assert "127.0.0.1" in resolve("127.0.0.1", 80)
