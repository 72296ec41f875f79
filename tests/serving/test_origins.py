"""Requests of web pages of other sites are refused: by the headers, and in the real service."""

from contextlib import nullcontext

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from serving.service.middleware.origins import refuse_foreign
from serving.service.problems import Refused
from serving.web_guard import foreign
from tests.models import tiny_bundle
from tests.serving.running import serving

EVIL = "https://evil.example"
LINK = {"sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}


def scope(method="GET", kind="http", **headers):
    pairs = [(name.replace("_", "-").encode(), value.encode("latin-1")) for name, value in headers.items()]
    return {"type": kind, "headers": pairs} | ({"method": method} if kind == "http" else {})


OURS = [
    "127.0.0.1:3000",
    "localhost:3000",
    "LocalHost",
    "localhost.",
    "[::1]:3000",
    "10.1.2.3:3000",
    "127.9.9.9",
    "[2001:db8::1]",
    "groundswell.example",
    "Groundswell.Example:8443",
]
FOREIGN = [
    "evil.example",
    "evil.example:3000",
    "localhost.evil.example",
    "127.0.0.1.evil.example",
    "127.0.0.1@evil.example",
    "evil.example.",
    "xn--9-2fa.example",
    "localhost:3000@evil.example",
    "0x7f000001",
    "2130706433.example",
    "[::1].evil.example",
    "[evil.example]",
    " ",
    "\x7f",
]


@pytest.mark.parametrize("kind", ["http", "websocket"])
@pytest.mark.parametrize("host", OURS + FOREIGN)
def test_host_is_an_address_localhost_or_a_name_of_the_settings(host, kind):
    with pytest.raises(Refused, match="HOSTS") if host in FOREIGN else nullcontext():
        refuse_foreign(scope(kind=kind, host=host), ["groundswell.example"])
    refuse_foreign(scope(kind=kind, host=host), ["*"])


def test_request_has_at_most_one_host():
    refuse_foreign(scope(), [])
    twice = scope(host="127.0.0.1")
    twice["headers"].append((b"host", b"evil.example"))
    with pytest.raises(Refused) as caught:
        refuse_foreign(twice, ["*"])
    assert caught.value.status == 400


@pytest.mark.parametrize("kind", ["http", "websocket"])
@pytest.mark.parametrize(
    ("origin", "refused"),
    [
        ("http://127.0.0.1:3000", False),
        ("https://127.0.0.1:3000", False),
        ("http://127.0.0.1:8080", True),
        ("http://127.0.0.1", True),
        (EVIL, True),
        ("null", True),
        ("", True),
        ("http://127.0.0.1:3000.evil.example", True),
        ("file://", True),
    ],
)
def test_origin_must_be_the_host(origin, refused, kind):
    with pytest.raises(Refused, match="other sites") if refused else nullcontext():
        refuse_foreign(scope(method="POST", kind=kind, host="127.0.0.1:3000", origin=origin), [])


@pytest.mark.parametrize(
    ("method", "headers", "refused"),
    [
        ("POST", {"sec-fetch-site": "same-origin"}, False),
        ("GET", {"sec-fetch-site": "none"}, False),
        ("GET", {"sec-fetch-site": "cross-site"}, True),
        ("POST", {"sec-fetch-site": "cross-site"}, True),
        ("DELETE", {"sec-fetch-site": "same-site"}, True),
        ("GET", {"sec-fetch-site": "same-site"}, True),
        ("GET", {"sec-fetch-site": "anything"}, True),
        ("GET", {"sec-fetch-site": "cross-site"} | LINK, False),
        ("HEAD", {"sec-fetch-site": "same-site"} | LINK, False),
        ("POST", {"sec-fetch-site": "cross-site"} | LINK, True),
        ("GET", {"sec-fetch-site": "cross-site"} | LINK | {"sec-fetch-dest": "iframe"}, True),
        ("GET", {"sec-fetch-site": "cross-site"} | LINK | {"sec-fetch-mode": "no-cors"}, True),
    ],
)
def test_fetch_metadata_of_another_site_is_refused(method, headers, refused):
    with pytest.raises(Refused, match="other sites") if refused else nullcontext():
        refuse_foreign(scope(method=method, host="127.0.0.1:3000", **headers), [])


@pytest.mark.parametrize("headers", [{"sec-fetch-site": "cross-site"} | LINK, {"sec-fetch-site": "same-site"}])
def test_web_socket_of_a_link_is_refused(headers):
    with pytest.raises(Refused):
        refuse_foreign(scope(kind="websocket", host="127.0.0.1:3000", **headers), [])


@given(st.text(st.characters(max_codepoint=255), max_size=60), st.sampled_from(["http", "websocket"]))
def test_no_host_name_passes_unlisted(host, kind):
    if foreign(scope(kind=kind, host=host)) is None and host:
        name = host.lower().rpartition(":")[0] if host.count(":") == 1 else host.lower()
        assert name.strip("[].") == "localhost" or set(name) <= set("0123456789abcdef:.[]"), host


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    folder = tmp_path_factory.mktemp("service")
    with serving(tiny_bundle(folder / "bundle"), folder, hosts='["groundswell.example"]') as (client, _):
        yield client


ROUTES = [
    ("POST", "/v1/classify"),
    ("POST", "/v1/jobs"),
    ("POST", "/v1/feedback"),
    ("GET", "/v1/model"),
    ("GET", "/v1/panels/api"),
    ("DELETE", "/v1/jobs/x"),
    ("GET", "/"),
    ("GET", "/docs"),
    ("GET", "/metrics"),
    ("OPTIONS", "/v1/classify"),
    ("PUT", "/none"),
    ("GET", "/static_content/swagger-ui.css"),
    ("GET", "/schema.json"),
]


@pytest.mark.integration
@pytest.mark.parametrize(("method", "route"), ROUTES)
@pytest.mark.parametrize(
    "headers",
    [
        {"origin": EVIL},
        {"sec-fetch-site": "cross-site"},
        {"host": "evil.example", "origin": "http://evil.example"},
        {"host": "evil.example:3000", "origin": "http://evil.example:3000", "sec-fetch-site": "same-origin"},
    ],
    ids=["a foreign origin", "a foreign site", "rebound", "rebound, as the browser sees it"],
)
def test_page_of_another_site_reaches_no_route(method, route, headers, service):
    body = {"texts": ["a great film"], "text": "a great film", "label": "negative", "by": "evil"}
    response = service.request(method, route, json=body, headers=headers)
    problem = response.json()
    assert (response.status_code, problem["title"]) in {(403, "Cross-site request"), (403, "Host not allowed")}
    assert "vary" not in response.headers and "access-control-allow-origin" not in response.headers


@pytest.mark.integration
def test_form_of_another_page_cannot_post_without_origin_headers(service):
    body = '{"text": "a great film", "label": "negative", "by": "evil"}'
    for route in ("/v1/feedback", "/v1/jobs", "/v1/classify"):
        for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", ""):
            response = service.post(route, content=body, headers={"content-type": kind})
            assert (response.status_code, response.json()["title"]) == (415, "Unsupported content type")


@pytest.mark.integration
def test_own_page_and_programs_are_accepted(service):
    body, here = {"texts": ["a great film"]}, str(service.base_url).rstrip("/")
    for headers in (
        {},
        {"origin": here, "sec-fetch-site": "same-origin"},
        {"host": "groundswell.example"},
        {"host": "groundswell.example", "origin": "https://groundswell.example"},
    ):
        assert service.post("/v1/classify", json=body, headers=headers).status_code == 200
    assert service.get("/docs", headers={"sec-fetch-site": "cross-site"} | LINK).status_code == 200, "links from other sites work"


@pytest.mark.integration
def test_probes_accept_any_host(service):
    for route in ("/livez", "/readyz", "/healthz"):
        assert service.get(route, headers={"host": "probe.example"}).status_code == 200


@pytest.mark.integration
@pytest.mark.parametrize("headers", [{"Host": "evil.example", "Origin": "http://evil.example"}, {"Host": "evil.example"}])
def test_rebound_name_opens_no_web_socket(headers, service):
    port = service.base_url.port
    origin = headers.pop("Origin", None)

    def opened():
        import socket

        raw = socket.create_connection(("127.0.0.1", port))
        return connect(f"ws://{headers['Host']}/v1/live", sock=raw, origin=origin, proxy=None)

    with pytest.raises(InvalidStatus) as caught:
        opened()
    assert caught.value.response.status_code == 403
