"""Near-duplicate texts: all pairs whose shingles have a Jaccard similarity of at least `THRESHOLD`."""

import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

SHINGLE = 2
"""Words per shingle. Two: a tweet has few words, and a pair of words still has their order."""
MIN_WORDS = 5
"""Shorter texts are similar by chance: for them only exact duplicates count."""
THRESHOLD = 0.85
"""Two texts are near-duplicates from this Jaccard similarity of their shingles on."""


def shingles(normalized: str) -> frozenset[str]:
    """Return all runs of `SHINGLE` words."""
    words = normalized.split()
    return frozenset(" ".join(words[i : i + SHINGLE]) for i in range(len(words) - SHINGLE + 1))


def near_pairs(normalized: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Yield all pairs of positions, smaller first, whose texts are near-duplicates.

    Exact, by prefix filtering (Bayardo, Ma and Srikant 2007): with the shingles of each text in one order, two texts of
    similarity t share one of the first n - ceil(t * n) + 1 of the n shingles of each. In the order from the rarest on, few other
    texts do.

    Args:
        normalized: Distinct texts, normalized by `data.cleaning.normalize`.
    """
    by_index = {
        index: whole for index, text in enumerate(normalized) if text.count(" ") + 1 >= MIN_WORDS and (whole := shingles(text))
    }
    frequency = Counter(shingle for whole in by_index.values() for shingle in whole)
    by_shingle: dict[str, list[int]] = defaultdict(list)
    for index, whole in by_index.items():
        size = len(whole)
        first = sorted(whole, key=lambda shingle: (frequency[shingle], shingle))[: _prefix(size)]
        candidates = {other for shingle in first for other in by_shingle[shingle]}
        for other in sorted(candidates):
            theirs = by_index[other]
            if min(size, len(theirs)) < THRESHOLD * max(size, len(theirs)):
                continue  # their sizes differ too much
            shared = len(whole & theirs)
            if shared >= THRESHOLD * (size + len(theirs) - shared):
                yield other, index
        for shingle in first:
            by_shingle[shingle].append(index)


def _prefix(size: int) -> int:
    """Return how many of the rarest shingles of a text are looked up: one of them is shared by any near-duplicate."""
    return size - math.ceil(THRESHOLD * size - 1e-9) + 1  # 0.85 * 20 is 17, whatever the float is
