"""Try it: samples, parts of a long text, snippets that run, a link, and a prediction that is visibly of another text."""

import re
import subprocess
import sys
from urllib.parse import quote

import pytest
from playwright.sync_api import expect

from tests.serving.dashboard_world import has_no_violation

pytestmark = pytest.mark.integration


def typed(page):
    return page.get_by_role("textbox", name="Text in English")


def prediction(page):
    return page.get_by_test_id("prediction")


def test_a_sample_is_one_click_and_names_its_limit(shown, page):
    page.goto(f"{shown.url}/try/")
    page.get_by_role("button", name="sarcasm").click()
    expect(typed(page)).to_have_value(re.compile("another outage"))
    expect(page.get_by_test_id("sample-limit")).to_contain_text("Known limit: the model does not find sarcasm")
    expect(prediction(page)).to_contain_text(re.compile(r"Prediction: . (negative|neutral|positive), \d+ %"))
    page.get_by_role("button", name="French").click()
    expect(page.get_by_test_id("sample-limit")).to_contain_text("English only")
    expect(page.get_by_test_id("table-earlier").locator("tbody tr")).to_have_count(2)


def test_parts_of_a_long_text_have_their_own_probabilities(shown, page):
    page.goto(f"{shown.url}/try/")
    page.get_by_role("button", name="long review").click()
    parts = page.get_by_test_id("windows")
    expect(parts).to_contain_text(re.compile(r"\d+ parts"))
    assert parts.locator("li").count() > 1
    for part in parts.locator("li").all():
        assert re.search(r"(negative|neutral|positive) \d+ %", part.inner_text())


def test_a_prediction_of_another_text_is_visibly_outdated(shown, page):
    page.goto(f"{shown.url}/try/")
    typed(page).fill("bad awful terrible")
    page.get_by_role("button", name="Classify").click()
    expect(prediction(page)).to_have_attribute("data-outdated", "false")
    typed(page).fill("bad awful terrible, or not")
    expect(prediction(page)).to_have_attribute("data-outdated", "true")
    expect(prediction(page)).to_contain_text("Prediction for the text before")
    expect(prediction(page)).to_contain_text("“bad awful terrible”")
    expect(page.get_by_test_id("feedback-said")).to_have_text("Classify the new text first.")
    has_no_violation(page)
    page.keyboard.press("Control+Enter")
    expect(prediction(page)).to_have_attribute("data-outdated", "false")


def test_feedback_says_why_its_buttons_are_disabled_and_what_it_did(shown, page):
    page.goto(f"{shown.url}/try/")
    typed(page).fill("bad awful terrible")
    page.get_by_role("button", name="Classify").click()
    said = page.get_by_test_id("feedback-said")
    expect(page.get_by_role("heading", name="Is this wrong? Choose the correct label")).to_be_visible()
    expect(said).to_contain_text("Enter your name first")
    buttons = page.locator("section", has=page.locator("#title-feedback")).get_by_role("button")
    expect(buttons.nth(1)).to_be_disabled()
    page.get_by_label("Your name or team").fill("desk")
    expect(buttons.nth(1)).to_be_enabled()
    buttons.nth(1).click()
    expect(said).to_have_text("Saved as neutral; used in the next training run.")


@pytest.mark.parametrize("text", ["Great service, thank you!", 'It\'s $HOME `x` "quoted" \\ and\na second line 😡'])
def test_snippets_run_as_they_are(shown, page, text):
    page.goto(f"{shown.url}/try/")
    typed(page).fill(text)
    snippet = page.get_by_test_id("snippet")
    expect(snippet).to_contain_text("curl")
    answered = subprocess.run(["bash", "-c", snippet.inner_text()], capture_output=True, text=True, check=True, timeout=600)
    assert '"label"' in answered.stdout, answered
    page.get_by_role("button", name="Python", exact=True).click()
    expect(snippet).to_contain_text("import httpx")
    ran = subprocess.run([sys.executable, "-c", snippet.inner_text()], capture_output=True, text=True, check=True, timeout=600)
    assert "'label':" in ran.stdout, ran


def test_a_link_opens_with_the_text_and_its_prediction_and_never_reaches_the_server(shown, browser, page):
    text = "Great & good? #1 100 % 😡"
    page.goto(f"{shown.url}/try/#text={quote(text)}")
    expect(typed(page)).to_have_value(text)
    expect(prediction(page)).to_be_visible()
    with browser.new_context(permissions=["clipboard-read", "clipboard-write"]) as context:
        other = context.new_page()
        asked = []
        other.on("request", lambda request: asked.append(request.url))
        other.goto(f"{shown.url}/try/")
        typed(other).fill(text)
        other.get_by_role("button", name="Copy a link to this text").click()
        expect(other.get_by_role("button", name="Copied")).to_be_visible()
        assert other.evaluate("navigator.clipboard.readText()") == f"{shown.url}/try/#text={quote(text, safe='')}"
        other.goto("about:blank")
        other.goto(f"{shown.url}/try/#text={quote(text, safe='')}")
        expect(prediction(other)).to_be_visible()
        assert not [url for url in asked if "text=" in url.split("#")[0]]


def test_a_text_that_cannot_be_classified_is_said_to_be_so(shown, page):
    page.goto(f"{shown.url}/try/#text=%00")
    expect(page.get_by_role("alert").filter(has_text=re.compile("null|blank|character"))).to_be_visible()
