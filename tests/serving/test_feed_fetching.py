"""Requests to feeds: bounded in bytes, time and redirects, and never to the private network."""

import gzip
import socket
import threading
import zlib

import pytest

from serving.public_address import is_public
from serving.streaming.feeds import fetching, network
from serving.streaming.feeds.errors import FeedError, FeedUnavailable
from serving.streaming.feeds.fetching import Fetcher, seconds_to_wait, shown
from tests.serving.feed_server import Reply, gzipped, serving_feeds


@pytest.fixture
def server():
    with serving_feeds() as one:
        yield one


@pytest.fixture
def fetcher():
    one = Fetcher(threading.Event(), allow_private=True)
    yield one
    one.close()


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("93.184.216.34", True),
        ("2606:2800:220:1:248:1893:25c8:1946", True),
        ("127.0.0.1", False),
        ("10.1.2.3", False),
        ("172.16.0.1", False),
        ("192.168.1.1", False),
        ("169.254.169.254", False),  # metadata of clouds
        ("100.64.0.1", False),
        ("0.0.0.0", False),
        ("224.0.0.1", False),
        ("255.255.255.255", False),
        ("::1", False),
        ("fe80::1%eth0", False),
        ("fc00::1", False),
        ("::ffff:127.0.0.1", False),
        ("::ffff:93.184.216.34", True),
        ("64:ff9b::7f00:1", False),
        ("2002:7f00:1::", False),
    ],
)
def test_an_address_is_public_or_not(address, expected):
    assert is_public(address) is expected


def test_an_address_of_this_machine_is_refused(server):
    server.routes["/feed"] = Reply("secret")
    fetcher = Fetcher(threading.Event())
    for host in ("127.0.0.1", "localhost", "2130706433", "0x7f.1"):
        with pytest.raises(FeedError, match=r"private network.*\n.*127\.0\.0\.1|::1|cannot be resolved"):
            fetcher.get(f"http://{host}:{server.server_port}/feed")
    assert server.asked == []


def test_a_redirect_into_the_private_network_is_refused(server, monkeypatch):
    """The feed's own server is public, as far as its address goes; what it redirects to is not."""
    real = network.is_public
    monkeypatch.setattr(network, "is_public", lambda address: address == "127.0.0.1" or real(address))
    server.routes["/feed"] = Reply(status=302, headers={"Location": f"http://127.0.0.2:{server.server_port}/inner"})
    with pytest.raises(FeedError, match=r"127\.0\.0\.2 is in a private network"):
        Fetcher(threading.Event()).get(f"{server.url}/feed")
    assert server.paths() == ["/feed"]


def test_a_name_that_resolves_to_another_address_the_second_time_is_looked_up_once(server, monkeypatch):
    real, names = socket.getaddrinfo, []

    def resolved(host, port, *args, **how):
        if host != "rebound.example":
            return real(host, port, *args, **how)
        names.append(host)
        return real("127.0.0.1" if len(names) == 1 else "127.0.0.2", port, *args, **how)

    monkeypatch.setattr(network.socket, "getaddrinfo", resolved)
    monkeypatch.setattr(network, "is_public", lambda address: address == "127.0.0.1")
    server.routes["/feed"] = Reply("body")
    assert Fetcher(threading.Event()).get(f"http://rebound.example:{server.server_port}/feed").body == b"body"
    assert names == ["rebound.example"]
    assert server.asked[0].headers["host"] == f"rebound.example:{server.server_port}"


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "ftp://host/feed", "feed", "http://", "http://host:99999/", "http://a b/", "gopher://host/"]
)
def test_an_address_that_is_no_web_address_is_refused(fetcher, url):
    with pytest.raises(FeedError, match="cannot be used"):
        fetcher.get(url)


def test_a_password_in_the_address_is_refused_and_not_shown(fetcher):
    with pytest.raises(FeedError) as error:
        fetcher.get("https://user:secret@host/feed?token=hidden")
    assert "secret" not in str(error.value) and "hidden" not in str(error.value)
    assert shown("https://user:secret@host/feed?token=hidden") == "https://host/feed"


def test_a_redirect_to_a_file_is_refused(server, fetcher):
    server.routes["/feed"] = Reply(status=301, headers={"Location": "file:///etc/passwd"})
    with pytest.raises(FeedError, match="cannot be used"):
        fetcher.get(f"{server.url}/feed")


def test_redirects_are_followed_up_to_a_number(server, fetcher):
    server.routes["/a"] = Reply(status=301, headers={"Location": "/b"})
    server.routes["/b"] = Reply("body")
    assert fetcher.get(f"{server.url}/a").body == b"body"
    server.routes["/loop"] = Reply(status=302, headers={"Location": "/loop"})
    with pytest.raises(FeedError, match="More than 5 redirects"):
        fetcher.get(f"{server.url}/loop")


def test_compressed_bodies_are_read(server, fetcher):
    server.routes["/gzip"] = gzipped("gzip")
    server.routes["/zlib"] = Reply(zlib.compress(b"zlib"), headers={"Content-Encoding": "deflate"})
    raw = zlib.compressobj(wbits=-15)
    server.routes["/raw"] = Reply(raw.compress(b"raw") + raw.flush(), headers={"Content-Encoding": "deflate"})
    for name in ("gzip", "zlib", "raw"):
        assert fetcher.get(f"{server.url}/{name}").body == name.encode()


