"""The Models page: gate rules with limits, two models compared, the errors of a cell, and filters only where they act."""

import json
import re

import pytest
from playwright.sync_api import expect

from tests.serving.dashboard_world import LABELS, Shown, has_no_violation

pytestmark = pytest.mark.integration
TEXTS = {"t1": "It&#039;s fine", "t2": "a piece of shit", "t3": "nothing to say", "t4": "so good", "t5": "bad bad"}
TRUE = ["neutral", "negative", "neutral", "positive", "negative"]
PREDICTED = {
    "old": ["negative", "negative", "neutral", "neutral", "negative"],
    "bundle-{version}": ["negative", "negative", "negative", "positive", "negative"],
}


def interval(value, reach=0.02):
    return {"value": value, "low": value - reach, "high": value + reach}


def part(name, rows, value):
    return {"slice": name, "n": rows, "metrics": {"macro_recall": interval(value)}}


def row(name, cpu, recall):
    """A line of the leaderboard."""
    measures = {key: interval(recall) for key in ("macro_recall", "macro_f1", "accuracy", "ece")}
    slices = [part("source=airline", 300, 0.5), part("domain=support", 300, 0.5), part("length=short", 200, recall)]
    return {
        "candidate": name,
        "from_scratch": False,
        "n": 5,
        **measures,
        "slices": slices,
        "cost": {"cpu_us_per_text": {"value": cpu}, "latency_p99_ms": {"value": 12.4}},
        "confusion": [[2, 0, 0], [1, 0, 1], [0, 0, 1]],
        "reliability": [{"confidence": 0.6, "accuracy": 0.5, "rows": 5}],
    }


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """A service with what the pipeline keeps: leaderboard, gate decision, predictions of two models."""
    world = Shown(tmp_path_factory.mktemp("kept"))
    version = world.bundle.manifest.version
    name = f"{world.bundle.manifest.name} {world.bundle.manifest.quantization}"
    folders = {name: world.var / name for name in ("leaderboard", "gate", f"bundles/{version}", "judged/old")}
    for folder in (*folders.values(), world.var / "judged" / f"bundle-{version}"):
        folder.mkdir(parents=True)
    (world.var / "bundles" / version / "bundle.json").write_text((world.bundle.directory / "bundle.json").read_text())
    board = [
        row(name, 2_916.0, 0.67) | {"version": version, "role": "in production"},
        row("old", 7_144.0, 0.68),
        row("vader", 45.6, 0.58),
    ]
    (world.var / "leaderboard" / "leaderboard.json").write_text(json.dumps(board))
    reasons = [
        {"rule": "floor: macro_recall", "passed": True, "found": 0.671407, "limit": 0.55, "text": "macro_recall is 0.6714"},
        {"rule": "CPU budget", "passed": False, "found": 29_157.65, "limit": 25_000.0, "text": "29,158 CPU µs per text"},
        {"rule": "not worse than production", "passed": True, "found": None, "limit": None, "text": "nothing to compare with"},
    ]
    verdict = {"passed": False, "unchanged": False, "bundle": version, "reasons": reasons}
    (world.var / "gate" / "verdict.json").write_text(json.dumps(verdict))
    for template, predicted in PREDICTED.items():
        folder = world.var / "judged" / template.format(version=version)
        columns = {"ids": list(TEXTS), "texts": list(TEXTS.values()), "sources": ["tweets"] * 5, "labels": TRUE}
        columns |= {"predicted": predicted, "confidence": [0.9, 0.8, 0.7, 0.6, 0.5]}
        (folder / "predictions.json").write_text(json.dumps(columns))
        report = {"metrics": {"macro_recall": interval(0.67), "accuracy": interval(0.6)}, "slices": board[0]["slices"]}
        (folder / "report.json").write_text(json.dumps(report))
    with world.service():
        yield world


