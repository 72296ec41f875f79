"""A stub of an OpenAI-compatible chat endpoint on 127.0.0.1. It classifies the texts of tests/make.py by their words."""

import json
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Lock, Thread
from typing import Any

from tests.make import BLAME, PRAISE

KEY = "stub-key-of-a-test"
Behavior = Callable[[BaseHTTPRequestHandler, str], bool]
"""Responds to a request, given the last message; False: the stub classifies the text."""


class Chat(ThreadingHTTPServer):
    """Keeps what it is asked. `behavior` responds in its place; `hanging` ends the requests that `hang` holds."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked: list[dict[str, Any]] = []
        self.lock = Lock()
        self.behavior: Behavior = lambda handler, text: False
        self.ended = Event()

    @property
    def url(self) -> str:
        """The `base_url` of a candidate."""
        return f"http://127.0.0.1:{self.server_port}/v1"

    @property
    def texts(self) -> list[str]:
        """The last message of each request."""
        return [body["messages"][-1]["content"] for body in self.asked]

    def __enter__(self) -> "Chat":
        Thread(target=self.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ended.set()
        self.shutdown()
        self.server_close()


def label_of(text: str) -> str:
    """Return the label of a text of tests/make.py."""
    words = set(text.split())
    return "positive" if words & set(PRAISE) else "negative" if words & set(BLAME) else "neutral"


def send(handler: BaseHTTPRequestHandler, status: int, body: Any, **headers: str) -> bool:
    """Send a response: bytes as they are, anything else as JSON."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    handler.send_response(status)
    for name, value in {"content-length": str(len(content)), **headers}.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.end_headers()
    handler.wfile.write(content)
    return True


def complete(handler: BaseHTTPRequestHandler, content: str | None, *, usage: Any = None) -> bool:
    """Send a chat completion with this content: 100 input tokens and 2 output tokens, or the given usage."""
    usage = {"prompt_tokens": 100, "completion_tokens": 2} if usage is None else usage
    return send(handler, 200, {"choices": [{"message": {"role": "assistant", "content": content}}], "usage": usage})


def drop(handler: BaseHTTPRequestHandler) -> bool:
    """Close the connection without a response."""
    handler.close_connection = True
    return True


def hang(handler: BaseHTTPRequestHandler) -> bool:
    """Send nothing until the stub ends."""
    handler.server.ended.wait(60)
    return drop(handler)


class _Handler(BaseHTTPRequestHandler):
    server: Chat
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if self.path != "/v1/chat/completions":
            send(self, 404, {"error": {"code": "not_found"}})
            return
        with self.server.lock:
            self.server.asked.append(body)
        if self.headers["authorization"] != f"Bearer {KEY}":
            send(self, 401, {"error": {"code": "invalid_api_key", "message": f"wrong key {self.headers['authorization']}"}})
            return
        text = body["messages"][-1]["content"]
        if not self.server.behavior(self, text):
            complete(self, label_of(text))

    def log_message(self, *_):
        pass
