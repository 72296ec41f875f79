"""A large model in the pipeline, with a stub endpoint: skipped, evaluated, shown, resumed."""

import subprocess
import sys

import pytest
import yaml

from data.artifacts import read_json
from data.errors import ModelError
from data.feedback import FeedbackLabel, open_feedback
from data.labels import LABELS
from orchestration.jobs import EVALUATE_BY_NAME
from orchestration.steps.data import read_splits
from orchestration.steps.evaluation import read_leaderboard, winner
from orchestration.steps.large_models import evaluate_large_model, evaluated_large_models
from serving.service.panels.models import leaderboard as panel
from tests.chat_stub import KEY, Chat, complete, label_of
from tests.make import text_of
from tests.serving.running import ROOT
from training.candidates import large_model
from training.tracking import Tracking

pytestmark = pytest.mark.integration
_COMMAND = """
import sys
from pathlib import Path
import data.catalog, evaluation.gates, training.candidates
root = Path(sys.argv.pop(1))
for module in (data.catalog, evaluation.gates, training.candidates):
    module.project_root = lambda: root
from orchestration.cli.main import main
main()
"""
PRICES = {"usd_per_million_input": 10.0, "usd_per_million_output": 50.0}


@pytest.fixture
def chat(monkeypatch):
    with Chat() as server:
        monkeypatch.setenv("GROUNDSWELL_LLM__API_KEY", KEY)
        yield server


def add(place, chat, name="large", **fields):
    """Write the candidates with a large model more, and return it."""
    llm = {"base_url": chat.url, "model": "stub-1", "concurrency": 2, **fields}
    entry = {"kind": "llm", "title": "Stub", "license": "ours", "on_request": True, "llm": llm}
    path = place.root / "configs" / "candidates.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | {name: entry}))
    return large_model(name)


def materialized(result):
    return {key.to_user_string() for event in result.get_asset_materialization_events() for key in [event.asset_key]}


