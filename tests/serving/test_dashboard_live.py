"""The Live page: stale data looks stale, invalid filters are named, and the numbers are those of the warehouse."""

import csv
import re
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.serving.dashboard_harness import (
    SIZES,
    DashboardHarness,
    has_no_violation,
    number,
    put_normal,
    row,
    wait_for_counts,
    write,
)

pytestmark = pytest.mark.integration
NAME = "tweeteval_sentiment_of_a_long_name"
LOCAL = """(at) => {
    const date = new Date(at);
    return new Date(date - date.getTimezoneOffset() * 60000).toISOString().slice(0, 19);
}"""
OFFSETS = iter(range(1_000_000, 9_000_000, 10_000))


def rows_of(source, texts, *, ago_s=1.0, step_s=0.0, **changes):
    """Return rows of a source, the newest last."""
    first, now = next(OFFSETS), datetime.now(UTC).replace(microsecond=0)
    return [
        row(first + at, now - timedelta(seconds=ago_s + step_s * (len(texts) - at)), source, text, **changes)
        for at, text in enumerate(texts)
    ]


def legend(page, name):
    return page.get_by_test_id(f"legend-{name}")


def test_title_names_the_measure_and_the_model(dashboard, page):
    page.goto(dashboard.url)
    expect(page.get_by_role("heading", level=1)).to_have_text("Customer sentiment, live")
    expect(page.get_by_test_id("served-model")).to_contain_text(dashboard.bundle.manifest.version)
    page.get_by_test_id("served-model").get_by_role("link").click()
    expect(page).to_have_url(re.compile("/models/"))


def test_legends_show_the_last_values_or_those_at_the_pointer(dashboard, page):
    with dashboard.client() as client:
        write(client, rows_of("steady", ["Works as described."] * 300, step_s=1.0))
        page.goto(f"{dashboard.url}/?source=steady")
        for name in ("trend", "volume"):
            expect(legend(page, name)).to_contain_text("last, at")
            assert "–" not in legend(page, name).inner_text()
        over = page.get_by_test_id("chart-trend").locator(".u-over")
        over.hover(position={"x": 200, "y": 60})
        expect(legend(page, "trend")).not_to_contain_text("last, at")


def test_axis_is_0_to_100_and_the_note_names_a_zoom(dashboard, page):
    page.goto(dashboard.url)
    note = page.locator(".panel-trend .note")
    expect(note).to_contain_text("0 is all negative, 100 all positive")
    expect(note).not_to_contain_text("zoomed")
    page.get_by_role("button", name="Zoom the axis").click()
    expect(note).to_contain_text("The axis is zoomed.")
    expect(page).to_have_url(re.compile("axis=fit"))
    page.get_by_role("button", name="Show 0 to 100").click()
    expect(note).not_to_contain_text("zoomed")


def test_texts_are_decoded_and_masked_and_the_csv_has_the_originals(dashboard, page):
    sent = "It&#039;s 1&amp;2 &lt;b&gt; and a piece of shit"
    with dashboard.client() as client:
        write(client, rows_of("spoken", [sent], label="negative"))
        page.goto(f"{dashboard.url}/?source=spoken")
        message = page.get_by_test_id("message-row").first
        expect(message).to_contain_text("It's 1&2 <b> and a piece of s***")
        expect(page.get_by_test_id("table-top_negative")).to_contain_text("a piece of s***")
        page.get_by_label("Mask profanity").uncheck()
        expect(message).to_contain_text("a piece of shit")
        page.reload()
        expect(page.get_by_label("Mask profanity")).not_to_be_checked()
        page.get_by_label("Mask profanity").check()
        expect(page.get_by_test_id("csv-messages")).to_have_text("CSV, unmasked")
        with page.expect_download() as download:
            page.get_by_test_id("csv-messages").click()
        with Path(download.value.path()).open(encoding="utf-8-sig") as file:
            assert [each["text"] for each in csv.DictReader(file)] == [sent]


def test_columns_without_information_are_hidden(dashboard, page):
    heads = page.get_by_test_id("table-messages").locator("th")
    with dashboard.client() as client:
        write(client, rows_of("plain", ["Works as described."] * 3))
        page.goto(f"{dashboard.url}/?source=plain")
        expect(heads.filter(has_text="text")).to_be_visible()
        assert not {"sarcasm", "tier"} & set(heads.all_inner_texts())
        write(client, rows_of("plain", ["Oh great."], sarcasm=0.9, tier="small"))
        expect(heads.filter(has_text="sarcasm")).to_be_visible()
        expect(heads.filter(has_text="tier")).to_be_visible()


