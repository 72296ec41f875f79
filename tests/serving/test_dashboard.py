"""The dashboard in a real browser with a real service and warehouse: it shows the counts of the rows, and names missing data.

`SCREENS=<folder>` saves pictures of every view, as `make screens` does for docs/screens. They show a running service
(`SCREENS_URL`, the demo's); the live view shows the texts of these tests, since the demo's messages were written by people.
"""

import csv
import gzip
import os
import re
import time
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import psutil
import pytest
from playwright.sync_api import expect

from orchestration.demo.stream import CRISIS, CRISIS_AFTER_S, CRISIS_SOURCE
from serving.service.middleware.keys import keys_of
from tests.serving.alert_rows import insert_alert
from tests.serving.dashboard_harness import (
    LABELS,
    SIZES,
    DashboardHarness,
    has_no_violation,
    number,
    row,
    running_story,
    story,
    total,
    wait_for_counts,
    write,
)

pytestmark = pytest.mark.integration
VIEWS = {"live": "/", "models": "/models/", "operations": "/operations/", "try": "/try/"}


def test_every_panel_has_the_counts_of_the_warehouse(dashboard):
    """Compare the routes of the panels with queries on the rows."""
    since = datetime.now(UTC) - timedelta(hours=2)
    with dashboard.client() as client, httpx.Client(base_url=dashboard.url, timeout=30) as http:

        def panel(name, **given):
            response = http.get(f"/v1/panels/{name}", params={"since": since.isoformat(), **given})
            assert response.status_code == 200, response.text
            return response.json()["rows"]

        rows = client.query(
            "SELECT topic, partition, offset, argMax(label, predicted_at) AS label, any(source) AS source, any(text) AS text, "
            "any(created_at) AS at FROM predictions GROUP BY topic, partition, offset"
        ).result_rows
        for label in LABELS:
            wanted = sum(each[3] == label for each in rows)
            assert panel("distribution")[0][label] == wanted
            assert (
                sum(each[label] for each in panel("trend")) == sum(each[label] for each in panel("trend", by="source")) == wanted
            )
            assert sum(each[label] for each in panel("sources")) == wanted
        assert sum(each["messages"] for each in panel("volume")) == len(rows)
        assert sum(each["messages"] for each in panel("volume", source="support", every="second")) == sum(
            each[4] == "support" for each in rows
        )
        newest = sorted(rows, key=lambda each: each[6], reverse=True)
        assert [each["text"] for each in panel("messages", limit=20)] == [each[5] for each in newest[:20]]
        negative = [each["text"] for each in panel("messages", label="negative", source="reviews", limit=9)]
        assert negative == [each[5] for each in newest if each[3] == "negative" and each[4] == "reviews"][:9]
        assert all(each["text"] for each in panel("top_negative"))
        assert sum(each["messages"] for each in panel("versions")) == len(rows)
        assert [each["id"] for each in panel("alerts")] == ["crisis"]
        assert panel("latency")[0]["p99_s"] == pytest.approx(0.24, abs=0.01)


@pytest.mark.parametrize(
    ("route", "status", "reason"),
    [
        ("trend?since=yesterday", 422, "since"),
        ("trend?since=2026-01-01T00:00:00", 422, "since"),
        ("trend?color=red", 422, "color"),
        ("trend?since=2020-01-01T00:00:00Z&every=second", 422, "buckets"),
        ("messages?limit=100000", 422, "limit"),
        ("leaderboard?since=2020-01-01T00:00:00Z", 422, "since"),
        ("api?until=2020-01-01T00:00:00Z", 422, "until"),
        ("history?color=red", 422, "color"),
        ("comparison?left=minilm", 422, "right"),
        ("errors?name=..&label=neutral&predicted=negative", 404, "not found"),
        ("errors?name=x&label=angry&predicted=negative", 422, "label"),
        ("nothing", 404, "nothing"),
    ],
)
def test_invalid_panel_query_is_rejected_with_its_reason(dashboard, route, status, reason):
    response = httpx.get(f"{dashboard.url}/v1/panels/{route}", timeout=30)
    assert response.status_code == status and reason in response.json()["detail"]


