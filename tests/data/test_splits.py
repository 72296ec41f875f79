import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from data.cleaning import normalize
from data.splits import REASONS, make_splits
from tests.make import labeled

COLUMNS = ["id", "text", "label", "sarcasm", "domain", "source", "split", "label_confidence", "created_at"]


def frame_of(*given_rows: tuple) -> pd.DataFrame:
    """Rows (id, text, label, split[, source])."""
    frame = pd.DataFrame([(*row, "mine")[:5] for row in given_rows], columns=["id", "text", "label", "split", "source"])
    return frame.assign(sarcasm=None, domain="tweets", label_confidence=None, created_at=None)[COLUMNS]


def removed(result) -> dict:
    return {row.id: (row.reason, row.because_of) for row in result.removed.itertuples()}


LONG = "the quick brown fox jumps over the lazy dog near the old river bank while the farmer sleeps in his chair by the fire"


def test_each_reason_removes_its_row():
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
            ("long", "word " * 2001, "neutral", "train"),
        )
    )
    assert removed(result) == {
        "leak": ("leak", "t"),
        "repeat": ("repeat", "a"),
        "c1": ("conflict", "c2"),
        "c2": ("conflict", "c1"),
        "blank": ("blank", ""),
        "long": ("long", ""),
    }
    assert result.counts["leak"] == 1 and result.counts["conflict"] == 2
    assert set(result.kept["id"]) == {"t", "near", "a"}


def test_a_near_duplicate_of_a_test_row_is_a_leak():
    result = make_splits(frame_of(("t", LONG, "neutral", "test"), ("n", LONG + " today", "neutral", "train")))
    assert removed(result) == {"n": ("near_leak", "t")}


def test_near_duplicates_with_different_labels_are_a_conflict_of_both():
    result = make_splits(
        frame_of(
            ("a", LONG, "neutral", "train"),
            ("b", LONG + " today", "negative", "test"),
            ("c", "so " + LONG, "neutral", "train"),
            ("n", LONG + " again", None, "train"),
        )
    )
    assert removed(result) == {
        "a": ("near_conflict", "b"),
        "b": ("near_conflict", "a"),
        "c": ("near_conflict", "b"),
    }
    assert result.counts["near_conflict"] == 3


def test_a_published_test_row_is_kept_in_a_near_conflict():
    result = make_splits(
        frame_of(("t", LONG, "neutral", "test"), ("n", LONG + " today", "negative", "train")), frozen_datasets=frozenset({"mine"})
    )
    assert removed(result) == {"n": ("near_conflict", "t")}


def test_a_published_test_split_keeps_its_rows_and_its_duplicates_are_counted():
    result = make_splits(
        frame_of(
            ("t1", "same words here", "positive", "test"),
            ("t2", "same words here", "negative", "test"),
            ("tr", "same words here", "positive", "train"),
        ),
        frozen_datasets=frozenset({"mine"}),
    )
    assert set(result.kept["id"]) == {"t1", "t2"}
    assert result.counts["test_repeats_kept"] == 1
    assert removed(result) == {"tr": ("conflict", "t1")}


def test_a_leak_between_two_datasets_is_removed():
    result = make_splits(
        frame_of(
            ("a", "one text in two datasets", "neutral", "test", "first"),
            ("b", "one text in two datasets", "neutral", "train", "other"),
        )
    )
    assert removed(result) == {"b": ("leak", "a")}


def test_blank_splits_are_filled_by_hash_and_new_rows_do_not_move_old_ones():
    frame = labeled(200)
    frame["split"] = ""
    whole = make_splits(frame).kept.set_index("id")["split"]
    half = make_splits(frame.iloc[::2]).kept.set_index("id")["split"]
    assert (whole.loc[half.index] == half).all()
    shares = whole.value_counts(normalize=True)
    assert abs(shares["test"] - 0.2) < 0.06 and abs(shares["val"] - 0.1) < 0.05


WORDS = st.sampled_from(["great", "Great!", "bad", "@a", "ok", "http://x.y", "the", "day", "was", ""])
ROWS = st.lists(
    st.tuples(
        st.lists(WORDS, max_size=7).map(" ".join),
        st.sampled_from(["negative", "neutral", "positive", None]),
        st.sampled_from(["train", "val", "test", ""]),
        st.sampled_from(["first", "other"]),
    ),
    min_size=1,
    max_size=25,
)


