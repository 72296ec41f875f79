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

from orchestration.kafka.server import LocalKafka
from tests.make import text_of
from tests.models import tiny_bundle
from tests.serving.dashboard_world import browsing
from tests.serving.running import serving
from tests.serving.stream_world import LABELS, World, topics

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
    told, came = [], threading.Event()

    class Hook(BaseHTTPRequestHandler):
        def do_POST(self):
            told.append((time.time(), json.loads(self.rfile.read(int(self.headers["content-length"])))))
            self.send_response(200)
            self.end_headers()
            came.set()

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hook)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/hook", told, came
    server.shutdown()
    server.server_close()


@pytest.mark.integration
def test_a_crisis_is_told_at_the_webhook_and_on_the_page_with_its_texts_and_once(tmp_path, webhook):
    url, told, came = webhook
    bundle = tiny_bundle(tmp_path / "tiny")
    with LocalKafka(tmp_path / "kafka") as kafka, serving(bundle, tmp_path) as (client, _), browsing() as browser:
        kafka.create_topics(topics("shop"))
        world = World(kafka, tmp_path / "var", bundle.directory, "shop")
        try:
            world.owner()
            world.worker("w1")
            now = time.time()
            past = QUIET_S * RATE
            world.produce(event(n, now - QUIET_S + n / RATE, LABELS[n * 7919 % 3]) for n in range(past))
            world.settled()
            world.start("stream", "alerts", GROUNDSWELL_ALERTS__WEBHOOK=url)
            page = browser.new_page()
            page.goto(str(client.base_url))
            card = page.get_by_test_id("alert-card")
            world.produce(live(past, 12, LABELS), rate=RATE)
            assert not told, told
            began = time.time()
            with world.producing(live(past + 12 * RATE, 15, ("negative",)), rate=RATE):
                assert came.wait(150), (world.var / "alerts.log").read_text()[-2000:]
                expect(card).to_be_visible(timeout=5_000)
                print(f"told after {told[0][0] - began:.1f} s, on the page after {time.time() - began:.1f} s")
            expect(card).to_have_count(1)
            expect(card).to_contain_text("shop")
            expect(card).to_have_attribute("data-open", "true")
            message = told[0][1]
            assert "shop" in message["text"] and message["blocks"]
            assert any(word in json.dumps(message) for word in ("awful", "terrible", "horrible", "dreadful", "rotten", "useless"))
            (letter,) = world.read_topic("sentiment.alerts")
            alert = json.loads(letter.value())
            assert alert["direction"] == "down" and alert["source"] == "shop" and alert["closed_at"] is None
            assert began - 3 <= datetime.fromisoformat(alert["started_at"]).timestamp() <= began + 10
            assert len(told) == 1
        finally:
            world.end()
