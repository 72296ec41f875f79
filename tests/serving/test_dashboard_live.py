"""The Live page: what is stale looks stale, filters that are none are named, and what is shown is what was written."""

import csv
import re
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.serving.dashboard_world import SIZES, Shown, has_no_violation, number, put_normal, row, shows, write

pytestmark = pytest.mark.integration
NAME = "tweeteval_sentiment_of_a_long_name"
LOCAL = """(at) => {
    const date = new Date(at);
    return new Date(date - date.getTimezoneOffset() * 60000).toISOString().slice(0, 19);
}"""
OFFSETS = iter(range(1_000_000, 9_000_000, 10_000))


def said(source, texts, *, ago_s=1.0, step_s=0.0, **changes):
    """Rows of a source, the newest last."""
    first, now = next(OFFSETS), datetime.now(UTC).replace(microsecond=0)
    return [
        row(first + at, now - timedelta(seconds=ago_s + step_s * (len(texts) - at)), source, text, **changes)
        for at, text in enumerate(texts)
    ]


def legend(page, name):
    return page.get_by_test_id(f"legend-{name}")


def test_title_says_what_is_measured_and_by_which_model(shown, page):
    page.goto(shown.url)
    expect(page.get_by_role("heading", level=1)).to_have_text("Customer sentiment, live")
    expect(page.get_by_test_id("served-model")).to_contain_text(shown.bundle.manifest.version)
    page.get_by_test_id("served-model").get_by_role("link").click()
    expect(page).to_have_url(re.compile("/models/"))


def test_legends_show_values_without_a_pointer_and_those_under_it_with_one(shown, page):
    with shown.client() as client:
        write(client, said("steady", ["Does what it says."] * 300, step_s=1.0))
        page.goto(f"{shown.url}/?source=steady")
        for name in ("trend", "volume"):
            expect(legend(page, name)).to_contain_text("last, at")
            assert "–" not in legend(page, name).inner_text()
        over = page.get_by_test_id("chart-trend").locator(".u-over")
        over.hover(position={"x": 200, "y": 60})
        expect(legend(page, "trend")).not_to_contain_text("last, at")


def test_axis_runs_from_0_to_100_and_says_when_it_is_zoomed(shown, page):
    page.goto(shown.url)
    note = page.locator(".panel-trend .note")
    expect(note).to_contain_text("0 is all negative, 100 all positive")
    expect(note).not_to_contain_text("zoomed")
    page.get_by_role("button", name="Zoom the axis").click()
    expect(note).to_contain_text("The axis is zoomed.")
    expect(page).to_have_url(re.compile("axis=fit"))
    page.get_by_role("button", name="Show 0 to 100").click()
    expect(note).not_to_contain_text("zoomed")


def test_texts_are_decoded_and_masked_and_the_csv_is_as_sent(shown, page):
    sent = "It&#039;s 1&amp;2 &lt;b&gt; and a piece of shit"
    with shown.client() as client:
        write(client, said("spoken", [sent], label="negative"))
        page.goto(f"{shown.url}/?source=spoken")
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


def test_columns_that_say_nothing_are_hidden_until_they_do(shown, page):
    heads = page.get_by_test_id("table-messages").locator("th")
    with shown.client() as client:
        write(client, said("plain", ["Does what it says."] * 3))
        page.goto(f"{shown.url}/?source=plain")
        expect(heads.filter(has_text="text")).to_be_visible()
        assert not {"sarcasm", "tier"} & set(heads.all_inner_texts())
        write(client, said("plain", ["Oh great."], sarcasm=0.9, tier="small"))
        expect(heads.filter(has_text="sarcasm")).to_be_visible()
        expect(heads.filter(has_text="tier")).to_be_visible()


@pytest.mark.parametrize("size", list(SIZES))
def test_sources_are_readable_without_scrolling_or_words_broken(shown, browser, size):
    with shown.client() as client, browser.new_context(viewport=SIZES[size]) as context:
        write(client, said(NAME, ["Does what it says."] * 5))
        page = context.new_page()
        page.goto(shown.url)
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


def test_a_burst_is_cut_so_that_the_rest_can_be_read(shown, page):
    with shown.client() as client:
        write(client, said("bursting", ["Does what it says."] * 120, step_s=2.0))
        write(client, said("bursting", ["Does what it says."] * 3_000, ago_s=100))
        page.goto(f"{shown.url}/?source=bursting")
        expect(page.locator(".panel-volume .note")).to_contain_text(re.compile(r"▲ Bars over \d+ are cut"))
        expect(page.get_by_test_id("chart-volume")).to_have_attribute("aria-label", re.compile("at most 3,00[01] in a second"))


def test_filters_that_are_none_are_named_and_can_be_reset(shown, page):
    page.goto(f"{shown.url}/?source=nosuch&span=7x&colour=red")
    notice = page.get_by_test_id("state-filters")
    expect(notice).to_contain_text('Time "7x" is not one of 1m, 5m')
    expect(notice).to_contain_text('"colour" is not a filter')
    expect(page.get_by_test_id("state-source-unknown")).to_contain_text('No messages from source "nosuch" are known.')
    expect(page.get_by_test_id("alerts-words").or_(page.locator(".figure.alerts.bad"))).not_to_contain_text("normal")
    has_no_violation(page)
    page.get_by_role("button", name="Show all sources").click()
    expect(page.get_by_test_id("state-source-unknown")).to_be_hidden()
    page.goto(f"{shown.url}/?span=7x&colour=red")
    page.get_by_role("button", name="Reset the filters").click()
    expect(page.get_by_test_id("state-filters")).to_be_hidden()


