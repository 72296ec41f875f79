"""Card, API, page, leaderboard and MLflow describe the served model identically, after a first run and after a repeated one."""

import re

import httpx
import pytest

from data.artifacts import read_json
from orchestration.jobs import TRAIN_AND_DEPLOY
from orchestration.steps.release import read_gate_decision
from serving.bundle import production_bundle
from serving.deployment import status
from training.tracking import MODEL_NAME, Tracking

pytestmark = pytest.mark.integration


def _shown(value):
    return "{value:.1f} [{low:.1f}, {high:.1f}]".format(**{name: 100 * number for name, number in value.items()})


def test_every_page_describes_the_bundle_that_is_served_also_after_a_repeated_run(released):
    place, first = released
    assert first.success
    for _ in range(2):  # the first deploys again what was released
        assert place.run(TRAIN_AND_DEPLOY).success
        bundle = production_bundle(place.layout.var)
        metrics, training = bundle.manifest.metrics, bundle.manifest.training
        url = status(place.layout.deployment).url
        model = httpx.get(f"{url}/v1/model", timeout=10).json()
        assert model["version"] == bundle.manifest.version and model["training"] == training
        assert model["metrics"]["macro_recall"] == metrics["macro_recall"]

        row = next(row for row in read_json(place.layout.leaderboard / "leaderboard.json") if row["role"] == "in production")
        assert row["version"] == bundle.manifest.version and row["macro_recall"] == metrics["macro_recall"]
        assert row["cost"]["cpu_us_per_text"] == metrics["cpu_us_per_text"]
        assert row["cost"]["file_bytes"] == metrics["file_bytes"] == (bundle.directory / "model.onnx").stat().st_size
        panel = httpx.get(f"{url}/v1/panels/leaderboard", timeout=10).json()["rows"]
        (shown,) = (each for each in panel if each["in_production"])
        assert shown["macro_recall"] == metrics["macro_recall"]
        assert shown["cpu_us_per_text"] == metrics["cpu_us_per_text"]["value"]

        recall = _shown(metrics["macro_recall"])
        page = (place.layout.leaderboard / "leaderboard.html").read_text()
        line = re.search(  # the first is that of the main table
            r"<tr><td>[^<]*<span class=\"tag\">in production</span></td>.*?</tr>", page
        ).group()
        assert recall in line
        assert f"{row['candidate']} (in production) | {recall}" in (place.layout.leaderboard / "leaderboard.md").read_text()

        card = httpx.get(f"{url}/v1/panels/production", timeout=10).json()["card"]
        assert card == (bundle.directory / "card.md").read_text()
        assert f"| Macro-recall | {recall} |" in card and f"{metrics['cpu_us_per_text']['value']:,.0f} µs of CPU" in card
        assert f"on {training['rows']:,} of {training['rows_available']:,} rows, 14 epochs, seed 7" in card
        assert f"| mine | tweets | {training['rows']:,} | {training['rows_available']:,} |" in card
        assert f"before export: macro-recall {_shown(metrics['float32']['macro_recall'])}" in card
        registered = Tracking(place.layout.var).client.get_model_version_by_alias(MODEL_NAME, "production")
        assert registered.description == card

        decision = read_gate_decision(place.layout)
        assert decision.passed and {"floor: macro_recall", "CPU budget", "parity"} <= {r.rule for r in decision.reasons}
        assert all(r.limit is not None for r in decision.reasons if r.rule.startswith(("floor", "ceiling", "CPU")))
    assert decision.unchanged


def test_card_counts_only_rows_that_were_trained_on(place, monkeypatch):
    monkeypatch.setenv("GROUNDSWELL_TRAINING__MAX_TRAIN_ROWS", "150")
    assert place.run("export_winner").success
    folder = next(place.layout.bundles.iterdir())
    training = read_json(folder / "bundle.json")["training"]
    assert training["rows"] <= 150 < training["rows_available"]
    assert f"on {training['rows']:,} of {training['rows_available']:,} rows" in (folder / "card.md").read_text()
