"""The Models page: gate rules with limits, two models compared, the errors of a cell, and the place of the source filter."""

import json
import os
import re
from datetime import UTC, datetime, timedelta

import pytest
from playwright.sync_api import expect

from tests.models import tiered_bundle
from tests.serving.dashboard_harness import LABELS, DashboardHarness, has_no_violation, write
from tests.serving.dashboard_harness import row as message

pytestmark = pytest.mark.integration
TEXTS = {"t1": "It&#039;s fine", "t2": "a piece of shit", "t3": "nothing to add", "t4": "so good", "t5": "bad bad"}
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
    """Return a row of the leaderboard."""
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


LEARNED = {
    "sarcasm": {
        "scale": 1.0,
        "offset": 0.0,
        "rows": [
            {"dataset": "irony", "n": 784, "sarcastic": 311, "f1": interval(0.704), "precision": 0.75, "recall": 0.66},
        ],
    },
    "rephrased": interval(0.61),
    "targets": {
        "n": 404,
        "correlation": interval(0.712),
        "pairs": 48,
        "order": interval(0.5),
        "sentences": 150,
        "made": interval(0.96),
    },
}
"""What a row has of a model that also learned sarcasm and companies."""
TRANSFER = {
    "candidate": "MiniLM-L6",
    "epochs": 1,
    "seed": 7,
    "learned_rows": {"tweets": 2000, "news": 1500},
    "cells": [
        {"learned": learned, "domain": domain, "n": 400, "macro_recall": interval(0.7 + 0.1 * (learned == domain))}
        for learned in ("tweets", "news", "heads", "generalist")
        for domain in ("tweets", "news")
    ],
    "gains": [{"domain": "news", "over": "generalist", "difference": interval(0.031, 0.01)}],
}


@pytest.fixture(scope="module")
def models_dashboard(tmp_path_factory):
    """A dashboard with files of the pipeline: leaderboard, gate decision, predictions of two models."""
    harness = DashboardHarness(tmp_path_factory.mktemp("models_dashboard"))
    version = harness.bundle.manifest.version
    name = f"{harness.bundle.manifest.name} {harness.bundle.manifest.quantization}"
    predictions = harness.var / "evaluations"
    for folder in ("leaderboard", "gate", "transfer", f"bundles/{version}"):
        (harness.var / folder).mkdir(parents=True)
    (harness.var / "bundles" / version / "bundle.json").write_text((harness.bundle.directory / "bundle.json").read_text())
    board = [
        row(name, 2_916.0, 0.67) | {"version": version, "role": "in production"} | LEARNED,
        row("old", 7_144.0, 0.68),
        row("vader", 45.6, 0.58),
        row("asked", 0.0, 0.71) | {"cost": None, "large_model": {"usd_per_million": 123.4}},
    ]
    (harness.var / "leaderboard" / "leaderboard.json").write_text(json.dumps(board))
    (harness.var / "transfer" / "transfer.json").write_text(json.dumps(TRANSFER))
    reasons = [
        {"rule": "floor: macro_recall", "passed": True, "found": 0.671407, "limit": 0.55, "text": "macro_recall is 0.6714"},
        {"rule": "CPU budget", "passed": False, "found": 29_157.65, "limit": 25_000.0, "text": "29,158 CPU µs per text"},
        {"rule": "not worse than production", "passed": True, "found": None, "limit": None, "text": "nothing to compare with"},
    ]
    decision = {"passed": False, "unchanged": False, "bundle": version, "reasons": reasons}
    (harness.var / "gate" / "decision.json").write_text(json.dumps(decision))
    for template, predicted in PREDICTED.items():
        folder = predictions / template.format(version=version)
        folder.mkdir(parents=True)
        columns = {"ids": list(TEXTS), "texts": list(TEXTS.values()), "sources": ["tweets"] * 5, "labels": TRUE}
        columns |= {"predicted": predicted, "confidence": [0.9, 0.8, 0.7, 0.6, 0.5]}
        (folder / "predictions.json").write_text(json.dumps(columns))
        report = {"metrics": {"macro_recall": interval(0.67), "accuracy": interval(0.6)}, "slices": board[0]["slices"]}
        (folder / "report.json").write_text(json.dumps(report))
    with harness.service():
        yield harness


def test_gate_rules_have_their_limits_and_values(models_dashboard, page):
    page.goto(f"{models_dashboard.url}/models/")
    gate = page.get_by_test_id("table-gate")
    expect(gate.locator("tr", has_text="floor: macro_recall")).to_contain_text(re.compile(r"0\.671\s*0\.550\s*✓ passed"))
    expect(gate.locator("tr", has_text="CPU budget")).to_contain_text(re.compile(r"29,158\s*25,000\s*▲ failed"))
    expect(gate.locator("tr", has_text="not worse")).to_contain_text("nothing to compare with")
    expect(page.locator(".panel-gate .note")).to_contain_text("failed 1 of 3 rules")


def test_two_models_are_compared_by_measures_slices_and_changed_predictions(models_dashboard, page):
    page.goto(f"{models_dashboard.url}/models/")
    expect(page.get_by_test_id("comparison-words")).to_have_text(
        "2 predictions of 5 changed: 1 corrected, 1 broken, 0 wrong both times."
    )
    changed = page.get_by_test_id("table-changed")
    expect(changed.locator("tr", has_text="so good")).to_contain_text("corrected")
    expect(changed.locator("tr", has_text="nothing to add")).to_contain_text("broken")
    expect(page.get_by_test_id("table-measures").locator("tr", has_text="accuracy")).to_contain_text("0.600")
    expect(page.get_by_test_id("table-compared-slices")).to_contain_text("dataset airline · domain support")
    has_no_violation(page)
    page.get_by_role("combobox", name="Left").select_option(
        label=f"{models_dashboard.bundle.manifest.version} (fp32), production"
    )
    expect(page.get_by_test_id("comparison-words")).to_contain_text("0 predictions of 5 changed")


