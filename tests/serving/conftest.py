"""What the dashboard's tests share: the browser, a page of it, and a world that is shown."""

import time
from datetime import UTC, datetime, timedelta

import pytest

from orchestration.demo_stream import CRISIS_AFTER_S
from tests.serving.dashboard_world import EVIL, SIZES, Shown, browsing, row, story, tell, write
from tests.serving.running import ROOT


@pytest.fixture(scope="module")
def browser():
    assert (ROOT / "serving" / "dashboard" / "out" / "index.html").is_file(), (
        "make dashboard builds it; make test does that first"
    )
    with browsing() as found:
        yield found


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    """A story of a quarter of an hour with a crisis a minute ago, twice as delivered, partly judged anew, and one alert."""
    world = Shown(tmp_path_factory.mktemp("shown"))
    with world.owner(), world.service(), world.client() as client:
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
        write(client, [row(90_000, datetime.fromtimestamp(now - 2, UTC), "tweets", EVIL)])
        begun = datetime.fromtimestamp(now - 90 + CRISIS_AFTER_S, UTC)
        tell(client, "crisis", begun, texts=["Error 500 on every page. What a disaster.", EVIL])
        yield world


@pytest.fixture
def page(browser):
    with browser.new_context(viewport=SIZES["1440"], reduced_motion="reduce") as context:
        errors = []
        opened = context.new_page()
        opened.on("pageerror", lambda error: errors.append(error))  # noqa: PLW0108 - playwright marks it
        yield opened
        assert not errors
