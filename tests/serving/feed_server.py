"""A server of feeds on 127.0.0.1: each test sets the responses, and reads the requests that came."""

import gzip
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Reply:
    """A response: with a body, or one written by a function as long as the client reads."""

    body: bytes | str = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    write: Callable[[Callable[[bytes], object]], None] | None = None


@dataclass
class Asked:
    """A request that came."""

    path: str
    headers: dict[str, str]


class FeedServer(ThreadingHTTPServer):
    """`routes` has the replies of a path without query: one, a list of which the last repeats, or a function of the request."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.routes: dict[str, Reply | list[Reply] | Callable[[Asked], Reply]] = {}
        self.asked: list[Asked] = []
        self.over = threading.Event()
        self.url = f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, *_):
        """Ignore clients that end within a request, such as killed ones."""

    def reply(self, asked: Asked) -> Reply:
        """Return the reply to a request."""
        self.asked.append(asked)
        found = self.routes.get(asked.path.partition("?")[0], Reply(status=404))
        if isinstance(found, list):
            return found.pop(0) if len(found) > 1 else found[0]
        return found(asked) if callable(found) else found

    def paths(self) -> list[str]:
        """Return the paths that were requested."""
        return [one.path for one in self.asked]


class _Handler(BaseHTTPRequestHandler):
    server: FeedServer
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        reply = self.server.reply(Asked(self.path, {name.lower(): value for name, value in self.headers.items()}))
        body = reply.body.encode() if isinstance(reply.body, str) else reply.body
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        if reply.write is None:
            self.send_header("Content-Length", str(len(body)))
        else:
            self.send_header("Connection", "close")
        self.end_headers()
        try:
            if reply.write is None:
                self.wfile.write(body)
            else:
                reply.write(self.wfile.write)
        except OSError:  # the client has had enough
            pass

    def log_message(self, *_):
        pass


@contextmanager
def serving_feeds() -> Iterator[FeedServer]:
    """Serve feeds in threads."""
    server = FeedServer()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.over.set()
        server.shutdown()
        server.server_close()


def rss(*entries: tuple[str, str, str], extra: str = "") -> str:
    """Return RSS 2.0 with entries of id, title and text."""
    items = "".join(
        f"<item><guid isPermaLink='false'>{identity}</guid><title>{title}</title><description>{text}</description></item>"
        for identity, title, text in entries
    )
    return f'<?xml version="1.0"?><rss version="2.0"><channel><title>Paper</title>{extra}{items}</channel></rss>'


def gzipped(body: str) -> Reply:
    """Return a compressed response."""
    return Reply(gzip.compress(body.encode()), headers={"Content-Encoding": "gzip"})