@settings(max_examples=150, deadline=None)
@given(ROWS, st.randoms(use_true_random=False))
def test_every_row_is_kept_or_removed_once_in_any_order_without_leaks(raw, random):
    frame = frame_of(*((f"r{n}", text, label, split, source) for n, (text, label, split, source) in enumerate(raw)))
    result = make_splits(frame, frozen_datasets=frozenset({"first"}))
    assert sorted([*result.kept["id"], *result.removed["id"]]) == sorted(frame["id"])
    assert set(result.removed["reason"]) <= set(REASONS)
    kept = result.kept.assign(key=[normalize(text) for text in result.kept["text"]])
    frozen = (kept["split"] == "test") & (kept["source"] == "first")
    for _, group in kept.groupby("key"):
        assert group["split"].nunique() == 1, "no text in two splits"
    for _, group in kept[~frozen].groupby("key"):
        assert len(group) == 1, "no text twice, but in a published test split"
    assert set(frame.loc[(frame["split"] == "test") & (frame["source"] == "first"), "id"]) <= set(kept["id"])
    order = list(range(len(frame)))
    random.shuffle(order)
    again = make_splits(frame.iloc[order], frozen_datasets=frozenset({"first"}))
    assert sorted(again.kept["id"]) == sorted(result.kept["id"])
    assert removed(again) == removed(result)


GUESTS = {"guest_datasets": frozenset({"feedback"})}


def test_a_guest_row_that_conflicts_with_or_duplicates_another_is_removed():
    frame = frame_of(
        ("train", "see you at noon", "neutral", "train"),
        ("val", "no idea what this is", "negative", "val"),
        ("test", "same words here", "positive", "test"),
        ("near", LONG, "neutral", "test"),
        ("f1", "See you at noon!", "negative", "", "feedback"),
        ("f2", "No idea what this is?", "negative", "", "feedback"),
        ("f3", "same words here", "positive", "test", "feedback"),
        ("f4", LONG + " today", "positive", "", "feedback"),
        ("f5", "a text of its own", "positive", "val", "feedback"),
        ("f6", "two callers disagree", "positive", "", "feedback"),
        ("f7", "two callers disagree", "negative", "", "feedback"),
        ("f8", "x" * 50_000, "negative", "", "feedback"),
    )
    result = make_splits(frame, **GUESTS)
    assert removed(result) == {
        "f1": ("conflict", "train"),
        "f2": ("leak", "val"),
        "f3": ("leak", "test"),
        "f4": ("near_conflict", "near"),
        "f6": ("conflict", "f7"),
        "f7": ("conflict", "f6"),
        "f8": ("long", ""),
    }
    assert result.kept.set_index("id")["split"]["f5"] == "train", "whatever split it came with"


def test_a_guest_row_may_settle_what_two_datasets_disagree_on():
    frame = frame_of(
        ("a", "see you at noon", "neutral", "train"),
        ("b", "see you at noon", "positive", "train"),
        ("f", "see you at noon", "positive", "", "feedback"),
    )
    assert set(make_splits(frame, **GUESTS).kept["id"]) == {"f"}


# Mutations of a few long sentences, so that equal, nearly equal and different texts all occur.
SENTENCES = st.builds(
    lambda start, end, shout: f"{LONG[start:]} {end}".upper() if shout else f"{LONG[start:]} {end}",
    st.sampled_from([0, 4, 60, 90]),
    st.sampled_from(["", "today", "and then some more words"]),
    st.booleans(),
)
TEXTS = st.one_of(st.lists(WORDS, max_size=7).map(" ".join), SENTENCES)
LABELS = st.sampled_from(["negative", "neutral", "positive", None])
SPLITS = st.sampled_from(["train", "val", "test", ""])
HOST_ROWS = st.lists(st.tuples(TEXTS, LABELS, SPLITS, st.sampled_from(["first", "other"])), min_size=1, max_size=20)
GUEST_ROWS = st.lists(st.tuples(TEXTS, LABELS, SPLITS, st.just("feedback")), max_size=20)


@settings(max_examples=200, deadline=None)
@given(HOST_ROWS, GUEST_ROWS)
def test_splits_of_other_datasets_are_the_same_with_and_without_guests(hosts, guests):
    def rows(prefix, content):
        return [(f"{prefix}{n}", text, label, split, source) for n, (text, label, split, source) in enumerate(content)]

    # Ids of guests sort before, between and behind those of the others.
    guest_rows = [(f"{'azr'[n % 3]}{row[0]}", *row[1:]) for n, row in enumerate(rows("f", guests))]
    alone = make_splits(frame_of(*rows("r", hosts)), frozen_datasets=frozenset({"first"}))
    mixed = make_splits(frame_of(*guest_rows, *rows("r", hosts)), frozen_datasets=frozenset({"first"}), **GUESTS)
    for part, reference in ((mixed.kept, alone.kept), (mixed.removed, alone.removed)):
        theirs = part[part["source"] != "feedback"].reset_index(drop=True)
        pd.testing.assert_frame_equal(theirs, reference.reset_index(drop=True), check_dtype=False)
    guest_kept = mixed.kept[mixed.kept["source"] == "feedback"]
    assert set(guest_kept["split"]) <= {"train"}
    others = {normalize(text) for text in mixed.kept.loc[mixed.kept["source"] != "feedback", "text"]}
    assert not others & {normalize(text) for text in guest_kept["text"]}
