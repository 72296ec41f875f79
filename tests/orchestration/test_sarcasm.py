"""Sarcasm through the pipeline: evaluated and calibrated by dataset, and part of every export variant."""

import json

import pandas as pd
import pytest

from data.artifacts import mark_current
from data.fingerprint import fingerprint
from data.sources import PAIRS
from data.sources.reading import write_labeled
from evaluation.leaderboard import LeaderboardRow
from evaluation.leaderboard_page import sarcasm_table
from orchestration.layout import Layout
from orchestration.steps import data, predictions, training
from orchestration.steps.predictions import evaluate
from orchestration.steps.tiers import calibration_of
from orchestration.steps.training import candidate_folder, finds_sarcasm
from orchestration.steps.variants import write_variants
from serving.classifier import open_classifier
from serving.tiers import Calibration
from tests.make import labeled
from tests.models import tiny_candidate, write_checkpoint
from tests.training.test_sarcasm import marked
from training.finetune import finetune
from training.heads import LEAST_ROWS, learns_sarcasm
from training.predictors import VaderPredictor, load_predictor
from training.settings import TrainingSettings

pytestmark = pytest.mark.integration
SETS = ["mine", "irony"]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A layout with splits, pairs of sarcastic texts and what they mean, and a trained tiny model."""
    folder = tmp_path_factory.mktemp("place")
    layout = Layout(folder / "var", {"evaluation": {"bootstrap_resamples": 100, "behavior_cases_per_test": 2}})
    rows = labeled(200).assign(source="mine")
    marks = [marked(LEAST_ROWS), marked(80, start=3_000).assign(split="val"), marked(120, start=5_000).assign(split="test")]
    frame = pd.concat([rows, *marks], ignore_index=True)
    frame["id"] = [f"r{n}" for n in range(len(frame))]
    layout.splits.mkdir(parents=True)
    write_labeled(layout.splits / "texts.parquet", frame[rows.columns])
    report = {"fingerprint": "f", "counts": {}, "rows": {}, "notices": [], "sources": dict.fromkeys(SETS, "x")}
    (layout.splits / "report.json").write_text(json.dumps(report))
    (layout.raw / "irony").mkdir(parents=True)
    sarcastic = marked(40, start=7_000).query("sarcasm")["text"].tolist()
    plain = [text.replace("not http", "the") for text in sarcastic]  # praise: the model calls these positive
    pairs = pd.DataFrame({"id": [f"p{n}" for n in range(len(sarcastic))], "text": sarcastic, "plain": plain})
    pairs.to_parquet(layout.raw / "irony" / PAIRS, index=False)
    candidate = tiny_candidate(write_checkpoint(folder / "base"))
    settings = TrainingSettings.load(epochs=5, evaluations=2, bf16=False, seed=3)
    train, val = (frame[frame["split"] == split].reset_index(drop=True) for split in ("train", "val"))
    finetune(candidate, train, val, candidate_folder(layout, candidate), settings)
    mark_current(candidate_folder(layout, candidate), {"trained": True})
    return layout, candidate


@pytest.fixture(autouse=True)
def catalog(monkeypatch):
    known = data.load_catalog()
    ours = {"mine": known["tweeteval_sentiment"], "irony": known["tweeteval_irony"]}
    monkeypatch.setattr(data, "load_catalog", lambda: ours)
    for module in (data, predictions):
        monkeypatch.setattr(module, "training_datasets", lambda: SETS)
    monkeypatch.setattr("orchestration.steps.variants.training_datasets", lambda: SETS)


def test_a_model_is_evaluated_and_calibrated_and_its_variants_find_the_same(place):
    layout, candidate = place
    assert finds_sarcasm(layout, candidate)
    found = evaluate(layout, candidate.name, {"a": 1}, lambda: load_predictor(candidate, candidate_folder(layout, candidate))).row
    (row,) = found.sarcasm.rows
    assert (row.dataset, row.n, row.sarcastic) == ("irony", 120, 60) and row.f1.value > 0.9
    assert found.sarcasm.scale > 0
    assert found.rephrased.value < 0.3, "what is sarcastic is not positive, what it means here is"
    assert LeaderboardRow.from_dict(found.to_dict()).sarcasm == found.sarcasm
    head, cells = sarcasm_table([found])
    assert head[-1] == candidate.name and [cell[0] for cell in cells] == ["F1, irony", "label as in plain words, %"]
    calibration = calibration_of(found.sarcasm)
    assert calibration == Calibration(scale=found.sarcasm.scale, offset=found.sarcasm.offset)
    variants = write_variants(layout, candidate, ["int8_rowwise"], layout.export)
    texts = marked(60, start=9_000)
    for folder in variants.values():
        classifier = open_classifier(folder)
        assert classifier.bundle.manifest.sarcasm == Calibration()
        right = (classifier.predict_sarcasm(texts["text"].tolist()) > 0.5) == texts["sarcasm"].to_numpy(dtype=bool)
        assert right.mean() > 0.95
    served = evaluate(layout, "bundle", {"b": 1}, lambda: open_classifier(variants["onnx_fp32"]), temperature=1.0).row
    assert (served.sarcasm.scale, served.sarcasm.offset) == (1.0, 0.0) and served.sarcasm.rows[0].n == 120


@pytest.mark.parametrize("finds", [True, False])
def test_a_student_learns_sarcasm_if_its_teacher_did_and_its_rows_can_be_logged(place, finds, monkeypatch):
    layout, candidate = place
    monkeypatch.setattr(training, "teacher_of_students", lambda _: candidate)
    monkeypatch.setattr(training, "training_datasets", lambda: SETS)
    monkeypatch.setattr(training, "finds_sarcasm", lambda *_: finds)
    rows = training._student_rows(layout)
    assert learns_sarcasm(rows) is finds
    assert fingerprint(rows), "it has every column"


def test_what_predicts_no_sarcasm_has_no_report_of_it(place):
    layout, _ = place
    found = evaluate(layout, "vader", {"v": 1}, lambda: VaderPredictor("vader")).row
    assert found.sarcasm is None and found.rephrased is not None
    assert calibration_of(found.sarcasm) == Calibration()
