"""The whole pipeline in Dagster on a small dataset: deployment, refused models, failed checks."""

import dagster as dg
import httpx
import pytest

from data.artifacts import read_json
from data.feedback import FeedbackLabel, open_feedback
from data.labels import LABELS
from orchestration.jobs import TRAIN_AND_DEPLOY
from orchestration.steps.data import read_splits
from orchestration.steps.release import read_gate_decision, roll_back
from serving.deployment import status
from serving.ledger import read_ledger
from tests.make import rows, text_of
from tests.models import tiny_bundle
from tests.serving.running import serving

pytestmark = pytest.mark.integration
NEXT = {"negative": "neutral", "neutral": "positive", "positive": "negative"}


def materialized(result):
    return {key.to_user_string() for event in result.get_asset_materialization_events() for key in [event.asset_key]}


def served(place):
    deployment = status(place.layout.deployment)
    assert deployment is not None
    reply = httpx.post(f"{deployment.url}/v1/classify", json={"texts": ["the film was great", "the soup was awful"]}, timeout=10)
    return reply.json()["model_version"], [prediction["label"] for prediction in reply.json()["predictions"]]


def test_before_the_first_model_there_is_nothing_to_measure(place):
    before = place.run("measure_production")
    assert before.success and "evaluation/production_quality" not in materialized(before)


def test_first_model_is_deployed_a_worse_one_refused_a_new_one_promoted_and_rolled_back(released, monkeypatch):
    place, first = released
    assert first.success
    assert {"data/mine/validated", "evaluation/leaderboard", "serving/deployment"} <= materialized(first)
    assert all(check.passed for check in first.get_asset_check_evaluations())

    again = place.run(TRAIN_AND_DEPLOY)
    assert again.success
    version, labels = served(place)
    assert labels == ["positive", "negative"]
    assert len(read_ledger(place.layout.var)) == 2, "nothing has changed: no alias moved again"
    assert "evaluation/production_quality" not in materialized(place.run("measure_production")), "nothing has been labeled since"
    monkeypatch.setenv("GROUNDSWELL_RETRAINING__MIN_QUALITY_ROWS", "30")
    for number in range(30):
        label = LABELS[number % 3]
        open_feedback(place.layout.var).add(FeedbackLabel(text_of(label, 500 + number), label, "ann"))
    assert "evaluation/production_quality" in materialized(place.run("measure_production"))
    measured = read_json(place.layout.quality)
    assert measured["version"] == version and measured["rows"] == 30 and measured["macro_recall"]["value"] > 0.9

    # Trained on wrong labels, evaluated on right ones.
    place.write([row | {"label": NEXT[row["label"]]} if row["split"] == "train" else row for row in rows(100)])
    worse = place.run(TRAIN_AND_DEPLOY)
    assert worse.success, "trained, not better, not promoted: a normal end"
    assert "training/registered_version" not in materialized(worse)
    gate = next(check for check in worse.get_asset_check_evaluations() if check.check_name == "gate")
    assert not gate.passed
    refused = {reason.rule: reason.text for reason in read_gate_decision(place.layout).failures}
    assert any("macro_recall" in rule for rule in refused) and any("production" in rule for rule in refused)
    assert served(place) == (version, ["positive", "negative"])

    place.write(rows(110))
    monkeypatch.setenv("GROUNDSWELL_TRAINING__SEED", "8")
    assert place.run(TRAIN_AND_DEPLOY).success
    new_version, labels = served(place)
    assert new_version != version and labels == ["positive", "negative"]
    roll_back(place.layout, reason="a test")
    assert served(place)[0] == version


@pytest.mark.parametrize(
    ("corrupt", "expectation"),
    [
        (lambda row: row | {"label": row["split"]}, "expect_column_values_to_be_in_set"),  # the wrong column
        (lambda row: row | {"label": "neutral"}, "expect_column_mean_to_be_between"),  # all of one class
        (lambda row: row | {"id": "same"}, "expect_column_values_to_be_unique"),
        (lambda row: row | ({"split": "train"} if row["split"] == "test" else {}), "distinct_values_to_contain_set"),
    ],
)
def test_bad_rows_fail_a_check_and_training_does_not_start(corrupt, expectation, place):
    place.write([corrupt(row) for row in rows(40)])  # from 100 rows on the balance of classes can fail
    result = place.run("train_candidates")
    assert not result.success
    red = [check for check in result.get_asset_check_evaluations() if not check.passed]
    assert red and red[0].severity == dg.AssetCheckSeverity.ERROR
    failures = [row.data for row in red[0].metadata["failures"].records]
    assert any(expectation in failure["expectation"] for failure in failures), failures
    assert "training/minilm/checkpoint" not in materialized(result)
    assert not place.layout.candidates.exists()


def test_a_label_corrected_on_the_service_is_trained_on_and_stops_nothing(place):
    place.catalog(feedback={"domain": "support", "license": "ours", "feedback": True, "train": True})
    assert place.run("train_candidates").success
    assert trained_rows(place) == 210
    with serving(tiny_bundle(place.root / "bundle"), place.root) as (client, _):
        correction = {"text": "Oh great, delayed again.", "label": "negative", "by": "desk 4"}
        assert client.post("/v1/feedback", json=correction).status_code == 201
    for job in ("prepare_data", "train_candidates"):
        assert place.run(job).success, job
    assert trained_rows(place) == 211
    assert read_splits(place.layout).rows["feedback/train"] == 1


def trained_rows(place):
    return read_json(place.layout.candidates / "minilm" / "report.json")["rows"]