@pytest.mark.parametrize("span", ["10m", "1h"])
def test_page_has_the_counts_of_the_rows_with_duplicates_and_late_rows(dashboard, page, span):
    start = datetime.now(UTC) - timedelta(hours=1 if span == "1h" else 0)
    with dashboard.client() as client:
        # The source has new messages only, so that none of them leaves the ten minutes during the test.
        page.goto(f"{dashboard.url}/?span={span}&source=quiet-{span}")
        first = 100_000 if span == "1h" else 200_000
        at = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=3)
        rows = [row(first + n, at + timedelta(seconds=n), f"quiet-{span}", "Best purchase of the year!") for n in range(60)]
        write(client, rows)
        wait_for_counts(page, {"negative": 0, "neutral": 0, "positive": 60})
        write(client, rows[:30])
        late = [
            row(first + 60 + n, at - timedelta(minutes=2), f"quiet-{span}", "Trains late again, of course.") for n in range(7)
        ]
        again = [each | {"label": "neutral", "predicted_at": datetime.now(UTC)} for each in rows[:4]]
        write(client, late)
        write(client, again)
        wait_for_counts(page, {"negative": 7, "neutral": 4, "positive": 56})
        if span == "1h":
            page.goto(f"{dashboard.url}/?span=1h")
            wait_for_counts(page, total(client, start))


def test_alert_in_the_warehouse_opens_and_closes_on_the_page(dashboard, page):
    page.goto(dashboard.url)
    expect(page.locator("[data-alert-id=crisis]")).to_have_attribute("data-open", "true")
    with dashboard.client() as client:
        now = datetime.now(UTC)
        insert_alert(client, "second", now, source="tweets")
        card = page.locator("[data-alert-id=second]")
        expect(card).to_be_visible()
        expect(card).to_contain_text("Still down.")
        insert_alert(client, "second", now, source="tweets", closed_at=now + timedelta(seconds=60), revision=2)
        expect(card).to_have_attribute("data-open", "false")


def test_markup_is_shown_as_text(dashboard, page):
    page.goto(dashboard.url)
    expect(page.get_by_test_id("message-row").filter(has_text="<b>bold</b>").first).to_be_visible()
    expect(page.locator("[data-alert-id=crisis]")).to_contain_text("onerror")
    assert "broken" not in page.title()
    assert page.locator("img[src=x]").count() == 0


