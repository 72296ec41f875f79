"""Near-duplicate texts: MinHash proposes pairs, exact Jaccard similarity decides (Broder 1997; datasketch)."""

from collections.abc import Iterator, Sequence

SHINGLE = 2
"""Words per shingle. Two: a tweet has few words, and a pair of words still has their order."""
MIN_WORDS = 5
"""Shorter texts are similar by chance: for them only exact duplicates count."""
THRESHOLD = 0.85
"""Two texts are near-duplicates from this Jaccard similarity of their shingles on."""
_PERMUTATIONS = 64


def shingles(normalized: str) -> frozenset[str]:
    """Return all runs of `SHINGLE` words."""
    words = normalized.split()
    return frozenset(" ".join(words[i : i + SHINGLE]) for i in range(len(words) - SHINGLE + 1))


def near_pairs(normalized: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Yield pairs of positions, smaller first, whose texts are near-duplicates.

    MinHash may miss a pair near the threshold. There are no false pairs, since each is checked exactly.

    Args:
        normalized: Distinct texts, normalized by `data.cleaning.normalize`.
    """
    from datasketch import MinHash, MinHashLSH

    long_enough = [index for index, text in enumerate(normalized) if text.count(" ") + 1 >= MIN_WORDS]
    by_index = {index: shingles(normalized[index]) for index in long_enough}
    lsh = MinHashLSH(threshold=THRESHOLD, num_perm=_PERMUTATIONS)
    hashes = MinHash.generator(
        ([shingle.encode() for shingle in by_index[index]] for index in long_enough), num_perm=_PERMUTATIONS, seed=1
    )
    for index, minhash in zip(long_enough, hashes, strict=True):
        shingles_here = by_index[index]
        for other in sorted(lsh.query(minhash)):  # type: ignore[type-var]
            shared = len(shingles_here & by_index[other])
            if shared >= THRESHOLD * len(shingles_here | by_index[other]):
                yield other, index
        lsh.insert(index, minhash, check_duplication=False)
