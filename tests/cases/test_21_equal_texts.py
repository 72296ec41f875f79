"""Two texts are equal only if a reader would call them equal, and texts with one model input always are.

huggingface/datatrove#218, joshuaswarren/remnic#2359
"""

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.catalog import load_catalog
from data.cleaning import clean, normalize
from data.feedback import FeedbackLabel, open_feedback
from data.settings import DataSettings
from data.sources import fetch
from data.splits import make_splits

DIFFERENT = [
    ("The new kiosk :)", "The new kiosk :("),
    ("My ferry today 😍", "My ferry today 😡"),
    ("Night bus: 👍", "Night bus: 👎"),
    ("ACME +5% after results", "ACME -5% after results"),
    ("ACME \u22125 today", "ACME 5 today"),
    ("I <3 this bus", "I </3 this bus"),
    ("done", "done :)"),
    ("1.5 km", "15 km"),
    ("1.5 km", "1 5 km"),
    ("5 stars", "5% stars"),
    ("$5", "€5"),
    ("की", "का"),
    ("หมา", "หมี"),
    ("C++", "C"),
    ("grade A+", "grade A"),
    ("a < b", "a > b"),
    ("★★★★★", "★"),
    ("so sad 😭", "so sad"),
]
EQUAL = [
    ("@anna So GOOD!!! https://a.example", "@ben so good www.c.example"),
    ("Well, done.", "well done"),
    ("cafe\u0301", "café"),
    ("ＧＯＯＤ 𝐧𝐞𝐰𝐬", "good news"),
    ("good\u00ad news\u200b", "good news"),
    ("sooooo good", "soooooooo good"),
    ("nice 👍🏽", "nice 👍🏿"),
    ("<p>so <b>good</b></p>", "so good"),
    ("fish &amp; chips", "fish & chips"),
]


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_texts_that_differ_to_a_reader_have_different_keys(one, other):
    assert normalize(one) != normalize(other)


@pytest.mark.parametrize(("one", "other"), EQUAL)
def test_texts_that_a_reader_calls_equal_have_one_key(one, other):
    assert normalize(one) == normalize(other)


@given(st.text(), st.text())
def test_texts_with_the_same_model_input_have_one_key(one, other):
    if clean(one) == clean(other):
        assert normalize(one) == normalize(other)
    assert normalize(clean(one)) == normalize(one)


def test_no_row_that_differs_in_a_sign_is_removed_as_a_conflict():
    rows = [
        (f"{index}{side}", text, label, "train") for index, pair in enumerate(DIFFERENT) for side, text, label in _sides(pair)
    ]
    frame = pd.DataFrame(rows, columns=["id", "text", "label", "split"])
    frame = frame.assign(source="mine", sarcasm=None, domain="tweets", label_confidence=None, created_at=None)
    frame = frame.drop_duplicates("text")
    assert make_splits(frame).removed.empty


def _sides(pair):
    return (("a", pair[0], "positive"), ("b", pair[1], "negative"))


@pytest.mark.parametrize("people", [("anna", "anna"), ("anna", "ben")])
def test_feedback_on_texts_that_differ_in_a_sign_is_two_labels_of_the_dataset(people, tmp_path, monkeypatch):
    monkeypatch.setenv("GROUNDSWELL_PATHS__VAR_DIR", str(tmp_path))
    store = open_feedback(tmp_path)
    for pair in DIFFERENT:
        for (_, text, label), by in zip(_sides(pair), people, strict=True):
            store.add(FeedbackLabel(text=text, label=label, by=by))
    given = {text: label for pair in DIFFERENT for _, text, label in _sides(pair)}
    frame = pd.read_parquet(fetch(load_catalog()["feedback"], DataSettings.load(), tmp_path / "raw").path)
    split = make_splits(frame, guest_datasets=frozenset({"feedback"}))
    assert split.removed.empty and dict(zip(split.kept["text"], split.kept["label"], strict=True)) == given