def test_gate_rules_have_their_limits_and_found_values(kept, page):
    page.goto(f"{kept.url}/models/")
    gate = page.get_by_test_id("table-gate")
    expect(gate.locator("tr", has_text="floor: macro_recall")).to_contain_text(re.compile(r"0\.671\s*0\.550\s*✓ passed"))
    expect(gate.locator("tr", has_text="CPU budget")).to_contain_text(re.compile(r"29,158\s*25,000\s*▲ failed"))
    expect(gate.locator("tr", has_text="not worse")).to_contain_text("nothing to compare with")
    expect(page.locator(".panel-gate .note")).to_contain_text("failed 1 of 3 rules")


def test_two_models_are_compared_by_measures_slices_and_changed_predictions(kept, page):
    page.goto(f"{kept.url}/models/")
    expect(page.get_by_test_id("comparison-words")).to_have_text(
        "2 predictions of 5 changed: 1 corrected, 1 broken, 0 wrong both times."
    )
    changed = page.get_by_test_id("table-changed")
    expect(changed.locator("tr", has_text="so good")).to_contain_text("corrected")
    expect(changed.locator("tr", has_text="nothing to say")).to_contain_text("broken")
    expect(page.get_by_test_id("table-measures").locator("tr", has_text="accuracy")).to_contain_text("0.600")
    expect(page.get_by_test_id("table-compared-slices")).to_contain_text("dataset airline · domain support")
    has_no_violation(page)
    page.get_by_role("combobox", name="Left").select_option(label=f"{kept.bundle.manifest.version} (fp32), production")
    expect(page.get_by_test_id("comparison-words")).to_contain_text("0 predictions of 5 changed")


def test_a_cell_of_the_confusion_matrix_shows_its_texts(kept, page):
    page.goto(f"{kept.url}/models/")
    examples = page.get_by_test_id("examples")
    expect(examples).to_contain_text("True neutral, predicted negative")
    expect(examples).to_contain_text("It's fine")
    page.get_by_role("button", name="100 % 2: negative texts predicted as negative, show them").click()
    expect(examples).to_contain_text("a piece of s***")
    page.get_by_label("Mask profanity").uncheck()
    expect(examples).to_contain_text("a piece of shit")


def test_slices_of_the_same_rows_are_shown_once_and_weak_ones_are_marked(kept, page):
    page.goto(f"{kept.url}/models/")
    slices = page.get_by_test_id("table-slices")
    expect(slices.locator("tbody tr")).to_have_count(2)
    expect(slices.locator("tr", has_text="dataset airline · domain support")).to_contain_text("weak")
    expect(slices.locator("tr", has_text="short texts")).not_to_contain_text("weak")


def test_leaderboard_has_units_and_the_pareto_words(kept, page):
    page.goto(f"{kept.url}/models/")
    board = page.get_by_test_id("table-leaderboard")
    expect(board).to_contain_text("2,916 µs")
    expect(board).to_contain_text("12 ms")
    expect(board).to_contain_text("Pareto-optimal")
    expect(page.get_by_test_id("chart-pareto")).to_have_attribute("aria-label", re.compile("in production"))
    assert {label for label in LABELS if label in page.get_by_test_id("table-confusion").inner_text()} == set(LABELS)


def test_the_source_filter_is_where_it_acts(kept, page):
    page.goto(f"{kept.url}/models/")
    expect(page.locator(".panel-versions").get_by_role("combobox", name="Source")).to_be_visible()
    assert page.get_by_role("combobox", name="Source").count() == 1


def test_what_the_pipeline_did_not_keep_is_said_with_its_remedy(shown, page):
    page.goto(f"{shown.url}/models/")
    expect(page.get_by_test_id("state-model-unknown")).to_contain_text("`make train` makes one")
    expect(page.locator(".panel-gate")).to_contain_text("`groundswell promote` makes one")
    expect(page.locator(".panel-comparison")).to_contain_text("`groundswell benchmark` writes them")
