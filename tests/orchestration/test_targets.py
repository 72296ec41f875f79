"""Scores of companies through the pipeline: evaluated on the rows that a dataset keeps, and learned with enough of its rows."""

import json

import pandas as pd
import pytest

from data.artifacts import write_json
from data.sources import SCORED
from data.sources.reading import write_labeled
from evaluation.leaderboard import LeaderboardRow
from evaluation.leaderboard_page import target_table
from orchestration.layout import Layout
from orchestration.steps import data, predictions, training
from orchestration.steps.predictions import evaluate
from orchestration.steps.training import candidate_folder, learned_targets
from tests.make import labeled
from tests.models import tiny_candidate
from training.heads import LEAST_ROWS
from training.predictors import VaderPredictor

SCORES = {"good": 0.7, "great": 0.9, "bad": -0.6, "awful": -0.8}


@pytest.fixture
def layout(tmp_path, monkeypatch):
    known = data.load_catalog()
    ours = {"mine": known["tweeteval_sentiment"], "scored": known["financial_scored"]}
    for module in (data, training):
        monkeypatch.setattr(module, "load_catalog", lambda: ours)
    monkeypatch.setattr(predictions, "training_datasets", lambda: ["mine"])
    made = Layout(tmp_path / "var", {"evaluation": {"bootstrap_resamples": 100, "behavior_cases_per_test": 2}})
    made.splits.mkdir(parents=True)
    write_labeled(made.splits / "texts.parquet", labeled(90).assign(source="mine"))
    sources = {"fingerprint": "f", "counts": {}, "rows": {}, "notices": [], "sources": {"mine": "x", "scored": "y"}}
    (made.splits / "report.json").write_text(json.dumps(sources))
    rows = [
        {"id": f"{split}-{word}", "split": split, "text": f"Acme {word}", "marked": f"target {word}", "score": score}
        for split in ("train", "test")
        for word, score in SCORES.items()
    ]
    (made.raw / "scored").mkdir(parents=True)
    pd.DataFrame(rows).to_parquet(made.raw / "scored" / SCORED, index=False)
    return made


def test_each_candidate_is_compared_with_the_scores_of_the_test_rows(layout):
    found = evaluate(layout, "vader", {"v": 1}, lambda: VaderPredictor("vader")).row
    assert found.targets is not None and found.targets.n == len(SCORES), "test rows alone"
    assert found.targets.correlation.value > 0.9 and found.targets.pairs == 0
    assert found.targets.made.value < 0.9, "a lexicon does not read which company is meant"
    again = LeaderboardRow.from_dict(found.to_dict())
    assert again.targets == found.targets
    head, cells = target_table([found])
    assert head[-1] == "vader" and cells[0][:2] == ["Correlation with the scores", "4 texts"]


def test_datasets_without_scores_leave_the_row_without_them(layout):
    (layout.raw / "scored" / SCORED).unlink()
    assert evaluate(layout, "vader", {"v": 2}, lambda: VaderPredictor("vader")).row.targets is None


@pytest.mark.parametrize(
    ("used", "learned"), [({"scored": LEAST_ROWS}, True), ({"scored": LEAST_ROWS - 1, "mine": 9_000}, False)]
)
def test_a_model_scores_companies_if_it_learned_from_enough_such_rows(layout, tmp_path, used, learned):
    candidate = tiny_candidate(tmp_path)
    folder = candidate_folder(layout, candidate)
    folder.mkdir(parents=True)
    datasets = {name: {"rows": rows, "rows_available": rows} for name, rows in used.items()}
    write_json(folder / "report.json", {"datasets": datasets})
    assert learned_targets(layout, candidate) is learned