def command(place, *arguments):
    """Run a `groundswell` command in a process of its own, with the configuration of the place."""
    return subprocess.run(
        [sys.executable, "-c", _COMMAND, str(place.root), *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


def test_benchmark_command_asks_the_named_model_which_is_a_row_from_then_on(place, chat):
    add(place, chat, **PRICES)
    assert place.run("benchmark_candidates").success and not chat.asked, "a benchmark alone asks nothing"
    done = command(place, "benchmark", "--candidate", "large")
    assert done.returncode == 0, done.stderr[-2000:]
    assert "✓ Evaluate Stub" in done.stdout and "large (large model)" in done.stdout and "1,100.00" in done.stdout
    assert KEY not in done.stdout + done.stderr
    rows = {row.candidate: row for row in read_leaderboard(place.layout)}
    assert rows["large"].cost is None and rows["large"].large_model.usd_per_million == pytest.approx(1100)
    assert rows["minilm"].cost is not None and "large" in rows["minilm"].against
    assert winner(place.layout).name == "minilm"
    shown = {row.name: row for row in panel(place.layout.var, "none").rows}
    assert shown["large"].cpu_us_per_text is None and shown["large"].ece.value is None and not shown["large"].on_front
    assert any(row.on_front for row in shown.values())
    client = Tracking(place.layout.var).client
    experiment = client.get_experiment_by_name("sentiment").experiment_id
    [run] = client.search_runs([experiment], "attributes.run_name = 'large'")
    assert run.data.params["model"] == "stub-1" and run.data.metrics["cost/usd_per_million"] == pytest.approx(1100)
    assert len(chat.asked) == 60

    again = place.run(EVALUATE_BY_NAME)
    assert len(chat.asked) == 60, "predictions are kept"
    [event] = again.get_asset_materialization_events()
    metadata = {name: value.value for name, value in event.materialization.metadata.items()}
    assert event.asset_key.to_user_string() == "evaluation/large/large_model"
    assert metadata["rows"] == 60 and metadata["macro_recall"] == 1 and "ece" not in metadata
    assert metadata["usd_per_million"] == pytest.approx(1100) and metadata["spent_usd"] == pytest.approx(60 * 0.0011)


@pytest.mark.parametrize(
    ("key", "fields", "reason"),
    [
        (None, {}, "large has no API key; set GROUNDSWELL_LLM__API_KEY"),
        ("", {}, "large has no API key"),
        (KEY, {"base_url": None}, "large has no base_url in configs/candidates.yaml"),
    ],
)
def test_without_a_key_or_an_address_it_is_one_skipped_line(place, chat, monkeypatch, key, fields, reason):
    if key is None:
        monkeypatch.delenv("GROUNDSWELL_LLM__API_KEY")
    else:
        monkeypatch.setenv("GROUNDSWELL_LLM__API_KEY", key)
    add(place, chat, **fields)
    assert place.run("prepare_data").success
    lines = []
    monkeypatch.setattr("orchestration.assets.evaluation.ended", lambda state, why: lines.append(f"{state}: {why}"))
    result = place.run(EVALUATE_BY_NAME)
    assert result.success and materialized(result) == set() and not chat.asked
    assert len(lines) == 1 and lines[0].startswith(f"skipped: {reason}") and "\n" not in lines[0]


def test_sample_is_seeded_and_a_larger_one_contains_it(place, chat):
    assert place.run("prepare_data").success
    small = evaluate_large_model(place.layout, add(place, chat, rows=20))
    assert small.row.n == 20 and small.row.title == "large (large model, 20 of 60 rows)" and len(chat.asked) == 20
    larger = evaluate_large_model(place.layout, add(place, chat, rows=35))
    assert set(small.predicted.rows) < set(larger.predicted.rows) and len(chat.asked) == 35
    assert [one.row.n for one in evaluated_large_models(place.layout)] == [35]


def test_few_shot_examples_come_from_the_training_rows_only_and_never_from_corrections(place, chat, monkeypatch):
    place.catalog(feedback={"domain": "support", "license": "ours", "feedback": True, "train": True})
    for number in range(60):
        open_feedback(place.layout.var).add(FeedbackLabel(f"my own ticket {number}", LABELS[number % 3], "ann"))
    assert place.run("prepare_data").success
    assert read_splits(place.layout).rows["feedback/train"] == 60
    monkeypatch.setenv("GROUNDSWELL_EVALUATION__PRIMARY", "another")
    evaluated = evaluate_large_model(place.layout, add(place, chat, prompt="few-shot", rows=5))
    messages = chat.asked[0]["messages"]
    assert [message["role"] for message in messages] == ["system", *["user", "assistant"] * 9, "user"]
    training = {text_of(label, n) for label in ("negative", "neutral", "positive") for n in range(100) if n % 10 < 7}
    assert {message["content"] for message in messages[1:-1:2]} <= training
    assert evaluated.row.large_model.prompt == "few-shot" and evaluated.spent_usd is None


def test_budget_end_fails_the_step_keeps_the_replies_and_has_no_row(place, chat):
    assert place.run("prepare_data").success
    candidate = add(place, chat, **PRICES, budget_usd=0.03)
    with pytest.raises(ModelError, match="The budget of stub-1 is reached") as caught:
        evaluate_large_model(place.layout, candidate)
    asked = len(chat.asked)
    assert 0 < asked < 60 and f"predictions of {asked} of 60 texts" in caught.value.found
    assert not place.run(EVALUATE_BY_NAME).success and len(chat.asked) == asked
    assert evaluated_large_models(place.layout) == []
    evaluated = evaluate_large_model(place.layout, add(place, chat, **PRICES, budget_usd=1.0))
    assert len(chat.asked) == 60 and evaluated.row.n == 60


def test_complete_predictions_need_no_key_and_follow_a_new_price(place, chat, monkeypatch):
    assert place.run("prepare_data").success
    evaluate_large_model(place.layout, add(place, chat, **PRICES))
    monkeypatch.delenv("GROUNDSWELL_LLM__API_KEY")
    dearer = add(place, chat, usd_per_million_input=20.0, usd_per_million_output=100.0)
    assert evaluated_large_models(place.layout) == [], "the price of the row is another one"
    evaluated = evaluate_large_model(place.layout, dearer)
    assert evaluated.row.large_model.usd_per_million == pytest.approx(2200) and len(chat.asked) == 60


def test_replies_without_a_label_count_as_wrong_and_are_stated(place, chat):
    assert place.run("prepare_data").success
    chat.behavior = lambda handler, text: "great" in text and complete(handler, f"It is {label_of(text)}, I think.")
    evaluated = evaluate_large_model(place.layout, add(place, chat))
    facts = evaluated.row.large_model
    assert facts.without_label == 3 and len(chat.asked) == 63
    assert evaluated.row.metrics["accuracy"].value == pytest.approx(57 / 60)
    report = read_json(place.layout.evaluations / "large" / "report.json")
    assert report["predicted"]["classes"].count(3) == 3
