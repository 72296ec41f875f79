"""Fixtures of the dashboard's tests: a browser, a page, and a dashboard with data."""

import time
from datetime import UTC, datetime, timedelta

import pytest

from orchestration.demo.stream import CRISIS_AFTER_S, CRISIS_SOURCE
from tests.serving.alert_rows import insert_alert
from tests.serving.dashboard_harness import HOSTILE_TEXT, SIZES, DashboardHarness, browsing, row, story, write
from tests.serving.running import ROOT


@pytest.fixture(scope="module")
def browser():
    assert (ROOT / "serving" / "dashboard" / "out" / "index.html").is_file(), (
        "make dashboard builds it; make test does that first"
    )
    with browsing() as chromium:
        yield chromium


@pytest.fixture(scope="module")
def dashboard(tmp_path_factory):
    """A dashboard with the demo's messages, some of them delivered twice or classified again, and one open alert."""
    harness = DashboardHarness(tmp_path_factory.mktemp("shown"))
    with harness.warehouse_server(), harness.service(), harness.client() as client:
        now = time.time()
        rows = story(now - 90, now - 1)
        write(client, rows)
        write(client, rows[::3])
        again = [
            each
            | {"label": "neutral", "probabilities": (0.1, 0.8, 0.1), "predicted_at": each["predicted_at"] + timedelta(minutes=20)}
            for each in rows[::50]
        ]
        write(client, again)
        write(client, [row(90_000, datetime.fromtimestamp(now - 2, UTC), "tweets", HOSTILE_TEXT)])
        begun = datetime.fromtimestamp(now - 90 + CRISIS_AFTER_S, UTC)
        texts = ["Error 500 on every page. What a disaster.", HOSTILE_TEXT]
        insert_alert(client, "crisis", begun, source=CRISIS_SOURCE, texts=texts)
        yield harness


@pytest.fixture
def page(browser):
    with browser.new_context(viewport=SIZES["1440"], reduced_motion="reduce") as context:
        errors = []
        opened = context.new_page()
        opened.on("pageerror", lambda error: errors.append(error))  # noqa: PLW0108 - playwright marks it
        yield opened
        assert not errors
