"""The Operations page: history that a reload does not lose, units, thresholds in words, and a span that acts."""

import json
import os
import re
import time

import httpx
import psutil
import pytest
from playwright.sync_api import expect

from serving.settings import StreamSettings
from serving.streaming.broker import MESSAGES, client_config, in_process_broker
from serving.streaming.heartbeat import Heartbeat, beat
from serving.streaming.history import History
from tests.serving.dashboard_world import Shown, has_no_violation, number

pytestmark = pytest.mark.integration
WAITING = 1_500
"""Messages that nobody has read: over the limit of 1,000."""
MIB = 2**20


def supervisor(var, **changes):
    """What a supervisor writes that lives as long as these tests."""
    me = {"pid": os.getpid(), "created_at": psutil.Process().create_time()}
    child = {**me, "state": "up", "restarts": 0, "last_exit": None, "cpu": 0.5, "rss_bytes": 300 * MIB}
    state = {
        **me,
        "started_at": time.time(),
        "written_at": time.time(),
        "state": "running",
        "detail": "",
        "stalled": [],
        "target": 1,
        "reason": "within the limits",
        "lag": WAITING,
        "rate": 50.0,
        "arriving": 40.0,
        "cores": 2,
        "memory_bytes": 4096 * MIB,
        "partitions": [],
        "children": {"w1": child, "warehouse": child, "alerts": {**child, "cpu": 0.0}},
        **changes,
    }
    (var / "stream" / "supervisor.json").write_text(json.dumps(state))


def heartbeat(var, p50_ms, p99_ms):
    process = psutil.Process()
    found = Heartbeat(
        name="w1",
        pid=process.pid,
        started_at=process.create_time(),
        written_at=time.time(),
        state="running",
        version="tiny-1",
        partitions=(0,),
        messages=5_400,
        messages_per_s=50.0,
        in_flight=3,
        p50_ms=p50_ms,
        p99_ms=p99_ms,
    )
    beat(var, found)


def figure(panel, name):
    """The large number of a panel with a name."""
    return panel.locator(".figures > div").filter(has_text=re.compile(f"^{name}")).locator(".value")


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """A stream with a backlog, half an hour of its history with errors twenty minutes ago, and the service."""
    from confluent_kafka import Producer

    world = Shown(tmp_path_factory.mktemp("measured"))
    keeper = History(world.var / "stream")
    now = time.time()
    for second in range(1800):
        bad = second == 600
        keeper.add(
            {
                "at": now - 1800 + second,
                "lag": 4_321 if second == 1500 else 7,
                "rate": 50.0,
                "arriving": 40.0,
                "workers": 1,
                "target": 1,
                "cpu": {"w1": 0.5, "warehouse": 0.25},
                "rss_bytes": {"w1": 300 * MIB, "warehouse": 450 * MIB},
                "dead_letters": 3 * bad,
                "restarts": 1 * bad,
            }
        )
    supervisor(world.var)
    heartbeat(world.var, 32_297.0, 54_186.3)
    with in_process_broker() as bootstrap, pytest.MonkeyPatch.context() as patch:
        patch.setenv("GROUNDSWELL_STREAM__BOOTSTRAP", bootstrap)
        producer = Producer(client_config(StreamSettings.load()))
        for _ in range(WAITING):
            producer.produce(MESSAGES, b"{}")
        assert producer.flush(20) == 0
        with world.service():
            yield world


def test_history_is_there_after_a_reload_and_follows_the_span(measured, page):
    asked = []
    page.on("request", lambda request: asked.append(request.url) if "/panels/history" in request.url else None)
    page.goto(f"{measured.url}/operations/?span=1h")
    errors = page.locator(".panel-errors .note")
    for _ in range(2):
        expect(errors).to_have_text("3 dead letters and 1 restart, last hour.")
        expect(page.get_by_test_id("chart-lag")).to_have_attribute("aria-label", re.compile("highest 4.3K"))
        expect(page.get_by_test_id("legend-cpu")).to_contain_text("w1 0.50")
        expect(page.get_by_test_id("legend-memory")).to_contain_text("warehouse 450 MiB")
        assert "–" not in page.get_by_test_id("legend-rate").inner_text()
        page.reload()
    page.get_by_role("combobox", name="Time").select_option("10m")
    expect(errors).to_have_text("0 dead letters and 0 restarts, last 10 minutes.")
    expect(page.locator(".panel-lag .note")).to_contain_text("last 10 minutes")
    page.get_by_role("combobox", name="Time").select_option("1m")
    expect(page.get_by_test_id("chart-lag")).to_have_attribute("aria-label", re.compile("highest 7"))
    assert len({re.search(r"since=([^&]*)T", url) for url in asked}) > 1


