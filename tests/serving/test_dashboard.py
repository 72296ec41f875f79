"""The dashboard in a real browser, against a real service and warehouse: it shows what the rows say, and says what is missing.

`SCREENS=<folder>` keeps the pictures of every view, as `make screens` does for docs/screens: of a running service
(`SCREENS_URL`, the demo's) but for the live view, whose messages are somebody's.
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

from orchestration.demo_stream import CRISIS, CRISIS_AFTER_S
from serving.service.keys import keys_of
from tests.serving.dashboard_world import (
    LABELS,
    SIZES,
    Shown,
    going_on,
    has_no_violation,
    number,
    row,
    shows,
    story,
    tell,
    total,
    write,
)

pytestmark = pytest.mark.integration
VIEWS = {"live": "/", "models": "/models/", "operations": "/operations/", "try": "/try/"}


def test_every_panel_holds_what_the_warehouse_holds(shown):
    """The panels' roads against questions to the rows themselves."""
    since = datetime.now(UTC) - timedelta(hours=2)
    with shown.client() as client, httpx.Client(base_url=shown.url, timeout=30) as http:

        def panel(name, **given):
            found = http.get(f"/v1/panels/{name}", params={"since": since.isoformat(), **given})
            assert found.status_code == 200, found.text
            return found.json()["rows"]

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
    ("road", "status", "says"),
    [
        ("trend?since=yesterday", 422, "since"),
        ("trend?since=2026-01-01T00:00:00", 422, "since"),
        ("trend?colour=red", 422, "colour"),
        ("trend?since=2020-01-01T00:00:00Z&every=second", 422, "buckets"),
        ("messages?limit=100000", 422, "limit"),
        ("leaderboard?since=2020-01-01T00:00:00Z", 422, "since"),
        ("api?until=2020-01-01T00:00:00Z", 422, "until"),
        ("history?colour=red", 422, "colour"),
        ("comparison?left=minilm", 422, "right"),
        ("errors?name=..&label=neutral&predicted=negative", 404, "not found"),
        ("errors?name=x&label=angry&predicted=negative", 422, "label"),
        ("nothing", 404, "nothing"),
    ],
)
def test_a_question_that_is_none_is_refused_with_its_reason(shown, road, status, says):
    found = httpx.get(f"{shown.url}/v1/panels/{road}", timeout=30)
    assert found.status_code == status and says in found.json()["detail"]


@pytest.mark.parametrize("span", ["10m", "1h"])
def test_the_page_counts_as_the_rows_do_with_duplicates_and_late_ones(shown, page, span):
    start = datetime.now(UTC) - timedelta(hours=1 if span == "1h" else 0)
    with shown.client() as client:
        # What leaves the ten minutes while we look is not compared: a source that only now begins to speak.
        page.goto(f"{shown.url}/?span={span}&source=quiet-{span}")
        first = 100_000 if span == "1h" else 200_000
        at = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=3)
        rows = [row(first + n, at + timedelta(seconds=n), f"quiet-{span}", "Best purchase of the year!") for n in range(60)]
        write(client, rows)
        shows(page, {"negative": 0, "neutral": 0, "positive": 60})
        write(client, rows[:30])
        late = [
            row(first + 60 + n, at - timedelta(minutes=2), f"quiet-{span}", "Trains late again, of course.") for n in range(7)
        ]
        anew = [each | {"label": "neutral", "predicted_at": datetime.now(UTC)} for each in rows[:4]]
        write(client, late)
        write(client, anew)
        shows(page, {"negative": 7, "neutral": 4, "positive": 56})
        if span == "1h":
            page.goto(f"{shown.url}/?span=1h")
            shows(page, total(client, start))


