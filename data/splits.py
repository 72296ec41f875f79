"""Splits: train, val and test without duplicates, leakage and label conflicts; removed rows are stored with the reason."""

import hashlib
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from data.cleaning import clean, normalize
from data.labeled_text import objects
from data.near_duplicates import near_pairs
from data.readable import MAX_TEXT_CHARS

if TYPE_CHECKING:
    import pandas as pd

VAL_SHARE, TEST_SHARE = 0.1, 0.2
"""Shares for a dataset without published splits."""

REASONS = {
    "blank": "the text is empty after cleaning",
    "long": f"the text has more than {MAX_TEXT_CHARS:,} characters",
    "conflict": "the same text has different labels",
    "repeat": "duplicate of a text in the same split",
    "leak": "duplicate of a text in an evaluation split",
    "near_conflict": "a near-duplicate has a different label",
    "near_repeat": "near-duplicate of a text in the same split",
    "near_leak": "near-duplicate of a text in an evaluation split",
}
_RANK = {"test": 0, "val": 1, "train": 2}
"""Priority of duplicates: a row for evaluation is kept before a row for training."""


@dataclass(frozen=True)
class SplitResult:
    """Rows in the columns of `LABELED_TEXT`; `removed` also has `reason` and `because_of` (the id of the row that is kept)."""

    kept: "pd.DataFrame"
    removed: "pd.DataFrame"
    counts: dict[str, int]
    """Removed rows by reason, and `test_repeats_kept`: duplicates inside published test splits, which stay as published."""


def split_of(normalized: str) -> str:
    """Return the split of a text by its hash: equal texts get the same split, and new rows do not move old ones."""
    share = int.from_bytes(hashlib.sha256(normalized.encode("utf-8", "surrogatepass")).digest()[:8], "big") / 2**64
    return "test" if share < TEST_SHARE else "val" if share < TEST_SHARE + VAL_SHARE else "train"


def make_splits(
    frame: "pd.DataFrame", *, frozen_datasets: frozenset[str] = frozenset(), guest_datasets: frozenset[str] = frozenset()
) -> SplitResult:
    """Assign splits, and remove duplicates, leakage and label conflicts, which would bias the evaluation.

    Args:
        frame: Rows of all datasets, columns of `LABELED_TEXT`; a blank `split` is filled by hash.
        frozen_datasets: Datasets with a published test split: none of its rows is removed, duplicates are only counted.
        guest_datasets: Datasets that API callers write to (feedback). Their rows are for training only. A guest row that
            duplicates another row or conflicts with it is removed: the other datasets are split as if there were no guests.

    Returns:
        Every row of `frame` once, either kept or removed. The result by id does not depend on the order of rows.
    """
    frame = frame.copy()
    keys = [normalize(text) for text in frame["text"].fillna("")]
    guests = frame["source"].isin(guest_datasets).tolist()
    frame["split"] = [
        "train" if guest else split or split_of(key)
        for guest, split, key in zip(guests, frame["split"].fillna(""), keys, strict=True)
    ]
    rows = _Rows(frame, keys, frozen_datasets, guests)
    rows.remove_unfit()
    rows.remove_equal()
    rows.remove_near()
    is_removed = [position in rows.removed for position in range(len(frame))]
    removed = frame[is_removed].copy()
    why = [rows.removed[position] for position in range(len(frame)) if is_removed[position]]
    removed["reason"] = [reason for reason, _ in why]
    removed["because_of"] = [kept_id for _, kept_id in why]
    counts = {reason: sum(r == reason for r, _ in why) for reason in REASONS}
    counts["test_repeats_kept"] = rows.test_repeats_kept
    kept = frame[[not one for one in is_removed]]
    return SplitResult(kept.reset_index(drop=True), removed.reset_index(drop=True), counts)


