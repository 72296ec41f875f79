"""The client against the real service, and against a stub that is overloaded at first."""

import asyncio
import re
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import httpx
import pytest

from serving.client import AsyncSentimentClient, RequestRefused, SentimentClient
from tests.models import tiny_bundle
from tests.serving.running import serving


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    folder = tmp_path_factory.mktemp("client")
    with serving(tiny_bundle(folder / "bundle"), folder) as (client, _):
        yield str(client.base_url)


@pytest.mark.integration
def test_both_clients_classify_any_number_of_texts(url):
    texts = ["a great film", "", "an awful soup"] * 100

    async def awaited():
        async with AsyncSentimentClient(url) as client:
            job = await client.submit(["a great film"], idempotency_key="once")
            again = await client.submit(["a great film"], idempotency_key="once")
            return await client.classify(texts, detail=True), (await client.model())["version"], job.id, again.id

    with SentimentClient(url) as client:
        predictions = client.classify(texts, detail=True)
        job = client.submit(["a great film"], idempotency_key="once")
        assert client.job(job.id).total == 1
        assert asyncio.run(awaited()) == (predictions, client.model()["version"], job.id, job.id)
    assert [getattr(a, "label", None) for a in predictions[:3]] == ["positive", None, "negative"] and len(predictions) == 300
    assert predictions[0].probabilities.positive == predictions[0].confidence


@pytest.mark.integration
def test_examples_of_the_page_run(url):
    page = (Path(__file__).parents[2] / "docs" / "api.md").read_text()
    examples = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert examples
    for example in examples:
        exec(example.replace("http://127.0.0.1:3000", url), {})


@pytest.mark.integration
def test_refusal_has_status_and_reason(url):
    with SentimentClient(url) as client, pytest.raises(RequestRefused, match="Invalid request") as caught:
        client.respond(["  "])
    assert caught.value.status == 422 and "is blank" in caught.value.found


class OverloadedStub(BaseHTTPRequestHandler):
    """A stub that is overloaded for the first two requests."""

    requested_at: ClassVar[list[float]] = []

    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        self.requested_at.append(time.monotonic())
        if len(self.requested_at) < 3:
            self.send_response(503 if len(self.requested_at) == 1 else 429)
            self.send_header("retry-after", "1")
            self.end_headers()
            return
        body = b'{"model_version":"m","predictions":[{"label":"neutral","confidence":0.5}]}'
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format, *args):
        pass


def test_client_retries_after_the_seconds_in_retry_after():
    server = ThreadingHTTPServer(("127.0.0.1", 0), OverloadedStub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        with SentimentClient(f"http://127.0.0.1:{server.server_port}") as client:
            assert client.classify(["text"])[0].label == "neutral"  # type: ignore[union-attr]
    finally:
        server.shutdown()
        server.server_close()
    gaps = [later - earlier for earlier, later in zip(OverloadedStub.requested_at, OverloadedStub.requested_at[1:], strict=False)]
    assert len(gaps) == 2 and all(gap >= 1.0 for gap in gaps)


def test_unreachable_service_raises_after_the_attempts():
    with SentimentClient("http://127.0.0.1:9", attempts=2) as client, pytest.raises(httpx.ConnectError):
        client.classify(["text"])
