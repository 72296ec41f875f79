"""Texts that never repeat, and a trace in which some do."""

import random
from collections.abc import Sequence

from orchestration.layout import Layout

_FIRST = 100_000
"""Every counter has six digits, so that twins have the same length."""


class Texts:
    """An endless supply of texts. Each is a tweet and a counter, so that no cache holds its prediction."""

    def __init__(self, tweets: Sequence[str]) -> None:
        self._tweets = list(tweets)
        self._next = 0

    def take(self, count: int) -> list[str]:
        """Return `count` new texts."""
        numbers = range(self._next, self._next + count)
        self._next += count
        return [f"{self._tweets[number % len(self._tweets)]} {_FIRST + number}" for number in numbers]

    def twins(self, texts: Sequence[str]) -> list[str]:
        """Return the tweets of these texts with new counters: the same lengths, and new to every cache."""
        start = self._next + _FIRST
        self._next += len(texts)
        return [f"{text.rpartition(' ')[0]} {start + index}" for index, text in enumerate(texts)]


def read_tweets(layout: Layout) -> list[str]:
    """Return the official test tweets, or the project's sample without them."""
    from orchestration.steps.data import build_splits, fetch_datasets, primary_texts

    if not (layout.splits / "texts.parquet").is_file():
        build_splits(layout, fetch_datasets(layout))
    return primary_texts(layout, "test")["text"].tolist()


def repeating_trace(count: int, share: float, seed: int) -> list[int]:
    """Return a trace of `count` places in which exactly that share repeats an earlier place.

    Returns:
        For each place, the first place with the same text: its own number if the text is new.
    """
    rng = random.Random(seed)
    again = set(rng.sample(range(1, count), round(share * count)))
    first: list[int] = []
    for place in range(count):
        first.append(first[rng.randrange(place)] if place in again else place)
    return first
