"""AWS Lambda's runtime interface as AWS documents it (2018-06-01), for one function in its own process.

The function runs under AWS's own client of that interface, `awslambdaric`. AWS's emulator of the other side cannot be fetched
through the Go module proxy, so this is the other side: it sends events and receives the responses.
"""

import json
import os
import subprocess
import sys
import time
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import Queue
from threading import Thread

from tests.serving.running import ROOT

_PREFIX = "/2018-06-01/runtime/"
_LONGEST_S = 60


class Function:
    """A running function that waits for events; call `invoke` for one event after the other."""

    def __init__(self, handler: str, folder, environment: dict[str, str]) -> None:
        self._events, self._responses = Queue(), Queue()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        Thread(target=self._server.serve_forever, daemon=True).start()
        (folder / "var").mkdir(exist_ok=True)
        surroundings = environment | {
            "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{self._server.server_port}",
            "AWS_LAMBDA_FUNCTION_NAME": "test",
            "AWS_LAMBDA_FUNCTION_VERSION": "1",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "1769",
            "LAMBDA_TASK_ROOT": str(ROOT),
            "AWS_LAMBDA_LOG_GROUP_NAME": "test",
            "AWS_LAMBDA_LOG_STREAM_NAME": "test",
            "GROUNDSWELL_PATHS__VAR_DIR": str(folder / "var"),
        }
        self.log = folder / f"{handler}.log"
        self.started = time.monotonic()
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "awslambdaric", handler], cwd=ROOT, env=os.environ | surroundings, stdout=log, stderr=log
            )

    def invoke(self, event: dict) -> dict:
        """Return the response of the function; raises an AssertionError if it fails."""
        self._events.put(event)
        kind, body = self._responses.get(timeout=_LONGEST_S)
        assert kind == "response", body
        return json.loads(body)

    def stop(self) -> None:
        self._process.kill()
        self._process.wait(10)
        self._events.put(None)
        self._server.shutdown()
        self._server.server_close()

    def _handler(self):
        events, responses = self._events, self._responses

        class Runtime(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                assert self.path == f"{_PREFIX}invocation/next", self.path
                if (event := events.get()) is None:
                    return
                body = json.dumps(event).encode()
                self.send_response(200)
                for name, value in (
                    ("Lambda-Runtime-Aws-Request-Id", str(uuid.uuid4())),
                    ("Lambda-Runtime-Deadline-Ms", str(int(time.time() * 1000) + 29_000)),
                    ("Lambda-Runtime-Invoked-Function-Arn", "arn:aws:lambda:us-east-1:000000000000:function:test"),
                    ("Content-Type", "application/json"),
                    ("Content-Length", str(len(body))),
                ):
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def do_POST(self):
                responses.put((self.path.rsplit("/", 1)[1], self.rfile.read(int(self.headers.get("content-length", 0)))))
                self.send_response(202)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        return Runtime
