"""The Try it page: samples, parts of a long text, snippets that run, a link, and outdated predictions."""

import os
import re
import subprocess
import sys
from urllib.parse import quote

import pytest
from playwright.sync_api import expect

from tests.serving.dashboard_harness import has_no_violation

pytestmark = pytest.mark.integration


def typed(page):
    return page.get_by_role("textbox", name="Text in English")


def prediction(page):
    return page.get_by_test_id("prediction")


def test_sample_is_classified_on_click_and_names_its_limit(dashboard, page):
    page.goto(f"{dashboard.url}/try/")
    page.get_by_role("button", name="sarcasm").click()
    expect(typed(page)).to_have_value(re.compile("another outage"))
    expect(page.get_by_test_id("sample-limit")).to_contain_text("Known limit: the model does not detect sarcasm")
    expect(prediction(page)).to_contain_text(re.compile(r"Prediction: . (negative|neutral|positive), \d+ %"))
    page.get_by_role("button", name="French").click()
    expect(page.get_by_test_id("sample-limit")).to_contain_text("English only")
    expect(page.get_by_test_id("table-earlier").locator("tbody tr")).to_have_count(2)


def test_text_in_another_language_has_a_warning_next_to_its_prediction(dashboard, page):
    page.goto(f"{dashboard.url}/try/")
    typed(page).fill("Das war ein schrecklicher Flug, nie wieder mit dieser Firma")
    page.get_by_role("button", name="Classify", exact=True).click()
    warning = prediction(page).get_by_test_id("language-warning")
    expect(warning).to_have_text("The text is in German; the model was measured on English only.")
    typed(page).fill("bad awful terrible")
    page.get_by_role("button", name="Classify", exact=True).click()
    expect(prediction(page)).to_contain_text("Prediction: ▼ negative")
    expect(warning).to_have_count(0)
    has_no_violation(page)


def test_parts_of_a_long_text_have_their_own_probabilities(dashboard, page):
    page.goto(f"{dashboard.url}/try/")
    page.get_by_role("button", name="long review").click()
    parts = page.get_by_test_id("windows")
    expect(parts).to_contain_text(re.compile(r"\d+ parts"))
    assert parts.locator("li").count() > 1
    for part in parts.locator("li").all():
        assert re.search(r"(negative|neutral|positive) \d+ %", part.inner_text())


def test_prediction_of_another_text_is_marked_outdated(dashboard, page):
    page.goto(f"{dashboard.url}/try/")
    typed(page).fill("bad awful terrible")
    page.get_by_role("button", name="Classify").click()
    expect(prediction(page)).to_have_attribute("data-outdated", "false")
    typed(page).fill("bad awful terrible, or not")
    expect(prediction(page)).to_have_attribute("data-outdated", "true")
    expect(prediction(page)).to_contain_text("Prediction for the text before")
    expect(prediction(page)).to_contain_text("“bad awful terrible”")
    expect(page.get_by_test_id("feedback-status")).to_have_text("Classify the new text first.")
    has_no_violation(page)
    page.keyboard.press("Control+Enter")
    expect(prediction(page)).to_have_attribute("data-outdated", "false")


def test_feedback_shows_why_its_buttons_are_disabled_and_what_was_saved(dashboard, page):
    page.goto(f"{dashboard.url}/try/")
    typed(page).fill("bad awful terrible")
    page.get_by_role("button", name="Classify").click()
    status = page.get_by_test_id("feedback-status")
    expect(page.get_by_role("heading", name="Is this wrong? Choose the correct label")).to_be_visible()
    expect(status).to_contain_text("Enter your name first")
    buttons = page.locator("section", has=page.locator("#title-feedback")).get_by_role("button")
    expect(buttons.nth(1)).to_be_disabled()
    page.get_by_label("Your name or team").fill("desk")
    expect(buttons.nth(1)).to_be_enabled()
    buttons.nth(1).click()
    expect(status).to_have_text("Saved as neutral; used in the next training run.")


def test_companies_of_a_text_are_scored_one_by_one(dashboard, page):
    page.goto(f"{dashboard.url}/try/")
    typed(page).fill("the great film of Acme")
    companies = page.get_by_role("textbox", name="Companies to score")
    companies.fill("Acme, $BOLT, Acme")
    page.get_by_role("button", name="Classify", exact=True).click()
    scores = prediction(page).get_by_test_id("companies").locator("div")
    expect(scores).to_have_text([re.compile(r"Acme\+0\.\d\d"), re.compile(r"\$BOLT \(not named in the text\)\+0\.\d\d")])
    expect(page.get_by_test_id("snippet")).to_contain_text('"targets":["Acme","$BOLT"]')
    companies.fill("Acme")
    expect(prediction(page)).to_have_attribute("data-outdated", "true")
    has_no_violation(page)
    if folder := os.environ.get("SCREENS"):
        page.screenshot(path=f"{folder}/try_companies.png", full_page=True)


@pytest.mark.parametrize("text", ["Great service, thank you!", 'It\'s $HOME `x` "quoted" \\ and\na second line 😡'])
def test_snippets_run_as_they_are(dashboard, page, text):
    page.goto(f"{dashboard.url}/try/")
    typed(page).fill(text)
    snippet = page.get_by_test_id("snippet")
    expect(snippet).to_contain_text("curl")
    called = subprocess.run(["bash", "-c", snippet.inner_text()], capture_output=True, text=True, check=True, timeout=600)
    assert '"label"' in called.stdout, called
    page.get_by_role("button", name="Python", exact=True).click()
    expect(snippet).to_contain_text("import httpx")
    ran = subprocess.run([sys.executable, "-c", snippet.inner_text()], capture_output=True, text=True, check=True, timeout=600)
    assert "'label':" in ran.stdout, ran


def test_link_opens_with_its_text_and_prediction_and_stays_out_of_requests(dashboard, browser, page):
    text = "Great & good? #1 100 % 😡"
    page.goto(f"{dashboard.url}/try/#text={quote(text)}")
    expect(typed(page)).to_have_value(text)
    expect(prediction(page)).to_be_visible()
    with browser.new_context(permissions=["clipboard-read", "clipboard-write"]) as context:
        other = context.new_page()
        requested = []
        other.on("request", lambda request: requested.append(request.url))
        other.goto(f"{dashboard.url}/try/")
        typed(other).fill(text)
        other.get_by_role("button", name="Copy a link to this text").click()
        expect(other.get_by_role("button", name="Copied")).to_be_visible()
        assert other.evaluate("navigator.clipboard.readText()") == f"{dashboard.url}/try/#text={quote(text, safe='')}"
        other.goto("about:blank")
        other.goto(f"{dashboard.url}/try/#text={quote(text, safe='')}")
        expect(prediction(other)).to_be_visible()
        assert not [url for url in requested if "text=" in url.split("#")[0]]


def test_unclassifiable_text_shows_its_reason(dashboard, page):
    page.goto(f"{dashboard.url}/try/#text=%00")
    expect(page.get_by_role("alert").filter(has_text=re.compile("null|blank|character"))).to_be_visible()
