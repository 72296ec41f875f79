"""A crisis on the topic becomes an alert at a webhook and on the dashboard: Kafka, worker, warehouse, the alerts' own process,
service and browser.
"""

import json
import threading
import time
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from playwright.sync_api import expect

from orchestration.local.kafka import LocalKafka
from tests.make import text_of
from tests.models import tiny_bundle
from tests.serving.dashboard_harness import browsing
from tests.serving.running import serving
from tests.serving.stream_harness import LABELS, StreamHarness, topics

QUIET_S, RATE = 480, 50


def event(n, second, label):
    created = datetime.fromtimestamp(second, UTC).isoformat(timespec="milliseconds")
    return json.dumps({"id": f"n-{n}", "text": text_of(label, n), "source": "shop", "created_at": created}).encode()


def live(start, seconds, labels):
    """Messages at `RATE`, dated when they are taken."""
    for n in range(start, start + seconds * RATE):
        yield event(n, time.time(), labels[n % len(labels)])


@pytest.fixture
def webhook():
    received, came = [], threading.Event()

    class Hook(BaseHTTPRequestHandler):
        def do_POST(self):
            received.append((time.time(), json.loads(self.rfile.read(int(self.headers["content-length"])))))
            self.send_response(200)
            self.end_headers()
            came.set()

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hook)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/hook", received, came
    server.shutdown()
    server.server_close()


@pytest.mark.integration
def test_crisis_is_published_once_to_webhook_and_page_with_its_texts(tmp_path, webhook):
    url, received, came = webhook
    bundle = tiny_bundle(tmp_path / "tiny")
    with LocalKafka(tmp_path / "kafka") as kafka, serving(bundle, tmp_path) as (client, _), browsing() as browser:
        kafka.create_topics(topics("shop"))
        harness = StreamHarness(kafka, tmp_path / "var", bundle.directory, "shop")
        try:
            harness.warehouse_server()
            harness.worker("w1")
            now = time.time()
            past = QUIET_S * RATE
            harness.produce(event(n, now - QUIET_S + n / RATE, LABELS[n * 7919 % 3]) for n in range(past))
            harness.settled()
            harness.start("stream", "alerts", GROUNDSWELL_ALERTS__WEBHOOK=url)
            page = browser.new_page()
            page.goto(str(client.base_url))
            card = page.get_by_test_id("alert-card")
            harness.produce(live(past, 12, LABELS), rate=RATE)
            assert not received, received
            began = time.time()
            with harness.producing(live(past + 12 * RATE, 15, ("negative",)), rate=RATE):
                assert came.wait(150), (harness.var / "alerts.log").read_text()[-2000:]
                expect(card).to_be_visible(timeout=240_000)
                print(f"received after {received[0][0] - began:.1f} s, on the page after {time.time() - began:.1f} s")
            expect(card).to_have_count(1)
            expect(card).to_contain_text("shop")
            expect(card).to_have_attribute("data-open", "true")
            message = received[0][1]
            assert "shop" in message["text"] and message["blocks"]
            assert any(word in json.dumps(message) for word in ("awful", "terrible", "horrible", "dreadful", "rotten", "useless"))
            (letter,) = harness.read_topic("sentiment.alerts")
            alert = json.loads(letter.value())
            assert alert["direction"] == "down" and alert["source"] == "shop" and alert["closed_at"] is None
            assert began - 3 <= datetime.fromisoformat(alert["started_at"]).timestamp() <= began + 10
            assert len(received) == 1
        finally:
            harness.end()
