"""The demo's crisis becomes an alert, in the demo's own order: the alerts run while a quarter of an hour of history arrives.

Real: worker, warehouse server, alerts process, service, browser. Seen on the topic, in the table, on the WebSocket, on the page.
"""

import json
from contextlib import ExitStack
from types import SimpleNamespace

import pytest
from playwright.sync_api import expect
from websockets.sync.client import connect as dial

from orchestration.demo import stream as demo_stream
from orchestration.demo.stream import CRISIS_SOURCE, RATES, Feed
from serving.streaming.alerts.rows import read_alerts, time_of
from serving.streaming.broker import in_process_broker
from serving.warehouse.connect import connect
from tests.make import BLAME, text_of
from tests.models import tiny_bundle
from tests.serving.dashboard_harness import browsing
from tests.serving.running import serving
from tests.serving.stream_harness import LABELS, StreamHarness


@pytest.mark.integration
def test_demo_crisis_is_an_alert_on_topic_table_websocket_and_page(tmp_path, monkeypatch):
    crisis_texts = tuple(f"the outage number {n} is {word} {word}" for n, word in enumerate(BLAME * 2))
    monkeypatch.setattr(demo_stream, "CRISIS", crisis_texts)
    texts = {
        source: [text_of(LABELS[n * 7919 % 3], n + 1000 * number) for n in range(600)] for number, source in enumerate(RATES)
    }
    bundle = tiny_bundle(tmp_path / "tiny")
    with (
        in_process_broker("demo") as bootstrap,
        serving(bundle, tmp_path) as (client, _),
        browsing() as browser,
        ExitStack() as fed,
    ):
        harness = StreamHarness(SimpleNamespace(bootstrap=bootstrap), tmp_path / "var", bundle.directory, "demo")
        try:
            harness.warehouse_server()
            harness.start("stream", "alerts")
            harness.worker("w1")
            page = browser.new_page()
            page.goto(str(client.base_url))
            feed = fed.enter_context(Feed(harness.settings, texts))
            assert feed.wait_for_history(60)
            crisis = feed.start_crisis_clock()  # the demo waits until the history is loaded; here it still is, the harder order
            card = page.get_by_test_id("alert-card")
            expect(card).to_be_visible(timeout=240_000)
            expect(card).to_contain_text(CRISIS_SOURCE)
            with dial(str(client.base_url).replace("http", "ws") + "/v1/live", open_timeout=20) as viewer:
                alerts = []
                while not alerts:
                    alerts = json.loads(viewer.recv(timeout=100))["alerts"]
            messages = harness.read_topic("sentiment.alerts")
            with connect(harness.var, own=False) as warehouse:
                (row,) = read_alerts(warehouse, time_of(crisis - 30))
        finally:
            fed.close()
            harness.end()
    published = json.loads(messages[0].value())
    assert published["revision"] == 1 and published["closed_at"] is None
    assert {published["id"]} == {json.loads(message.value())["id"] for message in messages} == {each["id"] for each in alerts}
    assert published["id"] == row.id and (row.source, row.direction) == (CRISIS_SOURCE, "down")
    assert abs(row.started_at.timestamp() - crisis) <= 15 and row.detected_at.timestamp() - crisis <= 15, "in event time"
    # What drives it: texts of the crisis, a word that was not there before, and more messages than usual.
    assert row.texts and set(row.texts) <= set(crisis_texts)
    assert row.words[0].word == "outage" and row.words[0].usual_share == 0
    assert row.usual_volume is not None and row.volume > 1.2 * row.usual_volume
    print("broker", messages[0].timestamp()[1] / 1000 - crisis, "event", row.detected_at.timestamp() - crisis, row.window_s)