def test_cell_of_the_confusion_matrix_shows_its_texts(models_dashboard, page):
    page.goto(f"{models_dashboard.url}/models/")
    examples = page.get_by_test_id("examples")
    expect(examples).to_contain_text("True neutral, predicted negative")
    expect(examples).to_contain_text("It's fine")
    page.get_by_role("button", name="100 % 2: negative texts predicted as negative, show them").click()
    expect(examples).to_contain_text("a piece of s***")
    page.get_by_label("Mask profanity").uncheck()
    expect(examples).to_contain_text("a piece of shit")


def test_slices_of_the_same_rows_are_shown_once_and_weak_ones_are_marked(models_dashboard, page):
    page.goto(f"{models_dashboard.url}/models/")
    slices = page.get_by_test_id("table-slices")
    expect(slices.locator("tbody tr")).to_have_count(2)
    expect(slices.locator("tr", has_text="dataset airline · domain support")).to_contain_text("weak")
    expect(slices.locator("tr", has_text="short texts")).not_to_contain_text("weak")


def test_leaderboard_has_units_and_marks_the_pareto_front(models_dashboard, page):
    page.goto(f"{models_dashboard.url}/models/")
    board = page.get_by_test_id("table-leaderboard")
    expect(board).to_contain_text("2,916 µs")
    expect(board).to_contain_text("12 ms")
    expect(board.locator("tr", has_text="asked")).to_have_text(re.compile(r"asked\s+large model.*\$123\.40"))
    expect(board.locator("tr", has_text="old")).to_contain_text("$0.0885")
    expect(board).to_contain_text("Pareto-optimal")
    expect(page.get_by_test_id("chart-pareto")).to_have_attribute("aria-label", re.compile("in production"))
    assert {label for label in LABELS if label in page.get_by_test_id("table-confusion").inner_text()} == set(LABELS)


def test_sarcasm_companies_and_domain_transfer_are_shown_where_they_were_measured(models_dashboard, page):
    page.goto(f"{models_dashboard.url}/models/")
    sarcasm = page.locator(".panel-sarcasm")
    rows = sarcasm.get_by_test_id("table-sarcasm").locator("tbody tr")
    expect(rows).to_have_text([re.compile("irony.*784.*311.*0.704.*75 %.*66 %")])
    expect(sarcasm).to_contain_text("61 % of held-out sarcastic texts")
    rows = page.get_by_test_id("table-companies").locator("tbody tr")
    expect(rows).to_have_text([re.compile("404 texts.*0.712"), re.compile("48 pairs.*0.500"), re.compile("150 sentences.*0.960")])
    transfer = page.get_by_test_id("table-transfer").locator("tbody tr")
    expect(transfer).to_have_count(4)
    expect(transfer.first).to_have_text(re.compile("tweets.*2,000 texts.*0.8.*0.7"))
    expect(page.locator(".panel-transfer")).to_contain_text("news")
    has_no_violation(page)
    if folder := os.environ.get("SCREENS"):
        page.screenshot(path=f"{folder}/models_learned.png", full_page=True)


def test_source_filter_is_in_the_versions_panel_only(models_dashboard, page):
    page.goto(f"{models_dashboard.url}/models/")
    expect(page.locator(".panel-versions").get_by_role("combobox", name="Source")).to_be_visible()
    assert page.get_by_role("combobox", name="Source").count() == 1


def test_operating_points_and_the_tiers_of_the_stream_are_shown_where_there_are_several(tmp_path, page):
    harness = DashboardHarness(tmp_path, tiered_bundle)
    began = datetime.now(UTC).replace(second=0, microsecond=0) - timedelta(minutes=10)
    rows = [
        message(n, began + timedelta(seconds=10 * n), "support", "Thanks", tier="small" if n >= 30 and n % 4 else "base")
        for n in range(60)
    ]
    with harness.warehouse_server(), harness.service():
        with harness.client() as client:
            write(client, rows[:30])
        page.goto(f"{harness.url}/models/")
        words = re.compile(r"small: 0\.500 at 10\.0 µs; base, used now: 0\.801 at 100 µs")
        expect(page.get_by_test_id("chart-points")).to_have_attribute("aria-label", words)
        expect(page.locator(".panel-versions")).to_contain_text("minilm-1")
        expect(page.get_by_test_id("chart-tiers")).to_have_count(0)
        with harness.client() as client:
            write(client, rows[30:])
        expect(page.get_by_test_id("chart-tiers")).to_be_visible()
        expect(page.get_by_test_id("chart-tiers")).to_have_attribute("aria-label", re.compile("small: last 83 %"))
        has_no_violation(page)
        if folder := os.environ.get("SCREENS"):
            page.screenshot(path=f"{folder}/tiers.png", full_page=True)


def test_missing_pipeline_files_are_named_with_their_remedy(dashboard, page):
    page.goto(f"{dashboard.url}/models/")
    expect(page.get_by_test_id("state-model-unknown")).to_contain_text("`make train` makes one")
    expect(page.locator(".panel-gate")).to_contain_text("`groundswell promote` makes one")
    expect(page.locator(".panel-comparison")).to_contain_text("`groundswell benchmark` writes them")