@pytest.mark.parametrize("size", list(SIZES))
def test_sources_are_readable_without_scrolling_or_words_broken(dashboard, browser, size):
    with dashboard.client() as client, browser.new_context(viewport=SIZES[size]) as context:
        write(client, rows_of(NAME, ["Works as described."] * 5))
        page = context.new_page()
        page.goto(dashboard.url)
        table = page.get_by_test_id("table-sources")
        expect(table).to_contain_text(NAME)
        box = table.locator("xpath=..")
        assert box.evaluate("(box) => box.scrollWidth - box.clientWidth") <= 1
        broken = table.evaluate("""(table) => [...table.querySelectorAll(".name")].flatMap((name) =>
            [...name.childNodes].filter((node) => node.nodeType === 3).filter((node) => {
                const range = document.createRange();
                range.selectNodeContents(node);
                return new Set([...range.getClientRects()].map(({ top }) => top)).size > 1;
            }).map((node) => node.textContent))""")
        assert broken == []


def test_burst_in_the_volume_chart_is_cut(dashboard, page):
    with dashboard.client() as client:
        write(client, rows_of("bursting", ["Works as described."] * 120, step_s=2.0))
        write(client, rows_of("bursting", ["Works as described."] * 3_000, ago_s=100))
        page.goto(f"{dashboard.url}/?source=bursting")
        expect(page.locator(".panel-volume .note")).to_contain_text(re.compile(r"▲ Bars over \d+ are cut"))
        expect(page.get_by_test_id("chart-volume")).to_have_attribute("aria-label", re.compile("at most 3,00[01] in a second"))


def test_invalid_filters_are_named_and_can_be_reset(dashboard, page):
    page.goto(f"{dashboard.url}/?source=nosuch&span=7x&color=red")
    notice = page.get_by_test_id("state-filters")
    expect(notice).to_contain_text('Time "7x" is not one of 1m, 5m')
    expect(notice).to_contain_text('"color" is not a filter')
    expect(page.get_by_test_id("state-source-unknown")).to_contain_text('No messages from source "nosuch" are known.')
    expect(page.get_by_test_id("alerts-words").or_(page.locator(".figure.alerts.bad"))).not_to_contain_text("normal")
    has_no_violation(page)
    page.get_by_role("button", name="Show all sources").click()
    expect(page.get_by_test_id("state-source-unknown")).to_be_hidden()
    page.goto(f"{dashboard.url}/?span=7x&color=red")
    page.get_by_role("button", name="Reset the filters").click()
    expect(page.get_by_test_id("state-filters")).to_be_hidden()


@pytest.mark.parametrize(("span", "days"), [("7d", 5), ("30d", 20)])
def test_weeks_are_counted_from_the_warehouse(dashboard, page, span, days):
    source = f"old-{span}"
    with dashboard.client() as client:
        write(client, rows_of(source, ["Works as described."] * 40, ago_s=days * 86_400, step_s=600))
        write(client, rows_of(source, ["Trains late again, of course."] * 2))
        page.goto(f"{dashboard.url}/?span={span}&source={source}")
        wait_for_counts(page, {"negative": 2, "neutral": 40, "positive": 0})
        expect(page.locator(".panel-volume .note")).to_contain_text(re.compile("Per hour"))
        expect(page.get_by_test_id("chart-volume")).to_be_visible()


def test_dragging_over_a_chart_zooms_until_the_zoom_is_reset(dashboard, page):
    with dashboard.client() as client:
        write(client, rows_of("dragged", ["Works as described."] * 300, step_s=1.0))
        page.goto(f"{dashboard.url}/?source=dragged")
        over = page.get_by_test_id("chart-trend").locator(".u-over")
        box = over.bounding_box()
        assert box
        page.mouse.move(box["x"] + box["width"] * 0.6, box["y"] + 50)
        page.mouse.down()
        page.mouse.move(box["x"] + box["width"] * 0.8, box["y"] + 50, steps=4)
        page.mouse.up()
        expect(page).to_have_url(re.compile(r"from=\d{4}-.*to=\d{4}-"))
        expect(page.get_by_role("combobox", name="Time")).to_have_value("custom")
        page.wait_for_timeout(500)
        total = number(page.get_by_test_id("messages-total"))
        assert 100 <= total <= 140, "a fifth of ten minutes with one message per second"
        page.get_by_role("button", name="Reset the zoom").click()
        expect(page).not_to_have_url(re.compile("from="))
        expect(page.get_by_role("combobox", name="Time")).to_have_value("10m")


