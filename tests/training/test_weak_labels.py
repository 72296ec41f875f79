"""Rows that label sarcasm only get a label of the lexicon where it is sure."""

import pandas as pd

from training.finetune import _learnable
from training.heads import LEAST_ROWS
from training.weak_labels import label_plain_rows


def rows(*given):
    frame = pd.DataFrame(given, columns=["text", "label", "sarcasm", "sarcasm_only"])
    return frame.assign(sarcasm=frame["sarcasm"].astype("boolean"))


def test_only_rows_that_are_not_sarcastic_and_have_no_label_get_one():
    frame = rows(
        ("I love this, it is wonderful and great!", None, False, False),
        ("I hate this, it is horrible and awful!", None, False, False),
        ("The meeting is on Tuesday.", None, False, False),
        ("I like it.", None, False, False),  # positive, but not sure
        ("I love this, it is wonderful and great!", None, True, False),  # sarcastic
        ("I love this, it is wonderful and great!", None, False, True),  # of a dataset for sarcasm only
        ("I love this, it is wonderful and great!", "negative", pd.NA, False),
        ("I love this, it is wonderful and great!", "negative", False, False),
    )
    found = label_plain_rows(frame)
    assert found["label"].fillna("").tolist() == ["positive", "negative", "neutral", "", "", "", "negative", "negative"]
    assert frame["label"].notna().sum() == 2, "the rows that were given are unchanged"
    assert label_plain_rows(frame.drop(columns=["sarcasm_only"]))["label"].fillna("").tolist()[5] == "positive"


def test_rows_without_sarcasm_stay_as_they_are():
    frame = pd.DataFrame({"text": ["I love it, wonderful!"], "label": [None]})
    assert label_plain_rows(frame) is frame


def test_fine_tuning_learns_from_them():
    labeled = pd.DataFrame({"text": ["a", "b", "c"], "label": ["negative", "neutral", "positive"], "sarcasm": pd.NA})
    plain = pd.DataFrame({"text": "I love this, wonderful and great!", "label": None, "sarcasm": [False, True] * LEAST_ROWS})
    frame = pd.concat([labeled, plain], ignore_index=True).astype({"sarcasm": "boolean"})
    assert _learnable(frame)["label"].eq("positive").sum() == 1 + LEAST_ROWS
