"""Comparison of two models and the errors of one, from the predictions that the pipeline stores."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.labels import LABELS
from serving.service.panels.evaluated import FOLDER, Predicted, _differences, comparison, errors, evaluated_list
from serving.service.problems import Refused

INTERVAL = {"value": 0.5, "low": 0.4, "high": 0.6}


def part(name, rows, recall=0.5):
    return {"slice": name, "n": rows, "metrics": {"macro_recall": {**INTERVAL, "value": recall}}}


def write_predictions(var, name, predicted, *, labels, ids=None, slices=()):
    folder = var / FOLDER / name
    folder.mkdir(parents=True)
    ids = ids or [f"t{n}" for n in range(len(labels))]
    columns = {
        "ids": ids,
        "texts": [f"text {one}" for one in ids],
        "sources": ["tweets"] * len(ids),
        "labels": labels,
        "predicted": predicted,
        "confidence": [0.5 + 0.01 * n for n in range(len(ids))],
    }
    (folder / "predictions.json").write_text(json.dumps(columns))
    report = {"metrics": {"macro_recall": INTERVAL, "accuracy": INTERVAL}, "slices": list(slices)}
    (folder / "report.json").write_text(json.dumps(report))


@pytest.fixture
def var(tmp_path):
    labels = ["negative", "neutral", "positive", "neutral", "negative"]
    write_predictions(
        tmp_path,
        "old",
        ["negative", "negative", "positive", "positive", "neutral"],
        labels=labels,
        slices=[part("source=a", 40), part("domain=b", 40), part("emoji", 7)],
    )
    write_predictions(
        tmp_path,
        "bundle-new-1",
        ["negative", "neutral", "neutral", "negative", "neutral"],
        labels=labels,
        slices=[part("source=a", 40, 0.6), part("domain=b", 40, 0.6), part("emoji", 8)],
    )
    return tmp_path


def test_changes_are_counted_by_kind(var):
    found = comparison(var, "old", "bundle-new-1")
    assert (found.rows, found.changed, found.corrected, found.broken) == (5, 3, 1, 1)
    assert {each.text: each.change for each in found.examples} == {
        "text t1": "corrected",
        "text t2": "broken",
        "text t3": "wrong both times",
    }
    (accuracy,) = [each for each in found.measures if each.name == "accuracy"]
    assert accuracy.difference and accuracy.difference.value == 0.0


def test_only_slices_of_the_same_rows_are_compared_and_only_once(var):
    found = comparison(var, "old", "bundle-new-1").slices
    assert [(each.names, each.rows, each.left.value, each.right.value) for each in found] == [
        (["source=a", "domain=b"], 40, 0.5, 0.6)
    ]


def test_only_rows_that_both_predicted_are_compared(var):
    write_predictions(var, "other", ["neutral", "neutral"], labels=["neutral", "neutral"], ids=["t1", "elsewhere"])
    assert comparison(var, "old", "other").rows == 1
    write_predictions(var, "none", ["neutral"], labels=["neutral"], ids=["elsewhere"])
    found = comparison(var, "old", "none")
    assert found.rows == 0 and all(each.difference is None for each in found.measures)


def test_errors_of_a_cell_are_its_texts_by_confidence(var):
    found = errors(var, "bundle-new-1", "neutral", "negative")
    assert found.rows == 1 and [each.text for each in found.examples] == ["text t3"]
    assert [each.text for each in errors(var, "old", "negative", "negative").examples] == ["text t0"]


@pytest.mark.parametrize("name", [f"../{FOLDER}/old", "old/../old", "", "nosuch", "/etc", "*"])
def test_unknown_name_is_refused_and_never_used_as_a_path(var, name):
    with pytest.raises(Refused, match="bundle-new-1, old") as refused:
        errors(var, name, "neutral", "negative")
    assert refused.value.status == 404


def test_production_is_listed_first_and_an_empty_list_has_a_remedy(var, tmp_path_factory):
    found = evaluated_list(var, "new-1")
    assert [(each.name, each.title, each.in_production) for each in found.rows] == [
        ("bundle-new-1", "new-1", True),
        ("old", "old", False),
    ]
    assert "groundswell benchmark" in (evaluated_list(tmp_path_factory.mktemp("empty"), "new-1").missing or "")


def test_changed_evaluation_is_read_again(var):
    assert errors(var, "old", "neutral", "negative").rows == 1
    path = var / FOLDER / "old" / "predictions.json"
    columns = json.loads(path.read_text())
    path.write_text(json.dumps({**columns, "predicted": ["neutral"] * 5}))
    assert errors(var, "old", "neutral", "negative").rows == 0


@given(st.lists(st.tuples(st.sampled_from(LABELS), st.sampled_from(LABELS), st.sampled_from(LABELS)), min_size=1, max_size=60))
def test_differences_are_those_of_the_rows(rows):
    pairs = [
        (Predicted(f"{n}", "", "", true, old, 1.0), Predicted(f"{n}", "", "", true, new, 1.0))
        for n, (true, old, new) in enumerate(rows)
    ]
    found = _differences(pairs)
    true, old, new = (np.array(column) for column in zip(*rows, strict=True))
    assert found["accuracy"].value == pytest.approx(np.mean(new == true) - np.mean(old == true), abs=1e-6)
    recalls = [np.mean(new[true == label] == label) - np.mean(old[true == label] == label) for label in set(true)]
    assert found["macro_recall"].value == pytest.approx(np.mean(recalls), abs=1e-6)
    low, value, high = found["accuracy"].low, found["accuracy"].value, found["accuracy"].high
    assert low is not None and value is not None and high is not None and -1 <= low <= high <= 1