def test_history_over_http_is_what_the_supervisor_wrote(measured):
    found = httpx.get(f"{measured.url}/v1/panels/history", timeout=10).json()
    assert found["step_s"] == 2 and 200 <= len(found["rows"]) <= 301
    assert {row["cpu"]["w1"] for row in found["rows"]} == {0.5}
    assert max(row["lag"] for row in found["rows"]) == 4_321


def test_a_high_lag_is_catching_up_in_words_and_against_its_limit(measured, page):
    page.goto(f"{measured.url}/operations/")
    stream = page.locator(".panel-stream")
    expect(figure(stream, "Consumer lag")).to_have_text(f"{WAITING:,}")
    expect(stream).to_contain_text("high, limit 1,000")
    expect(page.get_by_test_id("stream-state")).to_contain_text("1 worker, as planned")
    expect(page.get_by_test_id("stream-state")).to_contain_text("Catching up")
    expect(page.locator(".panel-latency")).to_contain_text("Latency, last 60 s")
    expect(stream).to_contain_text("50 % of 2 cores")
    expect(stream).to_contain_text("22 % of 4.0 GiB")
    expect(stream).to_contain_text("in the dead-letter queue")
    has_no_violation(page)


def test_live_says_that_what_it_shows_is_late(measured, page):
    with measured.owner():  # without the database its absence is what matters
        page.goto(measured.url)
        notice = page.get_by_test_id("state-catching-up")
        # The supervisor measured 50 a second: 30 s of work.
        expect(notice).to_contain_text(f"Catching up. {WAITING:,} messages wait, about 30 s of work", timeout=40_000)


def test_times_have_the_unit_that_reads_best(measured, page):
    page.goto(f"{measured.url}/operations/")
    workers = page.get_by_test_id("table-workers")
    expect(workers).to_contain_text("32 s")
    expect(workers).to_contain_text("54 s")
    expect(workers).not_to_contain_text("297")
    heartbeat(measured.var, 617.2, None)
    expect(workers).to_contain_text("617 ms")
    with page.expect_download() as download:
        page.get_by_test_id("csv-workers").click()
    head = download.value.path().read_text("utf-8-sig").splitlines()[0] if download.value.path() else ""
    assert "p50 (ms)" in head and "memory (bytes)" in head


def test_a_worker_that_is_silent_is_marked(measured, page):
    page.goto(f"{measured.url}/operations/")
    heartbeat(measured.var, 617.2, 900.0)
    expect(page.get_by_test_id("table-workers")).to_contain_text("✓ ok")
    expect(page.get_by_test_id("table-workers")).to_contain_text(re.compile(r"late, [\d.]+ s ago"), timeout=15_000)


def test_api_counts_are_of_the_span_and_quantiles_are_bucket_edges(measured, page):
    for n in range(20):
        assert httpx.post(f"{measured.url}/v1/classify", json={"texts": [f"text {n}"]}, timeout=10).status_code == 200
    page.goto(f"{measured.url}/operations/?span=1h")
    api = page.locator(".panel-api")
    expect(figure(api, "Requests")).not_to_have_text("0")
    assert number(figure(api, "Requests")) >= 20
    expect(api.locator(".note")).to_contain_text("since this service started")
    for name in ("p50", "p99"):
        expect(figure(api, name)).to_have_text(re.compile(r"^[≤>] \d+(\.\d)? (ms|s)$"))
    assert "at most" not in api.inner_text()
    expect(page.get_by_test_id("legend-requests")).to_contain_text("requests")


def test_without_a_stream_nothing_is_called_normal(tmp_path, browser, page):
    world = Shown(tmp_path)
    with world.service():
        page.goto(f"{world.url}/operations/")
        expect(page.get_by_test_id("stream-state")).to_contain_text("The stream is not running", timeout=40_000)
        expect(page.locator(".panel-lag")).to_contain_text("Not measured (stream not running in this time).")
        expect(page.locator(".panel-partitions")).to_contain_text("No partitions reported.")
