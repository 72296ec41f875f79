import numpy as np
import pandas as pd
import pytest

from data.errors import DataError
from evaluation.slices import SliceRow, label_ids, slice_masks, slice_report, weakest


def _frame(texts, labels=None, **columns):
    rows = len(texts)
    base = {
        "text": texts,
        "label": labels or ["neutral"] * rows,
        "source": ["tweeteval_sentiment"] * rows,
        "domain": ["tweets"] * rows,
        "label_confidence": [None] * rows,
    }
    return pd.DataFrame(base | columns)


@pytest.mark.parametrize(
    ("text", "slices"),
    [
        ("I can't wait", {"negation"}),
        ("i cant wait", {"negation"}),
        ("I can’t wait", {"negation"}),
        ("hardly any space without a fee", {"negation"}),
        ("a notable knot, nonetheless", set()),
        ("Annotate the note", set()),
        ("good 😀", {"emoji"}),
        ("so good :)", set()),
        ("price in € and ½", set()),
        ("love #SuperBowl", {"hashtag"}),
        ("we are #1", set()),
        ("it&#39;s fine", set()),  # an entity, not a tag
        ("see https://example.org/#top?x=1", set()),
        ("really?", {"question"}),
        ("why no emoji? #fail 😡", {"negation", "emoji", "hashtag", "question"}),
        ("caf\\u00e9 \\ud83d\\ude00", {"emoji"}),  # escapes, as in some datasets
    ],
)
def test_slices_of_a_text(text, slices):
    found = slice_masks(_frame([text]))
    assert {name for name in found if "=" not in name} == slices


def test_lengths_sources_domains_and_uncertain_labels_partition_the_rows():
    frame = _frame(
        ["one two", " ".join(["w"] * 10), " ".join(["w"] * 11), " ".join(["w"] * 21)],
        source=["a", "a", "b", "b"],
        domain=["tweets", "support", "support", "news"],
        label_confidence=[0.69, 0.7, None, 1.0],
    )
    masks = slice_masks(frame)
    assert masks["length=short"].tolist() == [True, True, False, False]
    assert masks["length=medium"].tolist() == [False, False, True, False]
    assert masks["length=long"].tolist() == [False, False, False, True]
    assert masks["source=a"].tolist() == [True, True, False, False]
    assert masks["domain=support"].tolist() == [False, True, True, False]
    assert masks["uncertain labels"].tolist() == [True, False, False, False]
    for kind in ("length=", "source=", "domain="):
        assert sum(mask.astype(int) for name, mask in masks.items() if name.startswith(kind)).tolist() == [1, 1, 1, 1]


def test_a_slice_has_its_own_metrics_and_a_small_one_has_none():
    texts = ["fine day"] * 60 + ["not a fine day"] * 40 + ["wow 🎉"] * 5
    labels = ["positive", "negative"] * 30 + ["negative", "neutral"] * 20 + ["positive"] * 5
    frame = _frame(texts, labels)
    ids = label_ids(frame)
    predicted = ids.copy()
    predicted[60:100] = 2  # every negated text is predicted wrong
    rows = {row.slice: row for row in slice_report(frame, np.eye(3)[predicted], resamples=100)}
    assert rows["negation"].n == 40
    assert rows["negation"].metrics["macro_recall"].value == 0.0
    assert rows["negation"].classes == ("negative", "neutral")
    assert rows["emoji"].n == 5 and rows["emoji"].metrics == {}
    assert rows["length=short"].metrics["accuracy"].value == pytest.approx(65 / 105)
    worst = weakest(list(rows.values()))
    assert worst is not None and worst.slice == "negation"
    assert SliceRow.from_dict(rows["emoji"].to_dict()) == rows["emoji"]


def test_a_two_class_dataset_is_averaged_over_its_classes_and_neutral_predictions_are_wrong():
    frame = _frame(["x"] * 40, ["negative"] * 20 + ["positive"] * 20)
    predicted = np.array([0] * 20 + [2] * 10 + [1] * 10)
    row = next(row for row in slice_report(frame, np.eye(3)[predicted], resamples=100) if row.slice == "domain=tweets")
    assert row.metrics["macro_recall"].value == pytest.approx((1.0 + 0.5) / 2)
    assert row.classes == ("negative", "positive")


def test_rows_without_a_sentiment_label_are_ignored():
    frame = _frame(["x"] * 40, ["negative"] * 30 + [None] * 10, source=["a"] * 30 + ["irony"] * 10)
    rows = {row.slice: row for row in slice_report(frame, np.eye(3)[[0] * 40], resamples=100)}
    assert rows["source=a"].n == 30 and rows["domain=tweets"].n == 30 and "source=irony" not in rows


def test_an_unknown_label_is_named():
    with pytest.raises(DataError, match="'mixed'"):
        slice_report(_frame(["x"], ["mixed"]), np.eye(3)[[0]])
