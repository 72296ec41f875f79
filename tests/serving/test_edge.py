"""Limits of a connection in bytes and time, with a clock that the test moves."""

import json
import resource
import socket

import pytest
import uvicorn
from uvicorn.server import ServerState

from serving.service.build import PACKAGES
from serving.service.middleware import edge
from serving.service.middleware.edge import (
    HEADER_S,
    KEEP_ALIVE_S,
    LINGER_S,
    MAX_HEADER_BYTES,
    MAX_HEADERS,
    MAX_PIPELINED,
    STALLED_S,
    BoundedProtocol,
    Edge,
)
from serving.service.middleware.scope import GONE
from tests.models import tiny_bundle
from tests.serving.running import serving

READ = 256 * 1024
"""Most bytes of one read."""


class Future:
    """A future whose callbacks run at once."""

    def __init__(self):
        self.callbacks, self.finished = [], False

    def done(self):
        return self.finished

    def add_done_callback(self, callback):
        self.callbacks.append(callback)

    def set_result(self, _):
        assert not self.finished
        self.finished = True
        for callback in self.callbacks:
            callback(self)


class Loop:
    """An event loop with a manual clock, which runs no tasks."""

    def __init__(self):
        self.now, self.started = 1000.0, []

    def time(self):
        return self.now

    def create_future(self):
        return Future()

    def call_later(self, *_):
        return type("Timer", (), {"cancel": lambda self: None})()

    def create_task(self, coroutine):
        self.started.append(coroutine)
        coroutine.close()
        return type("Task", (), {"add_done_callback": lambda self, done: None})()


class Transport:
    def __init__(self):
        self.written, self.closed, self.cut, self.reading = b"", False, False, True

    def write(self, data):
        assert not self.closed
        self.written += data

    def close(self):
        self.closed = True

    def abort(self):
        self.closed = self.cut = True

    def is_closing(self):
        return self.closed

    def get_extra_info(self, _):
        return None

    def pause_reading(self):
        self.reading = False

    def resume_reading(self):
        self.reading = True


class Server:
    """Make connections of one server and move its clock."""

    def __init__(self, monkeypatch, most=100):
        self.loop, self.state = Loop(), ServerState()
        self.config = uvicorn.Config(app=None, http=BoundedProtocol, ws="none", lifespan="off", log_config=None)
        monkeypatch.setattr(Edge, "max_connections", most)

    def connect(self):
        connection = BoundedProtocol(self.config, self.state, {}, _loop=self.loop)
        connection.connection_made(Transport())
        return connection

    def after(self, seconds):
        self.loop.now += seconds
        self.state.edge.sweep(self.loop.now)


@pytest.fixture
def server(monkeypatch):
    return Server(monkeypatch)


def respond(connection):
    connection.cycle.response_complete = True
    connection.on_response_complete()


def problem(connection):
    head, _, body = connection.transport.written.partition(b"\r\n\r\n")
    assert b"content-type: application/problem+json" in head and connection.transport.closed
    return json.loads(body)


def feed(connection, pieces):
    """Send pieces until the connection is closed; returns the bytes sent."""
    accepted = 0
    for piece in pieces:
        if connection.transport.closed:
            break
        connection.data_received(piece)
        accepted += len(piece)
    return accepted


def endless(start, piece):
    yield start
    while True:
        yield piece


REQUEST = b"GET / HTTP/1.1\r\nhost: x\r\n"


