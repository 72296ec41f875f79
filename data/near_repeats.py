"""Texts that are nearly the same: MinHash finds the pairs, exact Jaccard decides (Broder 1997; datasketch)."""

from collections.abc import Iterator, Sequence

SHINGLE = 2
"""Words a shingle holds; a tweet has few words, and pairs of words keep their order."""
MIN_WORDS = 5
"""Shorter texts are alike by chance: for them only exact repeats count."""
THRESHOLD = 0.85
"""Jaccard similarity of two sets of shingles from which they count as one text."""
_PERMUTATIONS = 64


def shingles(normalized: str) -> frozenset[str]:
    """Runs of `SHINGLE` words."""
    words = normalized.split()
    return frozenset(" ".join(words[i : i + SHINGLE]) for i in range(len(words) - SHINGLE + 1))


def near_pairs(normalized: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Pairs of positions, smaller first, whose texts are nearly the same.

    MinHash may miss a pair that only just reaches the threshold; it never invents one, since each is checked exactly.

    Args:
        normalized: Texts as `data.cleaning.normalize` gives them, each different.
    """
    from datasketch import MinHash, MinHashLSH

    long_enough = [index for index, text in enumerate(normalized) if text.count(" ") + 1 >= MIN_WORDS]
    sets = {index: shingles(normalized[index]) for index in long_enough}
    lsh = MinHashLSH(threshold=THRESHOLD, num_perm=_PERMUTATIONS)
    hashes = MinHash.generator(
        ([shingle.encode() for shingle in sets[index]] for index in long_enough), num_perm=_PERMUTATIONS, seed=1
    )
    for index, minhash in zip(long_enough, hashes, strict=True):
        mine = sets[index]
        for other in sorted(lsh.query(minhash)):  # type: ignore[type-var]
            theirs = sets[other]
            if len(mine & theirs) >= THRESHOLD * len(mine | theirs):
                yield other, index
        lsh.insert(index, minhash, check_duplication=False)
