"""The sentences of a paragraph, by the library sentencex of Wikimedia."""

from collections.abc import Iterator
from functools import cache
from typing import Any

MAX_CHARS = 20_000
"""A longer paragraph is cut at a space first: the library's time may grow with the square of the length."""


def sentences_of(paragraph: str, language: str) -> Iterator[str]:
    """Yield the sentences that have a letter.

    Args:
        paragraph: One line.
        language: Code of ISO 639-1; one that the library does not know is split by the rules of another.
    """
    for part in _parts(paragraph):
        for sentence in _segment()(language, part):
            if any(char.isalpha() for char in sentence):
                yield sentence.strip()


def _parts(paragraph: str) -> Iterator[str]:
    start = 0
    while len(paragraph) - start > MAX_CHARS:
        end = paragraph.rfind(" ", start, start + MAX_CHARS) + 1
        end = end if end > start else start + MAX_CHARS
        yield paragraph[start:end]
        start = end
    yield paragraph[start:]


@cache
def _segment() -> Any:
    import sentencex

    library: Any = sentencex  # it has no types
    return library.segment
