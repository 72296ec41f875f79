"""Scores of companies are compared with known ones: correlation, and the order of two companies of one text."""

import numpy as np
import pandas as pd
import pytest

from data.targets import contrasts, mark_target
from evaluation.targets import TargetReport, report_targets, target_cells

SCORED = pd.DataFrame(
    {
        "text": ["A up, B down", "A up, B down", "C up", "D and E", "D and E"],
        "marked": ["target up, B down", "A up, target down", "target up", "target and E", "D and target"],
        "score": [0.8, -0.6, 0.5, 0.1, 0.1],
    }
)
MADE = {mark_target(row.text, row.target)[0]: row.label for row in contrasts("test")}


def predictor(scores, made=1.0):
    def predict(texts):
        known = dict(zip(SCORED["marked"], scores, strict=True))
        label = {"positive": made, "neutral": 0.0, "negative": -made}
        towards = np.array([known[text] if text in known else label[MADE[text]] for text in texts]) / 2
        return np.stack([0.5 - towards, np.zeros(len(texts)), 0.5 + towards], axis=1)

    return predict


def test_perfect_scores_have_a_correlation_of_one_and_every_pair_in_order():
    found = report_targets(SCORED, predictor(SCORED["score"]))
    assert found.n == 5 and found.correlation.value == pytest.approx(1)
    assert found.pairs == 1, "two companies with equal scores have no order"
    assert found.order is not None and found.order.value == 1
    assert found.made.value == 1
    assert TargetReport.from_dict(found.to_dict()).to_dict() == found.to_dict()


def test_opposite_scores_are_seen():
    found = report_targets(SCORED, predictor(-SCORED["score"], made=-1.0))
    assert found.correlation.value == pytest.approx(-1)
    assert found.order is not None and found.order.value == 0
    assert found.made.value == 0


def test_a_model_that_does_not_read_the_company_has_no_pair_in_order():
    found = report_targets(SCORED, predictor([0.5] * 5, made=0.0))
    assert found.correlation.value == 0, "constant"
    assert found.order is not None and found.order.value == 0
    assert found.made.value == 0


def test_interval_holds_the_correlation_and_is_narrower_with_more_rows():
    noise = np.random.default_rng(0).normal(0, 0.3, 5)
    few = report_targets(SCORED, predictor(SCORED["score"] + noise))
    many = pd.concat([SCORED] * 40, ignore_index=True)
    wide = report_targets(many, predictor(SCORED["score"] + noise))
    assert few.correlation.low <= few.correlation.value <= few.correlation.high
    assert wide.correlation.high - wide.correlation.low < few.correlation.high - few.correlation.low


def test_table_has_no_row_for_pairs_where_there_are_none():
    found = report_targets(SCORED.iloc[2:], predictor(SCORED["score"]))
    assert found.order is None
    assert [row[0] for row in target_cells(found)] == ["Correlation with the scores", "The same in made sentences, %"]
