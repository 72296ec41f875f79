"""A large model in the pipeline, with a stub endpoint: skipped, evaluated, shown, resumed."""

import pytest
import yaml

from data.artifacts import read_json
from data.errors import ModelError
from orchestration.jobs import EVALUATE_BY_NAME
from orchestration.steps.evaluation import read_leaderboard, winner
from orchestration.steps.large_models import evaluate_large_model, evaluated_large_models
from serving.service.panels.models import leaderboard as panel
from tests.chat_stub import KEY, Chat, complete, label_of
from tests.make import text_of
from training.candidates import large_model
from training.tracking import Tracking

pytestmark = pytest.mark.integration
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


def test_large_model_is_asked_by_name_and_is_a_row_of_the_next_benchmark(place, chat):
    add(place, chat, **PRICES)
    assert place.run("benchmark_candidates").success and not chat.asked, "a benchmark alone asks nothing"
    asked = place.run(EVALUATE_BY_NAME)
    assert asked.success and materialized(asked) == {"evaluation/large/large_model"}
    [event] = asked.get_asset_materialization_events()
    metadata = {name: value.value for name, value in event.materialization.metadata.items()}
    assert metadata["rows"] == 60 == len(chat.asked) and metadata["macro_recall"] == 1 and "ece" not in metadata
    assert metadata["usd_per_million"] == pytest.approx(1100) and metadata["spent_usd"] == pytest.approx(60 * 0.0011)

    assert place.run("benchmark_candidates").success
    rows = {row.candidate: row for row in read_leaderboard(place.layout)}
    large = rows["large"]
    assert large.cost is None and large.large_model.usd_per_million == pytest.approx(1100)
    assert rows["minilm"].cost is not None and "large" in rows["minilm"].against
    assert winner(place.layout).name == "minilm"
    shown = {row.name: row for row in panel(place.layout.var, "none").rows}
    assert shown["large"].cpu_us_per_text is None and shown["large"].ece.value is None and not shown["large"].on_front
    assert any(row.on_front for row in shown.values())
    runs = Tracking(place.layout.var).client.search_runs(
        [Tracking(place.layout.var).client.get_experiment_by_name("sentiment").experiment_id],
        "attributes.run_name = 'large'",
    )
    assert runs[0].data.params["model"] == "stub-1" and runs[0].data.metrics["cost/usd_per_million"] == pytest.approx(1100)
    before = len(chat.asked)
    assert place.run(EVALUATE_BY_NAME).success and len(chat.asked) == before, "predictions are kept"


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


def test_few_shot_examples_come_from_the_training_rows_only(place, chat):
    assert place.run("prepare_data").success
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
