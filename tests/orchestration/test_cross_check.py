"""The benchmark compares its metrics with those of Hugging Face `evaluate` once."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest

from data.errors import ModelError
from orchestration.layout import Layout
from orchestration.steps import evaluation


@pytest.fixture
def checked(monkeypatch):
    """Names that were checked; the real check imports `evaluate`, which tests/evaluation/test_evaluate_metrics.py does."""
    names = []
    monkeypatch.setattr(evaluation, "_key", lambda layout, candidates: {"candidates": [c.name for c in candidates]})
    module = SimpleNamespace(cross_check=lambda name, *_: names.append(name) or {"accuracy": 1.0})
    monkeypatch.setitem(sys.modules, "evaluation.evaluate_metrics", module)
    return names


def check(layout, *names):
    candidates = [SimpleNamespace(name=name) for name in names]
    evaluation._cross_check(
        layout, candidates, {name: {} for name in names}, np.zeros(1), {name: np.zeros((1, 3)) for name in names}
    )


def test_each_candidate_is_checked_once_until_one_changes(tmp_path, checked):
    layout = Layout(tmp_path)
    check(layout, "vader", "minilm")
    check(layout, "vader", "minilm")
    assert checked == ["vader", "minilm"]
    check(layout, "vader", "minilm", "roberta")
    assert checked[2:] == ["vader", "minilm", "roberta"]


def test_a_difference_is_an_error_and_is_checked_again(tmp_path, checked, monkeypatch):
    def differ(name, *_):
        raise ModelError(f"Metrics of {name} disagree.")

    with monkeypatch.context() as patch:
        patch.setattr(sys.modules["evaluation.evaluate_metrics"], "cross_check", differ)
        with pytest.raises(ModelError, match="vader"):
            check(Layout(tmp_path), "vader")
    check(Layout(tmp_path), "vader")
    assert checked == ["vader"]
