"""The Operations page: history that survives a reload, units, thresholds in words, and the chosen period."""

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
from serving.streaming.supervisor.history import History
from serving.streaming.worker.heartbeat import Heartbeat, beat
from serving.warehouse.forget import write_notices
from tests.serving.dashboard_harness import DashboardHarness, has_no_violation, number

pytestmark = pytest.mark.integration
WAITING = 1_500
"""Messages that no worker has read, over the limit of 1,000."""
MIB = 2**20


def supervisor(var, **changes):
    """Write the state file of a supervisor; its process is this one, so it lives as long as the tests."""
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
    report = Heartbeat(
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
    beat(var, report)


def figure(panel, name):
    """Return the large number with this name in a panel."""
    return panel.locator(".figures > div").filter(has_text=re.compile(f"^{name}")).locator(".value")


@pytest.fixture(scope="module")
def stream_dashboard(tmp_path_factory):
    """A dashboard with a stream that has a backlog and half an hour of history, with errors twenty minutes ago."""
    from confluent_kafka import Producer

    harness = DashboardHarness(tmp_path_factory.mktemp("stream_dashboard"))
    history = History(harness.var / "stream")
    now = time.time()
    for second in range(1800):
        bad = second == 600
        history.add(
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
    supervisor(harness.var)
    heartbeat(harness.var, 32_297.0, 54_186.3)
    with in_process_broker() as bootstrap, pytest.MonkeyPatch.context() as patch:
        patch.setenv("GROUNDSWELL_STREAM__BOOTSTRAP", bootstrap)
        producer = Producer(client_config(StreamSettings.load()))
        for _ in range(WAITING):
            producer.produce(MESSAGES, b"{}")
        assert producer.flush(20) == 0
        with harness.service():
            yield harness


def test_history_survives_a_reload_and_follows_the_chosen_period(stream_dashboard, page):
    requested = []
    page.on("request", lambda request: requested.append(request.url) if "/panels/history" in request.url else None)
    page.goto(f"{stream_dashboard.url}/operations/?span=1h")
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
    assert len({re.search(r"since=([^&]*)T", url) for url in requested}) > 1


def test_history_route_returns_what_the_supervisor_wrote(stream_dashboard):
    history = httpx.get(f"{stream_dashboard.url}/v1/panels/history", timeout=10).json()
    assert history["step_s"] == 2 and 200 <= len(history["rows"]) <= 301
    assert {row["cpu"]["w1"] for row in history["rows"]} == {0.5}
    assert max(row["lag"] for row in history["rows"]) == 4_321


def test_high_lag_is_shown_with_its_limit_and_as_catching_up(stream_dashboard, page):
    page.goto(f"{stream_dashboard.url}/operations/")
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


def test_pages_show_that_the_stream_is_catching_up_and_how_many_notices_it_followed(stream_dashboard, page):
    with stream_dashboard.warehouse_server():  # without the database the notice is about the database
        page.goto(stream_dashboard.url)
        notice = page.get_by_test_id("state-catching-up")
        # The supervisor measured 50 messages per second: 30 s of work.
        expect(notice).to_contain_text(f"Catching up. {WAITING:,} messages wait, about 30 s of work")
        with stream_dashboard.client() as client:
            kinds = ("delete", "delete", "user_suspend")
            write_notices(client, [(MESSAGES, 0, offset, kind) for offset, kind in enumerate(kinds)])
        page.goto(f"{stream_dashboard.url}/operations/")
        expect(figure(page.locator(".panel-stream"), "Notices")).to_have_text("3")
        expect(page.locator(".panel-stream")).to_contain_text("2 delete, 1 user suspend")


def test_times_have_the_most_readable_unit(stream_dashboard, page):
    page.goto(f"{stream_dashboard.url}/operations/")
    workers = page.get_by_test_id("table-workers")
    expect(workers).to_contain_text("32 s")
    expect(workers).to_contain_text("54 s")
    expect(workers).not_to_contain_text("297")
    heartbeat(stream_dashboard.var, 617.2, None)
    expect(workers).to_contain_text("617 ms")
    with page.expect_download() as download:
        page.get_by_test_id("csv-workers").click()
    head = download.value.path().read_text("utf-8-sig").splitlines()[0] if download.value.path() else ""
    assert "p50 (ms)" in head and "memory (bytes)" in head


def test_worker_without_a_heartbeat_is_marked_late(stream_dashboard, page):
    page.goto(f"{stream_dashboard.url}/operations/")
    heartbeat(stream_dashboard.var, 617.2, 900.0)
    expect(page.get_by_test_id("table-workers")).to_contain_text("✓ ok")
    expect(page.get_by_test_id("table-workers")).to_contain_text(re.compile(r"late, [\d.]+ s ago"))


def test_api_counts_follow_the_period_and_quantiles_are_bucket_edges(stream_dashboard, page):
    for n in range(20):
        assert httpx.post(f"{stream_dashboard.url}/v1/classify", json={"texts": [f"text {n}"]}, timeout=10).status_code == 200
    page.goto(f"{stream_dashboard.url}/operations/?span=1h")
    api = page.locator(".panel-api")
    expect(figure(api, "Requests")).not_to_have_text("0")
    assert number(figure(api, "Requests")) >= 20
    expect(api.locator(".note")).to_contain_text("since this service started")
    for name in ("p50", "p99"):
        expect(figure(api, name)).to_have_text(re.compile(r"^[≤>] \d+(\.\d)? (ms|s)$"))
    assert "at most" not in api.inner_text()
    expect(page.get_by_test_id("legend-requests")).to_contain_text("requests")


def test_without_a_stream_nothing_is_called_normal(tmp_path, browser, page):
    harness = DashboardHarness(tmp_path)
    with harness.service():
        page.goto(f"{harness.url}/operations/")
        expect(page.get_by_test_id("stream-state")).to_contain_text("The stream is not running")
        expect(page.locator(".panel-lag")).to_contain_text("Not measured (stream not running in this time).")
        expect(page.locator(".panel-partitions")).to_contain_text("No partitions reported.")
