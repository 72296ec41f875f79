"""Every request gets a response, every error is a problem, and the log has the status that the caller got."""

import asyncio
import json

import pytest
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, StreamingResponse

from serving.service import problems
from serving.service.middleware import observing
from serving.service.middleware.admission import Admission, Authenticator
from serving.service.middleware.observing import Observing
from serving.service.problems import CATALOG, Refused, kind_of


@pytest.fixture
def lines(monkeypatch):
    """The lines of the log."""
    written = []

    class Log:
        def __getattr__(self, level):
            return lambda event, **fields: written.append({"event": event, "level": level} | fields)

    monkeypatch.setattr(observing, "log", Log)
    monkeypatch.setattr("serving.service.middleware.admission.log", Log)
    return written


def ask(app, path="/v1/model", **scope):
    """Send a request to an app; returns status, headers and body."""
    sent = []

    async def receive():
        await asyncio.Event().wait()

    async def send(message):
        sent.append(message)

    whole = {
        "type": "http",
        "method": "GET",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": [],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 1),
        "scheme": "http",
    } | scope
    asyncio.run(app(whole, receive, send))
    start = sent[0]
    return start["status"], dict(start["headers"]), b"".join(message.get("body", b"") for message in sent[1:])


def is_problem(result, kind):
    status, headers, body = result
    found = json.loads(body)
    assert headers[b"content-type"] == b"application/problem+json" and int(headers[b"content-length"]) == len(body)
    assert (status, found["status"]) == (kind.status, kind.status) and found["detail"]
    assert (found["title"], found["type"]) == (kind.title, f"/docs#{kind.name}")
    return found


def status_logged(lines):
    return next(line["status"] for line in lines if line["event"] == "request")


async def fails(scope, receive, send):
    raise RuntimeError("broken")


async def leaves(scope, receive, send):
    pass


async def hangs(scope, receive, send):
    await asyncio.Event().wait()


async def times_out_by_itself(scope, receive, send):
    raise TimeoutError


@pytest.mark.parametrize(
    ("app", "kind"),
    [(fails, problems.FAILED), (leaves, problems.FAILED), (times_out_by_itself, problems.FAILED), (hangs, problems.TIMED_OUT)],
)
def test_request_without_a_response_gets_a_problem_and_its_status_is_logged(app, kind, lines):
    result = ask(Observing(app, limit_s=0.01 if app is hangs else 60))
    is_problem(result, kind)
    assert status_logged(lines) == kind.status
    assert (b"retry-after" in result[1]) == (kind is problems.TIMED_OUT)
    assert any(line["level"] == "exception" for line in lines) == (kind is problems.FAILED)


def test_response_that_has_begun_does_not_time_out(lines):
    async def slow():
        yield b"a"
        await asyncio.sleep(0.1)
        yield b"b"

    status, _, body = ask(Observing(StreamingResponse(slow()), limit_s=0.05))
    assert (status, body) == (200, b"ab")


def test_response_that_fails_midway_is_not_sent_twice(lines):
    async def breaks():
        yield b"a"
        raise RuntimeError("broken")

    status, _, body = ask(Observing(StreamingResponse(breaks()), limit_s=60))
    assert (status, body, status_logged(lines)) == (200, b"a", 200)
    assert any(line["level"] == "exception" for line in lines), "the server closes the connection, and the log has the error"


@pytest.mark.parametrize("status", [400, 404, 405, 413, 429, 500, 502, 503, 504])
@pytest.mark.parametrize("response", [PlainTextResponse, lambda text, status, head: JSONResponse({"error": text}, status, head)])
def test_framework_error_becomes_a_problem(response, status, lines):
    result = ask(Observing(response("Not able to process the request", status, {"allow": "GET"})))
    is_problem(result, kind_of(status))
    assert result[1][b"allow"] == b"GET" and b"able to process" not in result[2]
    assert (b"retry-after" in result[1]) == (status in {429, 503, 504})
    assert status_logged(lines) == status


@pytest.mark.parametrize(
    "response",
    [JSONResponse({}), PlainTextResponse(""), HTMLResponse("not built", 503), Refused(problems.NO_DISK, "x").response()],
)
def test_other_responses_keep_their_body_and_get_security_headers(response, lines):
    status, headers, body = ask(Observing(response))
    assert (status, body) == (response.status_code, response.body)
    assert headers[b"x-content-type-options"] == b"nosniff" and headers[b"x-request-id"]
    assert (b"content-security-policy" in headers) == (response.media_type != "text/html"), "a page brings its own"


def test_failure_during_admission_gets_a_problem(lines):
    def authenticator():
        raise OSError("keys.db cannot be read")

    result = ask(Observing(Admission(hangs, authenticator=authenticator), limit_s=60))
    is_problem(result, problems.NO_KEYS)
    assert status_logged(lines) == 503 and b"keys.db" not in result[2]


def test_failure_during_admission_closes_a_web_socket():
    def authenticator():
        raise OSError

    sent = []

    async def send(message):
        sent.append(message)

    scope = {"type": "websocket", "path": "/v1/live", "headers": []}
    asyncio.run(Admission(hangs, authenticator=authenticator)(scope, None, send))
    assert [message["type"] for message in sent] == ["websocket.close"] and sent[0]["code"] == 1013


def test_viewer_whose_key_cannot_be_rechecked_is_refused(lines):
    class Broken:
        def find(self, token):
            raise OSError("keys.db cannot be read")

    scope = {"type": "websocket", "path": "/v1/live", "headers": [], "subprotocols": ["bearer.gs_x"]}
    with pytest.raises(Refused) as caught:
        Authenticator(Broken()).still_admits(scope)
    assert caught.value.kind is problems.NO_KEYS and "keys.db" not in caught.value.detail


def test_probes_are_neither_logged_nor_counted_but_get_problems_too(lines):
    is_problem(ask(Observing(fails), path="/readyz"), problems.FAILED)
    assert [line["event"] for line in lines] == ["request failed"]


def test_every_kind_of_problem_has_a_unique_name_and_title():
    assert len({kind.name for kind in CATALOG}) == len({kind.title for kind in CATALOG}) == len(CATALOG) > 20
    assert [kind.status for kind in CATALOG] == sorted(kind.status for kind in CATALOG)
    assert all(kind.meaning.endswith(".") for kind in CATALOG)
    assert kind_of(418).title == "I'm a Teapot"