@pytest.mark.parametrize(("span", "days"), [("7d", 5), ("30d", 20)])
def test_weeks_are_counted_from_the_warehouse(shown, page, span, days):
    source = f"old-{span}"
    with shown.client() as client:
        write(client, said(source, ["Does what it says."] * 40, ago_s=days * 86_400, step_s=600))
        write(client, said(source, ["Trains late again, of course."] * 2))
        page.goto(f"{shown.url}/?span={span}&source={source}")
        shows(page, {"negative": 2, "neutral": 40, "positive": 0})
        expect(page.locator(".panel-volume .note")).to_contain_text(re.compile("Per hour"))
        expect(page.get_by_test_id("chart-volume")).to_be_visible()


def test_dragging_over_a_chart_zooms_into_that_time_and_can_be_undone(shown, page):
    with shown.client() as client:
        write(client, said("dragged", ["Does what it says."] * 300, step_s=1.0))
        page.goto(f"{shown.url}/?source=dragged")
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
        assert 100 <= total <= 140, "a fifth of ten minutes at one a second"
        page.get_by_role("button", name="Reset the zoom").click()
        expect(page).not_to_have_url(re.compile("from="))
        expect(page.get_by_role("combobox", name="Time")).to_have_value("10m")


def test_a_range_is_typed_with_the_keyboard_and_a_wrong_one_is_refused(shown, page):
    at = datetime.now(UTC).replace(microsecond=0) - timedelta(days=2)
    with shown.client() as client:
        write(client, [row(next(OFFSETS) + n, at + timedelta(seconds=n), "typed", "Does what it says.") for n in range(60)])
        page.goto(f"{shown.url}/?source=typed")
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
        shows(page, {"negative": 0, "neutral": 30, "positive": 0})


def normal(client, source):
    """Of the minutes before and after now."""
    now = datetime.now(UTC).replace(second=0, microsecond=0)
    put_normal(client, source, {now + timedelta(minutes=n): 0.0 for n in range(-10, 5)}, threshold=4.0)


def test_normal_is_only_spoken_of_where_it_is_known(shown, page):
    words = page.get_by_test_id("alerts-words")
    with shown.client() as client:
        write(client, said("calm", ["Does what it says."] * 5))
        page.goto(f"{shown.url}/?source=calm")
        expect(words).to_have_text("Not enough history")
        normal(client, "calm")
        expect(words).to_have_text("calm is normal")
        expect(page.locator(".gauge .ends")).to_contain_text(re.compile(r"normal \d+ to \d+"))
        write(client, said("calm", ["Does what it says."] * 5))
        page.goto(shown.url)
        expect(words.or_(page.locator(".figure.alerts.bad"))).to_be_visible()


def is_stale(page, cause, since=True):
    dot = page.get_by_test_id("connection")
    expect(dot).to_have_attribute("data-state", "stale", timeout=40_000)
    expect(dot).to_contain_text(cause)
    if since:
        expect(dot).to_contain_text(re.compile(r"stale since \d\d:\d\d:\d\d"))
        expect(page.get_by_test_id("headline-asof")).to_contain_text(re.compile(r"Data as of \d\d:\d\d:\d\d"))
    expect(page.get_by_test_id("headline")).to_have_attribute("data-stale", "true")
    expect(page.get_by_test_id("alerts-words")).not_to_contain_text("normal")


def test_data_that_stops_looks_stale_with_its_cause_and_recovers(tmp_path, browser, page):
    world = Shown(tmp_path)
    with ExitStack() as held:
        held.enter_context(world.service())
        page.goto(world.url)
        is_stale(page, "message database not running", since=False)
        with world.owner(), world.client() as client:
            normal(client, "shop")
            write(client, said("shop", ["Does what it says."] * 40, ago_s=70, step_s=1.0))
            is_stale(page, "no new messages")
            expect(page.get_by_test_id("points-now")).not_to_have_text("–")  # the last numbers stay, dimmed
            write(client, said("shop", ["Does what it says."] * 3))
            expect(page.get_by_test_id("connection")).to_have_text("live")
            expect(page.get_by_test_id("headline-asof")).to_be_hidden()
            expect(page.get_by_test_id("alerts-words")).to_have_text("All sources normal")
        is_stale(page, "message database not running")
        notice = page.get_by_test_id("state-warehouse-away")
        expect(notice).to_contain_text("The message database is not running. Data as of")
        expect(notice).to_contain_text("Start it with groundswell stream up")
        expect(notice).not_to_contain_text("does not answer")
        has_no_violation(page)
        told = {notice.inner_text() for _ in range(8) if not page.wait_for_timeout(400)}
        assert len({re.sub(r"\d\d:\d\d:\d\d", "", each) for each in told}) == 1, "the remedy stays"
    is_stale(page, "cannot reach the service")
    expect(page.get_by_test_id("state-service-away")).to_contain_text("Cannot reach the service; retrying.")
