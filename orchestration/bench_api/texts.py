"""Tweets that never come twice, and a trace where some do."""

import random
from collections.abc import Sequence

from orchestration.layout import Layout

_FIRST = 100_000
"""So that every counter has six digits, and twins the same length."""


class Texts:
    """An endless supply: each text is a tweet and a counter, so that no cache has its answer."""

    def __init__(self, tweets: Sequence[str]) -> None:
        self._tweets = list(tweets)
        self._next = 0

    def take(self, count: int) -> list[str]:
        """So many new texts."""
        numbers = range(self._next, self._next + count)
        self._next += count
        return [f"{self._tweets[number % len(self._tweets)]} {_FIRST + number}" for number in numbers]

    def twins(self, texts: Sequence[str]) -> list[str]:
        """The tweets of these texts again, each with a new counter: as long, and new to every cache."""
        start = self._next + _FIRST
        self._next += len(texts)
        return [f"{text.rpartition(' ')[0]} {start + index}" for index, text in enumerate(texts)]


def read_tweets(layout: Layout) -> list[str]:
    """The official test tweets, or the project's sample where there are no others."""
    from orchestration.bench import primary_texts
    from orchestration.steps.data import build_splits, fetch_sets

    if not (layout.splits / "texts.parquet").is_file():
        build_splits(layout, fetch_sets(layout))
    return primary_texts(layout, "test")["text"].tolist()


def repeating_trace(count: int, share: float, seed: int) -> list[int]:
    """A trace of `count` places in which exactly that share repeats an earlier place.

    Returns:
        For each place the first place that has its text: its own number where the text is new.
    """
    chance = random.Random(seed)
    again = set(chance.sample(range(1, count), round(share * count)))
    first: list[int] = []
    for place in range(count):
        first.append(first[chance.randrange(place)] if place in again else place)
    return first
