"""The leaderboard page in a real browser: no violation in axe-core, on desktop and phone widths, light and dark."""

from dataclasses import replace

import pytest

from evaluation.leaderboard import build_leaderboard
from evaluation.leaderboard_page import write_leaderboard
from tests.evaluation.test_leaderboard import LABELS, PROBAS, _rows
from tests.serving.dashboard_harness import browsing
from tests.serving.running import ROOT

AXE = ROOT / "serving" / "dashboard" / "node_modules" / "axe-core" / "axe.min.js"


@pytest.mark.integration
def test_the_page_has_no_violation_and_marks_what_is_in_production(tmp_path):
    first, *others = _rows()
    board = build_leaderboard([replace(first, role="in production"), *others], LABELS, PROBAS, dataset="tweets")
    write_leaderboard(board, tmp_path / "board", labels=LABELS, probas=PROBAS)
    with browsing() as browser:
        for scheme in ("light", "dark"):
            for width in (1440, 390):
                page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
                page.goto(f"file://{tmp_path}/board/leaderboard.html")
                page.evaluate(AXE.read_text())
                found = page.evaluate("axe.run()")["violations"]
                assert [(each["id"], each["nodes"][0]["html"]) for each in found] == []
                assert page.locator("main .tag", has_text="in production").first.is_visible()
                page.close()
