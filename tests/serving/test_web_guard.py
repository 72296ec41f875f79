"""What a browser may send to a service on this machine, by the headers alone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.web_guard import refusal

OURS = ["127.0.0.1:3001", "localhost:3001", "LocalHost", "localhost.", "[::1]:3001", "10.1.2.3", "groundswell.example:443"]
FOREIGN = [
    "evil.example",
    "evil.example:3001",
    "localhost.evil.example",
    "127.0.0.1.evil.example",
    "127.0.0.1@evil.example",
    "localhost:3001@evil.example",
    "0x7f000001",
    "[::1].evil.example",
    " ",
]
LINK = {"sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}


def scope(method="GET", kind="http", **headers):
    pairs = [(name.replace("_", "-").encode(), value.encode("latin-1")) for name, value in headers.items()]
    return {"type": kind, "path": "/", "headers": pairs} | ({"method": method} if kind == "http" else {})


@pytest.mark.parametrize("kind", ["http", "websocket"])
@pytest.mark.parametrize("host", OURS + FOREIGN)
def test_host_must_be_an_address_localhost_or_a_known_name(host, kind):
    found = refusal(scope(kind=kind, host=host), ["groundswell.example"])
    assert (found is None) == (host in OURS)


def test_host_named_twice_is_refused():
    twice = scope(host="127.0.0.1")
    twice["headers"].append((b"host", b"127.0.0.1"))
    assert refusal(scope()) is None and refusal(twice)


@pytest.mark.parametrize("kind", ["http", "websocket"])
@pytest.mark.parametrize(
    ("origin", "passes"),
    [
        ("http://127.0.0.1:3001", True),
        ("http://127.0.0.1:3000", False),
        ("http://localhost:3001", False),
        ("https://evil.example", False),
        ("null", False),
        ("", False),
    ],
)
def test_origin_must_be_the_host(origin, passes, kind):
    assert (refusal(scope("POST", kind, host="127.0.0.1:3001", origin=origin)) is None) == passes


@pytest.mark.parametrize(
    ("method", "kind", "headers", "passes"),
    [
        ("POST", "http", {"sec_fetch_site": "same-origin"}, True),
        ("GET", "http", {"sec_fetch_site": "none"}, True),
        ("GET", "http", {"sec_fetch_site": "cross-site", **LINK}, True),
        ("GET", "http", {"sec_fetch_site": "cross-site"}, False),
        ("GET", "http", {"sec_fetch_site": "cross-site", **LINK, "sec-fetch-dest": "iframe"}, False),
        ("POST", "http", {"sec_fetch_site": "cross-site", **LINK}, False),
        ("POST", "http", {"sec_fetch_site": "same-site"}, False),
        ("", "websocket", {"sec_fetch_site": "cross-site", **LINK}, False),
    ],
)
def test_fetch_metadata_lets_pass_own_pages_and_links(method, kind, headers, passes):
    assert (refusal(scope(method, kind, host="127.0.0.1", **headers)) is None) == passes


@given(st.text(st.characters(max_codepoint=255), max_size=60), st.sampled_from(["http", "websocket"]))
def test_no_name_passes_unasked_whatever_it_looks_like(host, kind):
    if refusal(scope(kind=kind, host=host)) is None and host:
        name = host.lower().rpartition(":")[0] if host.count(":") == 1 else host.lower()
        assert name.strip("[].") == "localhost" or set(name) <= set("0123456789abcdef:.[]"), host