@pytest.mark.parametrize(
    "pieces",
    [
        endless(REQUEST + b"x-a: ", b"a" * 4096),
        endless(REQUEST, b"".join(b"x%06d: a\r\n" % n for n in range(300))),
        endless(b"GET /", b"a" * 4096),
        endless(b"", b"\r\n" * 2048),
        endless(b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n1;", b"a" * 4096),
        endless(b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n0\r\n", b"t: a\r\n" * 700),
    ],
    ids=["a header", "headers", "a path", "nothing", "a chunk's extension", "trailers"],
)
def test_endless_request_is_cut_after_64_kib(pieces, server):
    connection = server.connect()
    assert feed(connection, pieces) <= MAX_HEADER_BYTES + 2 * 4096


@pytest.mark.parametrize("start", [REQUEST + b"x-a: " + b"a" * READ, REQUEST + b"a: b\r\n" * (READ // 6)])
def test_large_headers_in_one_read_are_refused_before_the_app_is_called(start, server):
    connection = server.connect()
    assert feed(connection, endless(start, b"a" * READ)) <= MAX_HEADER_BYTES + READ + len(start)
    assert problem(connection)["status"] == 431 and not server.loop.started


def test_many_small_headers_are_refused(server):
    fine, many = server.connect(), server.connect()
    fine.data_received(REQUEST + b"a: b\r\n" * (MAX_HEADERS - 1) + b"\r\n")
    many.data_received(REQUEST + b"a: b\r\n" * MAX_HEADERS + b"\r\n")
    assert problem(many)["title"] == "Request headers too large"
    assert not fine.transport.closed and len(server.loop.started) == 1


def test_large_body_does_not_count_as_headers(server):
    by_length, in_chunks = server.connect(), server.connect()
    by_length.data_received(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 8000000\r\n\r\n")
    in_chunks.data_received(b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n")
    for _ in range(8000):
        by_length.data_received(b"a" * 1000)
        in_chunks.data_received(b"3e8\r\n" + b"a" * 1000 + b"\r\n")
    in_chunks.data_received(b"0\r\n\r\n")
    assert not by_length.transport.closed and not in_chunks.transport.closed
    assert not by_length.cycle.more_body and not in_chunks.cycle.more_body
    for connection in (by_length, in_chunks):
        respond(connection)
        assert feed(connection, [REQUEST + b"\r\n"]) and len(server.loop.started) >= 3, "the count restarts with each request"


def test_connection_without_a_whole_request_is_closed_after_ten_seconds(server):
    silent, half, slow = server.connect(), server.connect(), server.connect()
    half.data_received(REQUEST)
    slow.data_received(b"GET /")
    for _ in range(3):
        server.after(HEADER_S / 4)
        slow.data_received(b"a")
    assert not any(connection.transport.closed for connection in (silent, half, slow))
    server.after(HEADER_S / 4 + 0.1)
    assert all(connection.transport.closed for connection in (silent, half, slow))


def test_connection_stays_open_during_a_request_and_is_closed_when_idle(server):
    connection = server.connect()
    connection.data_received(REQUEST + b"\r\n")
    server.after(1000)
    assert not connection.transport.closed
    respond(connection)
    for _ in range(4):  # each of these resets uvicorn's own timer
        connection.data_received(b"\r\n")
        server.after((KEEP_ALIVE_S + HEADER_S) / 4 - 0.1)
    assert not connection.transport.closed
    server.after(1)
    assert connection.transport.closed


def test_second_request_on_a_connection_has_ten_seconds_too(server):
    connection = server.connect()
    connection.data_received(REQUEST + b"\r\n")
    respond(connection)
    server.after(KEEP_ALIVE_S - 0.1)
    connection.data_received(REQUEST)
    server.after(HEADER_S - 0.1)
    assert not connection.transport.closed
    connection.data_received(b"\r\n")
    server.after(1000)
    assert not connection.transport.closed, "the request is being handled"


def test_requests_of_a_connection_learn_when_it_is_gone(server):
    connection = server.connect()
    connection.data_received(REQUEST + b"\r\n")
    gone = connection.cycle.scope[GONE]
    assert not gone.done()
    connection.connection_lost(None)
    assert gone.done()


def test_last_responses_announce_the_end_of_their_connection(server, monkeypatch):
    idle, busy, begun = (server.connect() for _ in range(3))
    for connection in (busy, begun):
        connection.data_received(REQUEST + b"\r\n")
    begun.cycle.response_started = True
    monkeypatch.setattr(BoundedProtocol, "last_requests", True)
    for connection in (idle, busy, begun):
        connection.close_after_response()
    assert not busy.cycle.keep_alive and begun.cycle.keep_alive, "a response that has begun did not announce it"
    idle.data_received(REQUEST + b"\r\n")
    assert not idle.cycle.keep_alive, "nor does a later request stay open"


def test_app_of_a_connection_is_the_servers_wrapped(monkeypatch):
    monkeypatch.setattr(BoundedProtocol, "around", staticmethod(lambda app: ("around", app)))
    server = Server(monkeypatch)
    assert server.connect().app == ("around", server.config.loaded_app)


def test_endless_body_is_cut_after_the_response(server):
    connection = server.connect()
    connection.data_received(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 8000000\r\n\r\n")
    respond(connection)
    for _ in range(int(KEEP_ALIVE_S + HEADER_S) + 2):
        connection.data_received(b"a" * 100)
        server.after(1)
    assert connection.transport.closed


def test_longest_idle_connection_is_closed_at_the_limit(monkeypatch):
    server = Server(monkeypatch, most=3)
    busy = server.connect()
    busy.data_received(REQUEST + b"\r\n")
    server.loop.now += 1
    oldest = server.connect()
    server.loop.now += 1
    younger, new = server.connect(), server.connect()
    assert oldest.transport.cut and not any(one.transport.closed for one in (busy, younger, new))


def test_new_connection_gets_a_problem_when_all_are_in_use(monkeypatch):
    server = Server(monkeypatch, most=3)
    for _ in range(3):
        server.connect().data_received(REQUEST + b"\r\n")
    new = server.connect()
    assert problem(new)["title"] == "Too many connections" and b"retry-after" in new.transport.written


def test_pipelined_requests_are_limited(server):
    connection = server.connect()
    connection.data_received((REQUEST + b"\r\n") * 10_000)
    assert connection.transport.cut and len(connection.pipeline) <= MAX_PIPELINED


def test_unread_response_is_cut(server):
    stalled, reading, closed = server.connect(), server.connect(), server.connect()
    for connection in (stalled, reading):
        connection.data_received(REQUEST + b"\r\n")
        connection.pause_writing()
    closed.transport.close()
    server.after(STALLED_S)
    reading.resume_writing()
    reading.pause_writing()
    server.after(LINGER_S + 1)
    assert stalled.transport.cut and closed.transport.cut and not reading.transport.cut


@pytest.mark.parametrize(
    "data", [b"\x16\x03\x01\x02\x00", b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"GET / HTTP/1.1\r\na\x00b: c\r\n\r\n"]
)
def test_invalid_http_gets_a_problem(data, server):
    connection = server.connect()
    connection.data_received(data)
    assert problem(connection) | {"detail": ""} == {
        "type": "/docs#bad-request",
        "title": "Bad request",
        "status": 400,
        "detail": "",
    }


@pytest.mark.parametrize(
    ("limits", "wanted", "expected", "raised"),
    [
        ((1024, 4096), 500, (500, 1024), None),
        ((1024, 4096), 2000, (2000, 2256), (2256, 4096)),
        ((1024, 2000), 2000, (2000 - 256, 2000), (2000, 2000)),
        ((100, 100), 2000, (1, 100), None),
        ((resource.RLIM_INFINITY, resource.RLIM_INFINITY), 2000, (2000, 2256), None),
    ],
)
def test_limit_of_open_files_is_raised_as_far_as_possible(limits, wanted, expected, raised, monkeypatch):
    monkeypatch.setattr(Edge, "max_connections", 0)
    monkeypatch.setitem(uvicorn.config.HTTP_PROTOCOLS, "auto", "")
    monkeypatch.setattr(BoundedProtocol, "around", None)
    monkeypatch.setattr(resource, "getrlimit", lambda _: limits)
    calls = []
    monkeypatch.setattr(resource, "setrlimit", lambda _, both: calls.append(both))
    assert edge.install(wanted, lambda app: app) == expected and Edge.max_connections == expected[0]
    assert calls == ([raised] if raised else [])


def test_limit_that_cannot_be_raised_is_kept(monkeypatch):
    monkeypatch.setattr(Edge, "max_connections", 0)
    monkeypatch.setitem(uvicorn.config.HTTP_PROTOCOLS, "auto", "")
    monkeypatch.setattr(BoundedProtocol, "around", None)
    monkeypatch.setattr(resource, "getrlimit", lambda _: (256, resource.RLIM_INFINITY))
    monkeypatch.setattr(resource, "setrlimit", lambda *_: (_ for _ in ()).throw(ValueError))
    assert edge.install(2000, lambda app: app) == (1, 256)


def test_image_has_the_parser_of_the_protocol():
    assert {"httptools", "uvicorn"} <= set(PACKAGES)


@pytest.mark.integration
def test_service_cuts_endless_headers_and_serves_despite_idle_connections(tmp_path):
    with serving(tiny_bundle(tmp_path / "bundle"), tmp_path, max_connections="40", processes="1") as (client, _):
        port = client.base_url.port
        idle = [socket.create_connection(("127.0.0.1", port)) for _ in range(60)]
        assert client.get("/livez").status_code == 200, "an idle connection was closed for it"
        with socket.create_connection(("127.0.0.1", port), timeout=30) as one:
            one.sendall(REQUEST + b"x-a: ")
            try:
                for _ in range(1000):
                    one.sendall(b"a" * 65_536)
            except OSError:
                pass
            else:
                pytest.fail("64 MiB of a header were accepted")
        seen = client.get("/metrics").text
        assert 'groundswell_connections_closed_total{cause="headers"}' in seen and 'cause="full"' in seen
        assert client.post("/v1/classify", json={"texts": ["a great film"]}).status_code == 200
        for each in idle:
            each.close()
    assert '"max_connections": 40' in (tmp_path / "log").read_text()
