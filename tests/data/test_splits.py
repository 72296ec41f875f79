import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from data.cleaning import normalise
from data.splits import REASONS, make_splits
from tests.make import labelled

COLUMNS = ["id", "text", "label", "sarcasm", "domain", "source", "split", "label_confidence", "created_at"]


def frame_of(*given_rows: tuple) -> pd.DataFrame:
    """Rows (id, text, label, split[, source])."""
    frame = pd.DataFrame([(*row, "mine")[:5] for row in given_rows], columns=["id", "text", "label", "split", "source"])
    return frame.assign(sarcasm=None, domain="tweets", label_confidence=None, created_at=None)[COLUMNS]


def removed(result) -> dict:
    return {row.id: (row.reason, row.because_of) for row in result.removed.itertuples()}


def test_each_reason():
    result = make_splits(
        frame_of(
            ("t", "the show was great tonight my friends and I", "positive", "test"),
            ("leak", "The show was GREAT tonight, my friends and I!", "positive", "train"),
            ("near", "the show was great tonight my friends and I think so too at last", "positive", "train"),
            ("a", "see you at noon", "neutral", "train"),
            ("repeat", "see you at noon @anna", "neutral", "train"),
            ("c1", "no idea what this is", "neutral", "train"),
            ("c2", "No idea what this is?", "negative", "train"),
            ("blank", " \u200b ", "neutral", "train"),
        )
    )
    assert removed(result) == {
        "leak": ("leak", "t"),
        "repeat": ("repeat", "a"),
        "c1": ("conflict", "c2"),
        "c2": ("conflict", "c1"),
        "blank": ("blank", ""),
    }
    assert result.counts["leak"] == 1 and result.counts["conflict"] == 2
    assert set(result.kept["id"]) == {"t", "near", "a"}


def test_a_near_repeat_of_a_judged_text_is_a_leak():
    long = "the quick brown fox jumps over the lazy dog near the old river bank while the farmer sleeps in his chair by the fire"
    result = make_splits(frame_of(("t", long, "neutral", "test"), ("n", long + " today", "neutral", "train")))
    assert removed(result) == {"n": ("near_leak", "t")}


def test_a_published_test_split_is_never_touched_and_its_repeats_are_counted():
    result = make_splits(
        frame_of(
            ("t1", "same words here", "positive", "test"),
            ("t2", "same words here", "negative", "test"),
            ("tr", "same words here", "positive", "train"),
        ),
        frozen_sets=frozenset({"mine"}),
    )
    assert set(result.kept["id"]) == {"t1", "t2"}
    assert result.counts["test_repeats_kept"] == 1
    assert removed(result) == {"tr": ("conflict", "t1")}


def test_a_leak_between_two_sets_is_found():
    result = make_splits(
        frame_of(
            ("a", "one text in two sets", "neutral", "test", "first"), ("b", "one text in two sets", "neutral", "train", "other")
        )
    )
    assert removed(result) == {"b": ("leak", "a")}


def test_blank_splits_are_filled_by_hash_and_new_rows_move_no_old_ones():
    frame = labelled(200)
    frame["split"] = ""
    whole = make_splits(frame).kept.set_index("id")["split"]
    half = make_splits(frame.iloc[::2]).kept.set_index("id")["split"]
    assert (whole.loc[half.index] == half).all()
    shares = whole.value_counts(normalize=True)
    assert abs(shares["test"] - 0.2) < 0.06 and abs(shares["val"] - 0.1) < 0.05


WORDS = st.sampled_from(["great", "Great!", "bad", "@a", "ok", "http://x.y", "the", "day", "was", ""])
ROWS = st.lists(
    st.tuples(
        st.lists(WORDS, max_size=7).map(" ".join), st.sampled_from(["negative", "neutral", "positive", None]),
        st.sampled_from(["train", "val", "test", ""]), st.sampled_from(["first", "other"]),
    ),
    min_size=1, max_size=25,
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(ROWS, st.randoms(use_true_random=False))
def test_every_row_once_no_leak_and_the_order_does_not_matter(raw, random):
    frame = frame_of(*((f"r{n}", text, label, split, source) for n, (text, label, split, source) in enumerate(raw)))
    result = make_splits(frame, frozen_sets=frozenset({"first"}))
    assert sorted([*result.kept["id"], *result.removed["id"]]) == sorted(frame["id"])
    assert set(result.removed["reason"]) <= set(REASONS)
    kept = result.kept.assign(key=[normalise(text) for text in result.kept["text"]])
    frozen = (kept["split"] == "test") & (kept["source"] == "first")
    for _, group in kept.groupby("key"):
        assert group["split"].nunique() == 1, "no text in two splits"
    for _, group in kept[~frozen].groupby("key"):
        assert len(group) == 1, "no text twice, but in a published test split"
    assert set(frame.loc[(frame["split"] == "test") & (frame["source"] == "first"), "id"]) <= set(kept["id"])
    order = list(range(len(frame)))
    random.shuffle(order)
    again = make_splits(frame.iloc[order], frozen_sets=frozenset({"first"}))
    assert sorted(again.kept["id"]) == sorted(result.kept["id"])
    assert removed(again) == removed(result)