class _Rows:
    def __init__(self, frame: "pd.DataFrame", keys: list[str], frozen_datasets: frozenset[str], guests: list[bool]) -> None:
        self.keys = keys
        self.guests = guests
        self.ids = frame["id"].astype(str).tolist()
        self.splits = frame["split"].tolist()
        self.texts = frame["text"].fillna("").tolist()
        self.frozen = [
            split == "test" and source in frozen_datasets for split, source in zip(self.splits, frame["source"], strict=True)
        ]
        # A row without a sentiment label (irony datasets) conflicts with no other row.
        self.labels = [None if value is None else str(value) for value in objects(frame["label"])]
        self.order = sorted(
            range(len(keys)),
            key=lambda i: (guests[i], not self.frozen[i], _RANK.get(self.splits[i], 3), self.labels[i] is None, self.ids[i]),
        )
        """Priority of duplicates: frozen, then test, val, train, guests; then by id, so that the order of files has no effect."""
        self.removed: dict[int, tuple[str, str]] = {}
        self.test_repeats_kept = 0
        self._seen: set[str] = set()

    def remove_unfit(self) -> None:
        for row in self.order:
            if self.frozen[row]:
                continue
            if not clean(self.texts[row]):
                self.removed[row] = ("blank", "")
            elif len(self.texts[row]) > MAX_TEXT_CHARS:
                self.removed[row] = ("long", "")

    def remove_equal(self) -> None:
        groups: dict[str, list[int]] = defaultdict(list)
        for row in self.order:
            if row not in self.removed:
                groups[self.keys[row]].append(row)
        for group in groups.values():
            hosts = [row for row in group if not self.guests[row]]
            guests = [row for row in group if self.guests[row]]
            self._keep_one(hosts)
            if kept := [row for row in hosts if row not in self.removed]:
                for row in guests:
                    self._remove_duplicate(row, of=kept[0], conflict=self._conflict([row, *kept]))
            else:
                self._keep_one(guests)

    def _keep_one(self, group: list[int]) -> None:
        """Keep the first of rows with equal texts, or none if their labels conflict; frozen rows are always kept."""
        conflict = self._conflict(group)
        for row in group[1:]:
            if self.frozen[row]:
                self.test_repeats_kept += 1
            else:
                self._remove_duplicate(row, of=group[0], conflict=conflict)
        if conflict and not self.frozen[group[0]]:
            self.removed[group[0]] = ("conflict", self.ids[group[1]])

    def _conflict(self, rows: list[int]) -> bool:
        return len({self.labels[row] for row in rows if self.labels[row] is not None}) > 1

    def _remove_duplicate(self, row: int, *, of: int, conflict: bool) -> None:
        same_split = self.splits[row] == self.splits[of]
        self.removed[row] = ("conflict" if conflict else "repeat" if same_split else "leak", self.ids[of])

    def remove_near(self) -> None:
        rows = [row for row in self.order if row not in self.removed and not self._is_frozen_duplicate(row)]
        pairs = [(rows[first], rows[second]) for first, second in near_pairs([self.keys[row] for row in rows])]
        self._remove_near_conflicts(pairs)
        for other, row in pairs:
            if other in self.removed or row in self.removed:
                continue  # one of the pair is removed already
            if self.frozen[row]:
                self.test_repeats_kept += 1
            else:
                reason = "near_repeat" if self.splits[row] == self.splits[other] else "near_leak"
                self.removed[row] = (reason, self.ids[other])

    def _remove_near_conflicts(self, pairs: list[tuple[int, int]]) -> None:
        """Remove both rows of each pair whose labels differ: which of them is right is not known. Frozen rows are kept.

        Guests are compared with the hosts that are kept, so that they remove none; then with one another.
        """
        conflicts = [pair for pair in pairs if self._conflict(list(pair))]
        for guests in (0, 1, 2):
            left = [pair for pair in conflicts if not any(row in self.removed for row in pair)]
            both_ways = [one for pair in left if sum(self.guests[row] for row in pair) == guests for one in (pair, pair[::-1])]
            for row, other in both_ways:
                if not self.frozen[row] and (guests != 1 or self.guests[row]):
                    self.removed.setdefault(row, ("near_conflict", self.ids[other]))

    def _is_frozen_duplicate(self, row: int) -> bool:
        """Return whether an earlier frozen row has the same text: only the first of them is compared."""
        if not self.frozen[row]:
            return False
        if self.keys[row] in self._seen:
            return True
        self._seen.add(self.keys[row])
        return False
