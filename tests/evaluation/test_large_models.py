"""Large models in the leaderboard: on a sample of the rows, without probabilities and without a measured cost."""

import csv
import io
import json
import re

import numpy as np
import pytest
from rich.console import Console

from data.errors import SettingsError
from evaluation import published
from evaluation.leaderboard import LargeModelFacts, LeaderboardRow, SampledClasses, as_csv, as_table, build_leaderboard
from evaluation.leaderboard_page import write_leaderboard
from evaluation.metrics import (
    METRICS,
    NO_CLASS,
    paired_class_difference,
    paired_difference,
    score,
    score_classes,
)
from evaluation.published import PublishedFigure, published_figures
from tests.evaluation.test_leaderboard import LABELS, PROBAS, ROWS, _rows
from tests.serving.running import ROOT

FACTS = LargeModelFacts("gpt-x", "zero-shot", ROWS, 30, 21.5, 420.4, 980.9, 4)
FIGURE = PublishedFigure(
    model="BERT <b>", dataset="d", metric="macro-recall", value=71.3, protocol="official split", source="Someone et al."
)


def _large(rows, right=1.0, name="large", seed=5, facts=FACTS):
    """Return the row and the predictions of a model that is right in this share, and has no label for each tenth."""
    rows = np.asarray(rows)
    generator = np.random.default_rng(seed)
    classes = np.where(generator.random(len(rows)) < right, LABELS[rows], (LABELS[rows] + 1) % 3)
    classes[::10] = NO_CLASS
    metrics = score_classes(LABELS[rows], classes, resamples=100)
    return LeaderboardRow(name, len(rows), metrics, large_model=facts), SampledClasses(rows, classes)


def _board(*large, figures=()):
    rows = [*_rows(), *(row for row, _ in large)]
    predictions = {**PROBAS, **{row.candidate: classes for row, classes in large}}
    board = build_leaderboard(rows, LABELS, predictions, dataset="d", published=figures, resamples=200)
    return board, predictions


def test_classes_are_scored_as_probabilities_are_but_for_calibration():
    expected = score(LABELS, PROBAS["good"], resamples=200)
    found = score_classes(LABELS, PROBAS["good"].argmax(axis=1), resamples=200)
    assert found == {name: estimate for name, estimate in expected.items() if name != "ece"}
    difference = paired_class_difference(LABELS, PROBAS["good"].argmax(1), PROBAS["plain"].argmax(1), resamples=200)
    assert difference == paired_difference(LABELS, PROBAS["good"], PROBAS["plain"], resamples=200)


def test_row_without_a_class_is_wrong_in_accuracy_recall_and_f1_and_takes_nothing_from_other_classes():
    labels = np.array([0, 0, 1, 1, 2, 2])
    found = {name: estimate.value for name, estimate in score_classes(labels, np.array([0, NO_CLASS, 1, 1, 2, 2])).items()}
    assert found["accuracy"] == pytest.approx(5 / 6) and found["macro_recall"] == pytest.approx((0.5 + 1 + 1) / 3)
    assert found["f1_negative"] == pytest.approx(2 / 3) and found["f1_neutral"] == found["f1_positive"] == 1
    nothing = score_classes(labels, np.full(6, NO_CLASS))
    assert nothing["accuracy"].value == nothing["macro_f1"].value == 0


def test_sample_is_compared_on_the_rows_that_both_predicted():
    sample = np.arange(0, ROWS, 3)
    row, classes = _large(sample, right=0.95)
    other = _large(np.arange(0, ROWS, 6), name="other", seed=9)
    board, _ = _board((row, classes), other)
    against = {one.candidate: one for one in board.rows}["large"].against
    mine, theirs = score_classes(LABELS[sample], classes.classes), score(LABELS[sample], PROBAS["plain"][sample], resamples=2)
    assert against["plain"].value == pytest.approx(mine["macro_recall"].value - theirs["macro_recall"].value)
    assert set(against) == {"plain", "good", "also good", "other"} and len(board.comparisons) == 10
    assert np.isfinite(against["other"].value), "two samples: the rows of both"
    good = {one.candidate: one for one in board.rows}["good"]
    assert good.against["plain"] == next(r for r in _board()[0].rows if r.candidate == "good").against["plain"]


