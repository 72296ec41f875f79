"""Near-duplicates are found whatever their similarity above the threshold: `near_pairs` against all pairs."""

import itertools
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.near_duplicates import MIN_WORDS, THRESHOLD, near_pairs, shingles

WORD = st.sampled_from(["the", "a", "flight", "was", "late", "again", "and", "crew", "bag", "lost", "great"])
# Texts that share most of their words, so that many pairs are near the threshold.
TEXTS = st.lists(
    st.builds(
        lambda start, end, more: " ".join(
            ("one two three four five six seven eight nine ten " * 4).split()[start : 40 - end] + more
        ),
        st.integers(0, 4),
        st.integers(0, 4),
        st.lists(WORD, max_size=6),
    )
    | st.lists(WORD, max_size=9).map(" ".join),
    max_size=14,
    unique=True,
)


def all_pairs(texts):
    """Return the pairs by comparing each text with each other one."""
    parts = [shingles(text) if len(text.split()) >= MIN_WORDS else frozenset() for text in texts]
    return [
        (i, j)
        for i, j in itertools.combinations(range(len(texts)), 2)
        if parts[i] and parts[j] and 100 * len(parts[i] & parts[j]) >= round(100 * THRESHOLD) * len(parts[i] | parts[j])
    ]


@settings(max_examples=300, deadline=None)
@given(TEXTS)
def test_every_pair_is_found(texts):
    assert sorted(near_pairs(texts)) == all_pairs(texts)


@pytest.mark.parametrize(("words", "is_changed"), [(30, True), (45, True), (60, True), (100, True), (60, False)])
def test_pairs_at_each_similarity_are_found(words, is_changed):
    draw = random.Random(words)
    vocabulary = [f"w{n}" for n in range(5000)]
    texts = []
    for number in range(100):
        text = [draw.choice(vocabulary) for _ in range(words)]
        near = [*text, f"end{number}"]
        if is_changed:
            near = [*text[: words // 2], f"new{number}", *text[words // 2 + 1 :]]
        texts += [" ".join(text), " ".join(near)]
    assert set(near_pairs(texts)) >= {(2 * n, 2 * n + 1) for n in range(100)}