def test_address_keeps_the_filters_and_a_chart_exports_its_numbers(dashboard, page):
    page.goto(f"{dashboard.url}/?source=support&span=10m")
    page.get_by_role("link", name="Operations").click()
    expect(page).to_have_url(re.compile("operations.*source=support"))
    page.get_by_role("link", name="Live").click()
    expect(page.get_by_test_id("chart-volume")).to_be_visible()
    expect(page.get_by_test_id("message-row").first).to_be_visible()
    with page.expect_download() as download:
        page.get_by_test_id("csv-volume").click()
    with Path(download.value.path()).open(encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    total_on_page = number(page.get_by_test_id("messages-total"))
    exported = sum(int(list(each.values())[-1] or 0) for each in rows)
    assert abs(exported - total_on_page) <= 60, "the window moves during the test"


def test_text_is_classified_and_corrected(dashboard, page):
    page.goto(f"{dashboard.url}/try/")
    page.get_by_role("textbox").first.fill("bad awful terrible")
    page.keyboard.press("Control+Enter")
    expect(page.get_by_text("negative").first).to_be_visible()
    page.get_by_label("name", exact=False).fill("desk")
    page.get_by_role("button", name="neutral").click()
    expect(page.get_by_test_id("feedback-status")).to_have_text("Saved as neutral; used in the next training run.")


def test_scripts_of_each_page_stay_under_300_kib(dashboard, browser):
    for view, path in VIEWS.items():
        with browser.new_context() as context:
            opened, scripts = context.new_page(), []
            opened.on("response", lambda r: scripts.append(r) if r.request.resource_type == "script" else None)  # noqa: B023
            opened.goto(f"{dashboard.url}{path}", wait_until="networkidle")
            size = sum(len(gzip.compress(each.body(), 6)) for each in scripts if each.url.startswith(dashboard.url))
            assert all(each.url.startswith(dashboard.url) for each in scripts), "a script comes from another host"
            assert 0 < size <= 300 * 1024, f"{view}: {size / 1024:.0f} KiB"


@pytest.fixture(scope="module")
def live_dashboard(tmp_path_factory):
    """A dashboard that receives the demo's messages; their crisis began half a minute ago."""
    harness = DashboardHarness(tmp_path_factory.mktemp("live_dashboard"))
    with harness.warehouse_server(), harness.service(), harness.client() as client:
        began = time.time() - CRISIS_AFTER_S - 30
        rows = story(began, time.time() - 1)
        write(client, rows)
        at = datetime.fromtimestamp(began + CRISIS_AFTER_S, UTC)
        insert_alert(client, "crisis", at, source=CRISIS_SOURCE, texts=list(CRISIS[:3]))
        with running_story(harness, len(rows), began):
            yield harness


@pytest.mark.parametrize("view", list(VIEWS))
def test_every_view_is_seen_readable_and_reachable(live_dashboard, browser, view, tmp_path):
    """In both sizes and color schemes: a picture, no axe-core violation, no horizontal scrolling, keyboard access."""
    folder = Path(os.environ.get("SCREENS", tmp_path))
    url = live_dashboard.url if view == "live" else os.environ.get("SCREENS_URL", live_dashboard.url)
    for light in ("light", "dark"):
        for size, viewport in SIZES.items():
            with browser.new_context(viewport=viewport, color_scheme=light, reduced_motion="reduce") as context:
                page = context.new_page()
                page.goto(f"{url}{VIEWS[view]}")
                expect(page.get_by_role("heading", level=1)).to_be_visible()
                expect(page.get_by_test_id("connection")).to_contain_text("live", ignore_case=True)
                if view == "live":
                    expect(page.get_by_test_id("alert-card").first).to_be_visible()
                    expect(page.get_by_test_id("message-row").first).to_be_visible()
                if view == "try":
                    page.get_by_role("textbox").first.fill("Oh great, another outage. Thank you so much.")
                    page.keyboard.press("Control+Enter")
                    expect(page.get_by_text("neutral").first).to_be_visible()
                page.wait_for_timeout(4_000 if "SCREENS_URL" in os.environ else 1_000)  # charts draw on the next frames
                picture = page.screenshot(path=folder / f"{view}-{size}-{light}.png", full_page=True)
                assert len(picture) > 10_000
                assert page.evaluate("document.scrollingElement.scrollWidth") <= viewport["width"]
                has_no_violation(page)
                page.reload()
                expect(page.get_by_role("heading", level=1)).to_be_visible()
                page.keyboard.press("Tab")
                assert page.evaluate("document.activeElement.textContent").lower().startswith("skip")


SHIFTS = """window.shifted = 0; window.moved = [];
new PerformanceObserver((list) => {
  for (const entry of list.getEntries()) {
    if (entry.hadRecentInput) continue;
    window.shifted += entry.value;
    window.moved.push(...entry.sources.map(({ node }) => node?.className || node?.nodeName));
  }
}).observe({ type: "layout-shift", buffered: true });"""


@pytest.mark.parametrize("size", list(SIZES))
@pytest.mark.parametrize("view", list(VIEWS))
def test_layout_shift_of_a_loading_view_is_below_a_tenth(live_dashboard, browser, view, size):
    """Check the layout-shift score (CLS), a share of the screen; web.dev rates a page below 0.1 as good."""
    with browser.new_context(viewport=SIZES[size], reduced_motion="reduce") as context:
        page = context.new_page()
        page.add_init_script(SHIFTS)
        page.goto(f"{live_dashboard.url}{VIEWS[view]}", wait_until="networkidle" if view == "try" else "load")
        expect(page.get_by_test_id("connection")).to_have_attribute("data-state", "live")
        expect(page.locator("section.panel").first).to_be_visible()
        page.wait_for_timeout(2_500)  # panels are requested again, frames arrive
        assert page.evaluate("window.shifted") < 0.1, page.evaluate("window.moved")


def test_page_recovers_after_the_service_was_killed(tmp_path, browser, page):
    harness = DashboardHarness(tmp_path)
    with harness.warehouse_server(), harness.client() as client:
        now = datetime.now(UTC).replace(microsecond=0)
        write(client, [row(n, now - timedelta(seconds=n), "shop", "Works as described.") for n in range(40)])
        with harness.service() as process:
            page.goto(harness.url)
            wait_for_counts(page, {"negative": 0, "neutral": 40, "positive": 0})
            kill_all_of(process)
            expect(page.get_by_test_id("connection")).not_to_contain_text("live", timeout=30_000, ignore_case=True)
            expect(page.get_by_test_id("state-service-down")).to_be_visible()
            assert number(page.get_by_test_id("messages-total")) == 40, "the page keeps its numbers"
            write(client, [row(n, now, "shop", "Trains late again, of course.") for n in range(40, 52)])
        with harness.service():
            wait_for_counts(page, {"negative": 12, "neutral": 40, "positive": 0})
            expect(page.get_by_test_id("state-service-down")).to_be_hidden()
            expect(page.get_by_test_id("connection")).not_to_contain_text("cannot reach")


def kill_all_of(process):
    """Kill a process and its children: BentoML's workers outlive a killed parent."""
    family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    for member in family:
        member.kill()
    psutil.wait_procs(family, timeout=120)


def test_missing_data_is_named_with_its_cause(tmp_path, browser, page):
    """No data, a stopped stream, a warehouse that is unavailable and comes back, no leaderboard."""
    harness = DashboardHarness(tmp_path)
    with ExitStack() as held:
        held.enter_context(harness.service())
        page.goto(harness.url)
        expect(page.get_by_test_id("state-warehouse-down")).to_be_visible()
        with harness.warehouse_server():
            expect(page.get_by_test_id("state-no-data")).to_be_visible()
            with harness.client() as client:
                past = datetime.now(UTC) - timedelta(minutes=4)
                write(client, [row(n, past, "shop", "Works as described.") for n in range(5)])
            expect(page.get_by_test_id("state-stopped")).to_be_visible()
            expect(page.get_by_test_id("state-stopped")).to_contain_text("The stream is not running")
            wait_for_counts(page, {"negative": 0, "neutral": 5, "positive": 0})
        expect(page.get_by_test_id("state-warehouse-down")).to_be_visible()
        page.goto(f"{harness.url}/models/")
        expect(page.get_by_test_id("state-model-unknown")).to_contain_text("make train")
        page.goto(f"{harness.url}/operations/")
        expect(page.get_by_test_id("stream-state")).to_contain_text("not running")


def test_service_with_keys_shows_the_key_form(tmp_path, browser, page):
    harness = DashboardHarness(tmp_path, keys="true")
    with harness.warehouse_server(), harness.service():
        token = keys_of(harness.var).add("desk", ["dashboard", "classify"])
        page.goto(harness.url)
        form = page.get_by_test_id("state-key")
        expect(form).to_be_visible()
        assert httpx.get(f"{harness.url}/v1/panels/trend", timeout=10).status_code == 401
        form.get_by_role("textbox").or_(form.locator("input")).first.fill(token)
        page.keyboard.press("Enter")
        expect(page.get_by_test_id("connection")).to_contain_text("live", ignore_case=True)
        assert token not in page.url
    assert token not in (harness.folder / "log").read_text()