def test_pages_show_price_latency_and_sample_and_invent_no_cost_or_probability(tmp_path):
    board, predictions = _board(_large(np.arange(0, ROWS, 3)), figures=(FIGURE,))
    files = write_leaderboard(board, tmp_path, labels=LABELS, probas=predictions)
    assert {"pareto.png", "confusion.png", "reliability.png", "published.json"} <= {path.name for path in files}
    text = (tmp_path / "leaderboard.md").read_text()
    line = next(line for line in text.splitlines() if line.startswith("| large (large model, 200 of 600 rows) |"))
    cells = [cell.strip() for cell in line.split("|")[1:-1]]
    assert cells[5:] == ["–", "–", "$21.50", "420 / 981 / –", "–", "–", "–", "–"]
    assert "| large | gpt-x | zero-shot | 200 of 600 | 30 (15.0%) | $21.50 | 420 / 981 | 4 |" in text
    page = (tmp_path / "leaderboard.html").read_text()
    assert 'large<span class="tag">large model, 200 of 600 rows</span>' in page
    for content, model in ((text, "BERT <b>"), (page, "BERT &lt;b&gt;")):
        after = content.split("Published, not measured here")[-1]
        assert model in after and "71.3" in after and "Someone et al." in after


def test_json_has_the_facts_and_reads_back_and_no_metric_that_needs_probabilities(tmp_path):
    board, predictions = _board(_large(np.arange(ROWS), facts=LargeModelFacts("m", "few-shot", ROWS, 60, None, 1.0, 2.0, 1)))
    write_leaderboard(board, tmp_path, labels=LABELS, probas=predictions)
    raw = json.loads((tmp_path / "leaderboard.json").read_text(), parse_constant=pytest.fail)
    assert [row["candidate"] for row in raw] == [row.candidate for row in board.rows]
    large = next(row for row in raw if row["candidate"] == "large")
    assert large["cost"] is None and "ece" not in large and large["reliability"] is None
    assert large["large_model"]["usd_per_million"] is None and set(METRICS) - set(large) == {"ece"}
    assert all(row["large_model"] is None for row in raw if row is not large)
    again = LeaderboardRow.from_dict(large)
    assert again.to_dict() == large and again.title == "large (large model)"
    assert LeaderboardRow.from_dict({k: v for k, v in large.items() if k != "large_model"}).large_model is None


def test_table_and_csv_have_price_and_latency_of_a_large_model():
    board, _ = _board(_large(np.arange(ROWS)))
    console = Console(width=130, record=True, file=io.StringIO())
    console.print(as_table(board.rows))
    line = next(line for line in console.export_text().splitlines() if line.startswith(" large"))
    assert re.search(r"–\s+–\s+21\.50\s+420\s+–\s+–\s*$", line), line
    by_name = {row["candidate"]: row for row in csv.DictReader(io.StringIO(as_csv(board.rows)))}
    assert by_name["large"]["usd_per_million"] == "21.5" and by_name["large"]["latency_p50_ms"] == "420.4"
    assert by_name["large"]["cpu_us_per_text"] == by_name["large"]["ece"] == ""
    assert float(by_name["good"]["usd_per_million"]) > 0


def test_published_figures_are_those_of_the_datasets_of_the_benchmark():
    tweets = published_figures({"tweeteval_sentiment", "mine"})
    assert {one.dataset for one in tweets} == {"tweeteval_sentiment"} and all(one.source for one in tweets)
    assert {"RoBERTa-base": 71.3, "BERTweet": 73.4}.items() <= {one.model: one.value for one in tweets}.items()
    assert [one.model for one in published_figures({"financial_phrasebank"})] == ["FinBERT", "FinBERT"]
    assert published_figures({"mine"}) == []


@pytest.mark.parametrize("figures", ["figures: [{model: x}]", "other: 1", "figures: [{}]"])
def test_malformed_published_figures_are_refused(tmp_path, monkeypatch, figures):
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "published.yaml").write_text(figures)
    monkeypatch.setattr(published, "project_root", lambda: tmp_path)
    with pytest.raises(SettingsError, match=r"published\.yaml"):
        published_figures({"x"})


def test_published_figures_name_known_datasets():
    from data.catalog import load_catalog
    from data.settings import read_yaml

    assert {one["dataset"] for one in read_yaml(ROOT / "configs" / "published.yaml")["figures"]} <= set(load_catalog())
