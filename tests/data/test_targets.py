"""Marked companies: every mention of the one, none of the others; made sentences that teach which one is meant."""

import re
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.labels import LABELS
from data.targets import CONTRASTS, MARK, MAX_MENTIONS, contrasts, mark_target


@pytest.mark.parametrize(
    ("text", "target", "marked"),
    [
        ("$AAPL falls, MSFT rises", "AAPL", "target falls, MSFT rises"),
        ("$AAPL falls, MSFT rises", "$msft", "$AAPL falls, target rises"),
        ("Royal Mail's profit; royal mail up", "Royal Mail", "target's profit; target up"),
        ("Glencore to sell", "Glencore plc", "target to sell"),
        ("#Tesla and @Tesla", "Tesla", "target and target"),
        ("F beats, FORD falls", "F", "target beats, FORD falls"),
        ("a (C++) day", "C++", "a (target) day"),
    ],
)
def test_each_mention_is_marked_and_nothing_else(text, target, marked):
    assert mark_target(text, target) == (marked, True)


@pytest.mark.parametrize("target", ["Tesla", "AA", "$", " ", "", "Al of Al"])
def test_text_that_does_not_name_the_company_is_marked_in_front(target):
    assert mark_target("AAPL falls at last", target) == ("target: AAPL falls at last", False)


def test_a_short_name_makes_a_long_text_little_longer():
    text = "a " * 50_000
    marked, mentioned = mark_target(text, "a")
    assert mentioned and len(marked) == len(text) + MAX_MENTIONS * (len(MARK) - 1)


@given(st.text(max_size=200), st.text(min_size=1, max_size=20))
def test_any_text_and_any_name_can_be_marked_and_what_is_around_mentions_stays(text, target):
    marked, mentioned = mark_target(text, target)
    assert MARK in marked
    assert mentioned or marked == f"{MARK}: {text}"


def test_made_sentences_have_two_companies_with_different_news_and_are_always_the_same():
    train, test = contrasts("train"), contrasts("test")
    assert [len(train), len(test)] == [2 * CONTRASTS["train"], 2 * CONTRASTS["test"]]
    assert train == contrasts("train")
    for first, second in zip(train[0::2], train[1::2], strict=True):
        assert first.text == second.text
        assert first.target != second.target
        assert LABELS.index(first.label) > LABELS.index(second.label), "the better news first"
        assert mark_target(*first[:2])[0] != mark_target(*second[:2])[0]
    counts = Counter(row.label for row in train)
    assert min(counts.values()) > 60
    words = [{word for row in rows for word in re.findall(r"\$?\w+", row.target)} for rows in (train, test)]
    assert not words[0] & words[1], "names of the test were never learned from"
