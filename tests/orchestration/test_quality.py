"""The production model measured on the newest labeled rows of its own traffic."""

from datetime import UTC, datetime, timedelta

import pytest

from data.artifacts import read_json
from data.feedback import FeedbackLabel, open_feedback
from data.labels import LABELS
from orchestration.layout import Layout
from orchestration.progress import listening
from orchestration.retraining import Cause, Quality, RetrainingSettings, quality_cause
from orchestration.steps import quality
from orchestration.steps.quality import measure_production
from orchestration.steps.retraining_state import read_state
from serving.ledger import append_move, read_ledger
from serving.tiers import model_key
from tests.make import text_of
from tests.models import headed_bundle, tiny_bundle
from tests.orchestration.test_lakehouse_assets import message, write_tables

NEXT = dict(zip(LABELS, (*LABELS[1:], LABELS[0]), strict=True))


@pytest.fixture
def layout(monkeypatch):
    monkeypatch.setenv("GROUNDSWELL_RETRAINING__MIN_QUALITY_ROWS", "30")
    return Layout.load()


def promote(layout, *, ago=timedelta(days=1), strength=2.0, make=None):
    """Promote a bundle that classifies `text_of` right, or what `make` makes, `ago` before now."""
    folder = layout.bundles / f"tiny-{strength}"
    bundle = make(folder) if make else tiny_bundle(folder, strength=strength)
    bundle.directory.rename(layout.bundles / bundle.manifest.version)
    move = {
        "alias": "production",
        "to": "1",
        "bundle": f"bundles/{bundle.manifest.version}",
        "at": (datetime.now(UTC) - ago).isoformat(),
    }
    append_move(layout.var, move)
    return bundle.manifest.version


def correct(layout, numbers, *, wrong=False, by="ann"):
    """Add labels of callers; with `wrong`, they differ from the model's predictions."""
    for number in numbers:
        label = LABELS[number % 3]
        corrected = NEXT[label] if wrong else label
        open_feedback(layout.var).add(FeedbackLabel(text_of(label, number), corrected, by))


def state_of(layout):
    return read_state(layout, enough=1)


def test_nothing_is_measured_before_a_model_is_in_production(layout):
    assert measure_production(layout) is None and not layout.quality.exists()


def test_too_few_rows_or_a_missing_label_skip_with_a_reason_that_the_sensor_reports(layout):
    promote(layout)
    correct(layout, range(29))
    assert "29 rows have been labeled since the model was promoted, at least 30 are needed" in measure_production(layout).skipped
    assert "29 rows have been labeled" in state_of(layout).quality
    correct(layout, [n for n in range(30, 60) if n % 3 == 0])
    correct(layout, [n for n in range(29) if n % 3], by="ann")
    store = open_feedback(layout.var)
    store.path.unlink()
    correct(layout, [n for n in range(90) if n % 3 == 0])
    assert "none of the 30 rows labeled since the model was promoted is neutral or positive" in measure_production(layout).skipped


def test_a_correction_counts_by_the_head_of_its_domain(layout):
    promote(layout, make=headed_bundle)  # finance calls praise negative and blame positive
    opposite = {"negative": "positive", "neutral": "neutral", "positive": "negative"}
    for n in range(60):
        label, domain = LABELS[n % 3], ("finance", None)[n % 2]
        right = opposite[label] if domain else label
        open_feedback(layout.var).add(FeedbackLabel(text_of(label, n), right, "ann", domain=domain))
    assert measure_production(layout).metadata["macro_recall"]["value"] == 1.0


def test_recall_falls_when_callers_correct_predictions(layout):
    version = promote(layout)
    correct(layout, range(60))
    first = measure_production(layout)
    assert first.version == version and first.metadata["rows_by_origin"] == {"feedback": 60}
    assert first.metadata["macro_recall"] == {"value": 1.0, "low": 1.0, "high": 1.0}
    correct(layout, range(60, 300), wrong=True)
    second = measure_production(layout).metadata
    assert second["rows"] == 300 and second["macro_recall"]["value"] == pytest.approx(0.2, abs=0.01)
    assert second["macro_recall"]["low"] < second["macro_recall"]["value"] < second["macro_recall"]["high"] < 0.3
    found = state_of(layout)
    assert isinstance(found.quality, Quality) and found.quality.rows == 300
    cause = quality_cause(found, RetrainingSettings.load(), datetime.now(UTC))
    assert isinstance(cause, Cause) and cause.reason == "quality" and "the whole interval is below" in cause.text


def test_rows_labeled_before_the_promotion_and_texts_that_callers_disagree_on_do_not_count(layout):
    correct(layout, range(60), wrong=True)
    promote(layout, ago=timedelta(hours=-1))  # the rows above may have been trained on
    assert "0 rows have been labeled" in measure_production(layout).skipped
    append_move(layout.var, read_ledger(layout.var)[-1] | {"at": (datetime.now(UTC) - timedelta(days=1)).isoformat()})
    correct(layout, range(20), by="ben")
    assert measure_production(layout).metadata["rows"] == 40


def test_labeled_rows_of_the_lakehouse_count_as_production_predicted_them(layout):
    version = promote(layout)
    ours = [
        message(
            n,
            LABELS[n % 3],
            true_label=LABELS[n % 3] if n < 45 else NEXT[LABELS[n % 3]],
            model_version=model_key(version, ("base", "small")[n % 2]),
        )
        for n in range(60)
    ]
    older = datetime.now(UTC) - timedelta(days=2)
    theirs = [
        message(100, true_label="positive", model_version="another"),
        message(101, true_label="positive", model_version=version, event_at=older),
        message(102, model_version=version),
        message(103, true_label="positive", label=None, model_version=None, answers=None),
    ]
    write_tables(str(layout.var / "lakehouse"), [*ours, *theirs])
    found = measure_production(layout).metadata
    assert found["rows_by_origin"] == {"lakehouse": 60} and found["macro_recall"]["value"] == pytest.approx(0.75, abs=0.01)
    correct(layout, range(60))
    found = measure_production(layout).metadata
    assert found["rows_by_origin"] == {"lakehouse": 60, "feedback": 60}
    assert found["macro_recall"]["value"] == pytest.approx(0.875, abs=0.01)


def test_only_the_newest_rows_count(layout, monkeypatch):
    monkeypatch.setattr(quality, "NEWEST_ROWS", 45)
    promote(layout)
    correct(layout, range(60), wrong=True)
    correct(layout, range(60, 105))
    found = measure_production(layout).metadata
    assert (found["rows"], found["macro_recall"]["value"]) == (45, 1.0)


def test_unreachable_lakehouse_is_left_out_with_a_note(layout, monkeypatch):
    promote(layout)
    correct(layout, range(60))
    monkeypatch.setenv("GROUNDSWELL_LAKEHOUSE__ROOT", "s3a://nowhere/lake")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    notes = []

    class Listener:
        def __call__(self, *_): ...
        def note(self, text, *, warning=True):
            notes.append(text)

    with listening(Listener()):
        found = measure_production(layout)
    assert found.metadata["rows_by_origin"] == {"feedback": 60}
    assert len(notes) == 1 and "The lakehouse is left out: The lakehouse s3a://nowhere/lake is not reachable" in notes[0]


def test_another_version_in_production_is_not_measured_yet(layout):
    promote(layout)
    correct(layout, range(60))
    measure_production(layout)
    version = promote(layout, ago=timedelta(hours=1), strength=3.0)
    assert state_of(layout).quality == f"macro-recall of {version} not measured yet"
    assert read_json(layout.quality)["version"] != version