def test_a_shift_in_the_table_is_an_alert_on_the_page(shown, page):
    page.goto(shown.url)
    expect(page.locator("[data-alert-id=crisis]")).to_have_attribute("data-open", "true")
    with shown.client() as client:
        now = datetime.now(UTC)
        tell(client, "second", now, source="tweets")
        card = page.locator("[data-alert-id=second]")
        expect(card).to_be_visible()
        expect(card).to_contain_text("Still down.")
        tell(client, "second", now, source="tweets", closed_at=now + timedelta(seconds=60), revision=2)
        expect(card).to_have_attribute("data-open", "false")


def test_markup_is_shown_as_text(shown, page):
    page.goto(shown.url)
    expect(page.get_by_test_id("message-row").filter(has_text="<b>bold</b>").first).to_be_visible()
    expect(page.locator("[data-alert-id=crisis]")).to_contain_text("onerror")
    assert "broken" not in page.title()
    assert page.locator("img[src=x]").count() == 0


def test_the_address_keeps_the_filters_and_a_chart_gives_its_numbers(shown, page):
    page.goto(f"{shown.url}/?source=support&span=10m")
    page.get_by_role("link", name="Operations").click()
    expect(page).to_have_url(re.compile("operations.*source=support"))
    page.get_by_role("link", name="Live").click()
    expect(page.get_by_test_id("chart-volume")).to_be_visible()
    expect(page.get_by_test_id("message-row").first).to_be_visible()
    with page.expect_download() as download:
        page.get_by_test_id("csv-volume").click()
    with Path(download.value.path()).open(encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    shown_total = number(page.get_by_test_id("messages-total"))
    assert abs(sum(int(list(each.values())[-1] or 0) for each in rows) - shown_total) <= 60, "the window moves on while we look"


def test_a_text_is_judged_and_corrected(shown, page):
    page.goto(f"{shown.url}/try/")
    page.get_by_role("textbox").first.fill("bad awful terrible")
    page.keyboard.press("Control+Enter")
    expect(page.get_by_text("negative").first).to_be_visible()
    page.get_by_label("name", exact=False).fill("desk")
    page.get_by_role("button", name="neutral").click()
    expect(page.get_by_test_id("feedback-said")).to_have_text("Saved as neutral; used in the next training run.")


def test_no_page_loads_more_script_than_it_should(shown, browser):
    for view, path in VIEWS.items():
        with browser.new_context() as context:
            opened, scripts = context.new_page(), []
            opened.on("response", lambda r: scripts.append(r) if r.request.resource_type == "script" else None)  # noqa: B023
            opened.goto(f"{shown.url}{path}", wait_until="networkidle")
            size = sum(len(gzip.compress(each.body(), 6)) for each in scripts if each.url.startswith(shown.url))
            assert all(each.url.startswith(shown.url) for each in scripts), "nothing comes from elsewhere"
            assert 0 < size <= 300 * 1024, f"{view}: {size / 1024:.0f} KiB"


@pytest.fixture(scope="module")
def living(tmp_path_factory):
    """The same story, which goes on: its crisis began half a minute ago."""
    world = Shown(tmp_path_factory.mktemp("living"))
    with world.owner(), world.service(), world.client() as client:
        began = time.time() - CRISIS_AFTER_S - 30
        rows = story(began, time.time() - 1)
        write(client, rows)
        tell(client, "crisis", datetime.fromtimestamp(began + CRISIS_AFTER_S, UTC), texts=list(CRISIS[:3]))
        with going_on(world, len(rows), began):
            yield world


@pytest.mark.parametrize("view", list(VIEWS))
def test_every_view_can_be_seen_read_and_reached(living, browser, view, tmp_path):
    """Pictures in both sizes and both lights; axe-core finds nothing; no sideways scrolling; the keyboard gets in."""
    folder = Path(os.environ.get("SCREENS", tmp_path))
    url = living.url if view == "live" else os.environ.get("SCREENS_URL", living.url)
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
def test_layout_hardly_shifts_while_a_view_fills(living, browser, view, size):
    """A layout-shift score is a share of the screen and no time: Web Vitals call a page good below 0.1."""
    with browser.new_context(viewport=SIZES[size], reduced_motion="reduce") as context:
        page = context.new_page()
        page.add_init_script(SHIFTS)
        page.goto(f"{living.url}{VIEWS[view]}", wait_until="networkidle" if view == "try" else "load")
        expect(page.get_by_test_id("connection")).to_have_attribute("data-state", "live")
        expect(page.locator("section.panel").first).to_be_visible()
        page.wait_for_timeout(2_500)  # panels are asked for again, frames come
        assert page.evaluate("window.shifted") < 0.1, page.evaluate("window.moved")


def test_the_page_recovers_when_the_service_was_killed(tmp_path, browser, page):
    world = Shown(tmp_path)
    with world.owner(), world.client() as client:
        now = datetime.now(UTC).replace(microsecond=0)
        write(client, [row(n, now - timedelta(seconds=n), "shop", "Does what it says.") for n in range(40)])
        with world.service() as process:
            page.goto(world.url)
            shows(page, {"negative": 0, "neutral": 40, "positive": 0})
            kill_all_of(process)
            expect(page.get_by_test_id("connection")).not_to_contain_text("live", timeout=30_000, ignore_case=True)
            expect(page.get_by_test_id("state-service-away")).to_be_visible()
            assert number(page.get_by_test_id("messages-total")) == 40, "old numbers stay"
            write(client, [row(n, now, "shop", "Trains late again, of course.") for n in range(40, 52)])
        with world.service():
            shows(page, {"negative": 12, "neutral": 40, "positive": 0}, within_s=150)
            expect(page.get_by_test_id("state-service-away")).to_be_hidden()
            expect(page.get_by_test_id("connection")).not_to_contain_text("cannot reach")


def kill_all_of(process):
    """BentoML's workers outlive their parent when that is killed."""
    family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    for member in family:
        member.kill()
    psutil.wait_procs(family, timeout=120)


def test_what_is_missing_is_said(tmp_path, browser, page):
    """No data, a stream that stopped, a warehouse that is away and comes back, no leaderboard."""
    world = Shown(tmp_path)
    with ExitStack() as held:
        held.enter_context(world.service())
        page.goto(world.url)
        expect(page.get_by_test_id("state-warehouse-away")).to_be_visible(timeout=30_000)
        with world.owner():
            expect(page.get_by_test_id("state-no-data")).to_be_visible(timeout=30_000)
            with world.client() as client:
                past = datetime.now(UTC) - timedelta(minutes=4)
                write(client, [row(n, past, "shop", "Does what it says.") for n in range(5)])
            expect(page.get_by_test_id("state-stopped")).to_be_visible(timeout=30_000)
            expect(page.get_by_test_id("state-stopped")).to_contain_text("The stream is not running", timeout=30_000)
            shows(page, {"negative": 0, "neutral": 5, "positive": 0})
        expect(page.get_by_test_id("state-warehouse-away")).to_be_visible(timeout=30_000)
        page.goto(f"{world.url}/models/")
        expect(page.get_by_test_id("state-model-unknown")).to_contain_text("make train")
        page.goto(f"{world.url}/operations/")
        expect(page.get_by_test_id("stream-state")).to_contain_text("not running", timeout=30_000)


def test_a_service_with_keys_asks_for_one(tmp_path, browser, page):
    world = Shown(tmp_path, keys="true")
    with world.owner(), world.service():
        token = keys_of(world.var).add("desk", ["dashboard", "classify"])
        page.goto(world.url)
        form = page.get_by_test_id("state-key")
        expect(form).to_be_visible(timeout=30_000)
        assert httpx.get(f"{world.url}/v1/panels/trend", timeout=10).status_code == 401
        form.get_by_role("textbox").or_(form.locator("input")).first.fill(token)
        page.keyboard.press("Enter")
        expect(page.get_by_test_id("connection")).to_contain_text("live", ignore_case=True, timeout=30_000)
        assert token not in page.url
    assert token not in (world.folder / "log").read_text()