def test_typed_range_is_applied_and_an_invalid_one_is_rejected(dashboard, page):
    at = datetime.now(UTC).replace(microsecond=0) - timedelta(days=2)
    with dashboard.client() as client:
        write(client, [row(next(OFFSETS) + n, at + timedelta(seconds=n), "typed", "Works as described.") for n in range(60)])
        page.goto(f"{dashboard.url}/?source=typed")
        page.get_by_role("combobox", name="Time").select_option("custom")
        field = page.get_by_label("From", exact=True)
        local = page.evaluate(LOCAL, at.isoformat())
        later = (datetime.fromisoformat(local) + timedelta(seconds=30)).isoformat()
        field.fill(later)
        page.get_by_label("To", exact=True).fill(local)
        expect(page.get_by_text("The start of the range is not before its end.")).to_be_visible()
        has_no_violation(page)
        field.fill(local)
        page.get_by_label("To", exact=True).fill(later)
        page.keyboard.press("Enter")
        wait_for_counts(page, {"negative": 0, "neutral": 30, "positive": 0})


def write_normal(client, source):
    """Write normal values of a source for the minutes around now."""
    now = datetime.now(UTC).replace(second=0, microsecond=0)
    put_normal(client, source, {now + timedelta(minutes=n): 0.0 for n in range(-10, 5)}, threshold=4.0)


def test_source_without_history_is_not_called_normal(dashboard, page):
    words = page.get_by_test_id("alerts-words")
    with dashboard.client() as client:
        write(client, rows_of("calm", ["Works as described."] * 5))
        page.goto(f"{dashboard.url}/?source=calm")
        expect(words).to_have_text("Not enough history")
        write_normal(client, "calm")
        expect(words).to_have_text("calm is normal")
        expect(page.locator(".gauge .ends")).to_contain_text(re.compile(r"normal \d+ to \d+"))
        write(client, rows_of("calm", ["Works as described."] * 5))
        page.goto(dashboard.url)
        expect(words.or_(page.locator(".figure.alerts.bad"))).to_be_visible()


def expect_stale(page, cause, since=True):
    dot = page.get_by_test_id("connection")
    expect(dot).to_have_attribute("data-state", "stale")
    expect(dot).to_contain_text(cause)
    if since:
        expect(dot).to_contain_text(re.compile(r"stale since \d\d:\d\d:\d\d"))
        expect(page.get_by_test_id("headline-asof")).to_contain_text(re.compile(r"Data as of \d\d:\d\d:\d\d"))
    expect(page.get_by_test_id("headline")).to_have_attribute("data-stale", "true")
    expect(page.get_by_test_id("alerts-words")).not_to_contain_text("normal")


def test_stopped_data_is_stale_with_its_cause_until_it_resumes(tmp_path, browser, page):
    harness = DashboardHarness(tmp_path)
    with ExitStack() as held:
        held.enter_context(harness.service())
        page.goto(harness.url)
        expect_stale(page, "message database not running", since=False)
        with harness.warehouse_server(), harness.client() as client:
            write_normal(client, "shop")
            write(client, rows_of("shop", ["Works as described."] * 40, ago_s=70, step_s=1.0))
            expect_stale(page, "no new messages")
            expect(page.get_by_test_id("points-now")).not_to_have_text("–")  # the page keeps the last numbers, dimmed
            write(client, rows_of("shop", ["Works as described."] * 3))
            expect(page.get_by_test_id("connection")).to_have_text("live")
            expect(page.get_by_test_id("headline-asof")).to_be_hidden()
            expect(page.get_by_test_id("alerts-words")).to_have_text("All sources normal")
        expect_stale(page, "message database not running")
        notice = page.get_by_test_id("state-warehouse-down")
        expect(notice).to_contain_text("The message database is not running. Data as of")
        expect(notice).to_contain_text("Start it with groundswell stream up")
        has_no_violation(page)
        texts = {notice.inner_text() for _ in range(8) if not page.wait_for_timeout(400)}
        assert len({re.sub(r"\d\d:\d\d:\d\d", "", each) for each in texts}) == 1, "the notice does not change"
    expect_stale(page, "cannot reach the service")
    expect(page.get_by_test_id("state-service-down")).to_contain_text("Cannot reach the service; retrying.")
