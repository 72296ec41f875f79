"""Alerts on the page, in a real browser: their causes, acknowledgement and muting, the tab's title and icon, links, the band."""

import csv
import re
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import expect

from tests.serving.alert_rows import insert_alert
from tests.serving.dashboard_harness import DashboardHarness, put_normal, row, write

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def dashboard(tmp_path_factory):
    """A dashboard with ten minutes of two sources: one with a normal range that changed, one without a normal range."""
    harness, now = DashboardHarness(tmp_path_factory.mktemp("alerts")), time.time()
    with harness.warehouse_server(), harness.service(), harness.client() as client:
        rows = [
            row(n, datetime.fromtimestamp(now - 600 + n / 4, UTC), "new" if n % 8 == 0 else "shop", "Works as described.")
            for n in range(2_390)
        ]
        write(client, rows)
        minutes = [int(now // 60 - n) * 60 for n in range(12)]
        means = {datetime.fromtimestamp(at, UTC): 0.5 if at > now - 300 else -0.5 for at in minutes}
        put_normal(client, "shop", means, threshold=0.5)
        yield harness


def write_alert(harness, name, at, **changes):
    """Write an alert with its words to the warehouse."""
    words = [{"word": "outage", "messages": 7, "share": 0.17, "usual_share": 0.004, "z": 5.1}]
    with harness.client() as client:
        insert_alert(client, name, at, usual_volume=10.0, words=words, **changes)


def ago(**given):
    return datetime.now(UTC).replace(microsecond=0) - timedelta(**given)


def icon(page):
    return page.locator('link[rel="icon"]').first.get_attribute("href")


def test_open_alert_is_in_headline_title_and_icon_with_its_causes_until_it_closes(dashboard, page):
    page.goto(dashboard.url)
    expect(page.get_by_test_id("alerts-open")).to_have_text("0")
    expect(page).to_have_title(re.compile("^Live"))
    plain = icon(page)
    assert page.locator(".panel-alerts").get_by_role("listitem").count() == 0
    write_alert(dashboard, "first", ago(seconds=20))
    expect(page).to_have_title(re.compile(r"^\(1\) Live"))
    expect(page.get_by_test_id("alerts-open")).to_have_text("1")
    card = page.locator("[data-alert-id=first]")
    expect(card).to_contain_text("41 messages in 5 s, usually 10 (4.1 times as many)")
    expect(card).to_contain_text("outage 17 %, usually 0.4 %")
    expect(card).to_contain_text("Still down.")
    assert (icon(page) or "").startswith("data:image/svg+xml") and not (plain or "").startswith("data:")
    page.get_by_role("link", name="Models").click()
    expect(page).to_have_title(re.compile(r"^\(1\) Models"))
    write_alert(dashboard, "first", ago(seconds=20), closed_at=ago(seconds=1), revision=2)
    expect(page).to_have_title(re.compile("^Models"))
    expect(page.locator('link[rel="icon"]').first).not_to_have_attribute("href", re.compile("^data:"))


def test_acknowledgement_and_muting_reach_every_viewer_and_survive_a_restart(tmp_path, browser, page):
    harness = DashboardHarness(tmp_path)
    with harness.warehouse_server():
        write_alert(harness, "handled", ago(seconds=30))
        with harness.service(), browser.new_context() as other:
            page.goto(harness.url)
            viewer = other.new_page()
            viewer.goto(harness.url)
            expect(viewer.get_by_test_id("alerts-open")).to_have_text("1")
            card = page.locator("[data-alert-id=handled]")
            card.get_by_text("Acknowledge or mute").click()
            expect(card.get_by_role("button", name="Acknowledge")).to_be_disabled()
            card.get_by_label("Your name").fill("desk 4")
            card.get_by_role("button", name="Acknowledge").click()
            card.get_by_role("button", name="Mute shop").click()
            for each in (page, viewer):
                expect(each.locator("[data-alert-id=handled]")).to_contain_text("Acknowledged by desk 4")
                expect(each.locator("[data-alert-id=handled]")).to_contain_text("muted until")
                expect(each.get_by_test_id("alerts-open")).to_have_text("0")
                expect(each).to_have_title(re.compile("^Live"))
        with harness.service():
            again = httpx.get(f"{harness.url}/v1/alerts/handled", timeout=30).json()
            assert (again["acknowledged_by"], again["muted_by"]) == ("desk 4", "desk 4") and again["muted_until"]
            page.goto(harness.url)
            card = page.locator("[data-alert-id=handled]")
            card.get_by_text("Acknowledge or mute").click()
            expect(card.get_by_label("Your name")).to_have_value("desk 4")
            card.get_by_role("button", name="Unmute shop").click()
            expect(page.get_by_test_id("alerts-open")).to_have_text("1")
            expect(page).to_have_title(re.compile(r"^\(1\) Live"))


def test_link_selects_an_alert_of_any_age_with_its_source_and_time(dashboard, page):
    write_alert(dashboard, "old", ago(days=3), closed_at=ago(days=3, minutes=-2), revision=2)
    write_alert(dashboard, "recent", ago(minutes=4), closed_at=ago(minutes=2), revision=2)
    page.goto(dashboard.url)
    card = page.locator("[data-alert-id=recent]")
    address = card.get_by_role("link", name="Link to this alert").get_attribute("href") or ""
    assert {"alert=recent", "source=shop"} <= set(address.partition("?")[2].split("&"))
    assert re.search(r"from=\d{4}-", address) and re.search(r"to=\d{4}-", address)
    page.goto(f"{dashboard.url}{address}")
    expect(page.locator("[data-alert-id=recent]")).to_have_attribute("aria-current", "true")
    page.goto(f"{dashboard.url}/?alert=old")
    expect(page.locator("[data-alert-id=old]")).to_have_attribute("aria-current", "true")
    page.goto(f"{dashboard.url}/?alert=nothing")
    expect(page.locator(".panel-alerts")).to_contain_text("Alert 'nothing' not found")


def test_band_follows_the_normal_range_over_time_and_needs_history(dashboard, page):
    for span, column in (("10m", "30 s average"), ("1h", "average")):
        page.goto(f"{dashboard.url}/?source=shop&span={span}")
        expect(page.get_by_test_id("chart-trend")).to_be_visible()
        expect(page.locator(".panel-trend")).to_contain_text("The band is the normal range at that time")
        with page.expect_download() as download:
            page.get_by_test_id("csv-trend").click()
        with Path(download.value.path()).open(encoding="utf-8-sig") as file:
            rows = [each for each in csv.DictReader(file) if each[column] and each["normal from"]]
        early = [each for each in rows if float(each["normal to"]) < 50]
        late = [each for each in rows if float(each["normal from"]) > 50]
        assert early and late and len(early) + len(late) == len(rows), "a band before the change and another after it"
        assert max(each["time"] for each in early) <= min(each["time"] for each in late)
    page.goto(f"{dashboard.url}/?source=new")
    expect(page.locator(".panel-trend")).to_contain_text("Not enough history")