def test_a_small_body_that_expands_beyond_the_limit_is_refused(server, fetcher):
    server.routes["/bomb"] = gzipped("0" * 10_000_000)
    with pytest.raises(FeedError, match="more than 5,242,880 bytes"):
        fetcher.get(f"{server.url}/bomb")


@pytest.mark.parametrize(
    ("body", "encoding", "error"),
    [
        (gzip.compress(b"x" * 1_000)[:-12], "gzip", "is corrupt"),
        (b"no gzip at all", "gzip", "is corrupt"),
        (b"?", "br", "compressed in an unknown way"),
    ],
    ids=["cut off", "plain text", "unknown"],  # a gzip file holds the time
)
def test_a_body_that_cannot_be_decompressed_is_an_error(server, fetcher, body, encoding, error):
    server.routes["/feed"] = Reply(body, headers={"Content-Encoding": encoding})
    with pytest.raises(FeedError, match=error):
        fetcher.get(f"{server.url}/feed")


def test_a_body_without_end_is_cut_off_at_the_limit(server, fetcher):
    def endless(write):
        while not server.over.is_set():
            write(b"<item>" * 10_000)

    server.routes["/endless"] = Reply(write=endless)
    with pytest.raises(FeedError, match="too large"):
        fetcher.get(f"{server.url}/endless")
    assert len(fetcher.get(f"{server.url}/endless", max_bytes=1_000, cut=True).body) == 1_000


@pytest.mark.parametrize("part", [b"x", b""], ids=["slow", "silent"])
def test_a_response_that_takes_too_long_is_given_up(server, fetcher, monkeypatch, part):
    monkeypatch.setattr(fetching, "TOTAL_S", 0.6)

    def slow(write):
        while not server.over.wait(0.05):
            if part:
                write(part)

    server.routes["/slow"] = Reply(write=slow)
    with pytest.raises(FeedUnavailable, match="did not end in time"):
        fetcher.get(f"{server.url}/slow")


def test_headers_without_end_are_given_up(fetcher, monkeypatch):
    monkeypatch.setattr(fetching, "TOTAL_S", 0.6)
    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def drip():
            client, _ = listening.accept()
            with client:
                client.sendall(b"HTTP/1.1 200 OK\r\n")
                while not over.wait(0.05):
                    try:
                        client.sendall(b"x")
                    except OSError:
                        return

        thread = threading.Thread(target=drip, daemon=True)
        thread.start()
        with pytest.raises(FeedUnavailable, match="did not end in time"):
            fetcher.get(f"http://127.0.0.1:{listening.getsockname()[1]}/")
        over.set()
        thread.join()


def test_a_stop_ends_a_request(server):
    stop = threading.Event()

    def silent(_):
        stop.set()
        server.over.wait()

    server.routes["/silent"] = Reply(write=silent)
    with pytest.raises(FeedUnavailable, match="Stopped"):
        Fetcher(stop, allow_private=True).get(f"{server.url}/silent")


@pytest.mark.parametrize(
    ("status", "headers", "kind", "wait_s"),
    [
        (429, {"Retry-After": "120"}, FeedUnavailable, 120),
        (503, {}, FeedUnavailable, None),
        (429, {"Retry-After": "99999999"}, FeedUnavailable, 86_400),
        (404, {}, FeedError, None),
        (410, {}, FeedError, None),
        (204, {}, FeedError, None),
    ],
)
def test_other_statuses_are_errors(server, fetcher, status, headers, kind, wait_s):
    server.routes["/feed"] = Reply(status=status, headers=headers)
    with pytest.raises(FeedError, match=f"HTTP {status}") as error:
        fetcher.get(f"{server.url}/feed")
    assert type(error.value) is kind and error.value.status == status
    assert getattr(error.value, "wait_s", None) == wait_s


def test_a_server_that_is_down_is_unavailable(fetcher):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(FeedUnavailable, match="cannot be read"):
        fetcher.get(f"http://127.0.0.1:{port}/feed")


def test_the_contact_is_in_the_user_agent(server):
    server.routes["/feed"] = Reply("body")
    Fetcher(threading.Event(), contact="ops@paper.example", allow_private=True).get(f"{server.url}/feed")
    agent = server.asked[0].headers["user-agent"]
    assert agent.startswith("Groundswell/") and agent.endswith(" ops@paper.example")


def test_requests_keep_their_distance(monkeypatch):
    waits, now = [], [100.0]

    class Stop(threading.Event):
        def wait(self, timeout=None):
            waits.append(timeout)
            now[0] += timeout
            return False

    class Clock:
        @staticmethod
        def monotonic():
            return now[0]

    monkeypatch.setattr(fetching, "time", Clock)
    with serving_feeds() as server:
        server.routes["/feed"] = Reply("body")
        paced = Fetcher(Stop(), allow_private=True, least_gap_s=0.125)
        for _ in range(3):
            paced.get(f"{server.url}/feed")
        paced.close()
    assert waits == pytest.approx([0.0, 0.125, 0.125])


def test_retry_after_is_read_as_seconds_or_as_a_date():
    assert seconds_to_wait("7") == 7
    assert seconds_to_wait("Wed, 21 Oct 2015 07:28:00 GMT") == 0
    assert seconds_to_wait("Fri, 31 Dec 2150 23:59:59 GMT") == 86_400
    assert seconds_to_wait(None) is None and seconds_to_wait("soon") is None
