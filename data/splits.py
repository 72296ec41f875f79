"""Checked rows to train, val and test, without duplicates, leakage and label conflicts; removed rows are kept with the reason."""

import hashlib
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from data.cleaning import clean, normalize
from data.near_repeats import near_pairs
from data.readable import MAX_TEXT_CHARS

if TYPE_CHECKING:
    import pandas as pd

VAL_SHARE, TEST_SHARE = 0.1, 0.2
"""Shares of a set that comes without splits."""

REASONS = {
    "blank": "nothing is left of the text after cleaning",
    "long": f"the text has more than {MAX_TEXT_CHARS:,} characters",
    "conflict": "the same text carries different labels",
    "repeat": "the same text stands in the same split already",
    "leak": "the same text stands in a split that is judged",
    "near_repeat": "nearly the same text stands in the same split already",
    "near_leak": "nearly the same text stands in a split that is judged",
}
_RANK = {"test": 0, "val": 1, "train": 2}
"""Which copy stays: what is judged goes before what is learnt from."""


@dataclass(frozen=True)
class SplitResult:
    """Rows in the columns of `LABELLED_TEXT`; `removed` has `reason` and `because_of` (the id that stays) behind them."""

    kept: "pd.DataFrame"
    removed: "pd.DataFrame"
    counts: dict[str, int]
    """Removed rows by reason, and `test_repeats_kept`: repeats inside official test splits, which are left as published."""


def split_of(normalized: str) -> str:
    """The split of a text by its hash alone: equal texts land in one split, and new rows move no old ones."""
    share = int.from_bytes(hashlib.sha256(normalized.encode("utf-8", "surrogatepass")).digest()[:8], "big") / 2**64
    return "test" if share < TEST_SHARE else "val" if share < TEST_SHARE + VAL_SHARE else "train"


def make_splits(
    frame: "pd.DataFrame", *, frozen_sets: frozenset[str] = frozenset(), guest_sets: frozenset[str] = frozenset()
) -> SplitResult:
    """Assign splits and remove what would make the evaluation dishonest.

    Args:
        frame: Rows of all datasets, columns of `LABELLED_TEXT`; a blank `split` is filled by hash.
        frozen_sets: Datasets whose test split is the published one: no row of it is removed, its duplicates are counted only.
        guest_sets: Datasets that anybody may write to (feedback). Their rows are for training only, and a guest row that
            duplicates or contradicts another goes itself: the rows of the other datasets are split as if there were no guests.

    Returns:
        Every row of `frame` once, either kept or removed. The same rows in another order give the same result by id.
    """
    frame = frame.copy()
    keys = [normalize(text) for text in frame["text"].fillna("")]
    guests = frame["source"].isin(guest_sets).tolist()
    frame["split"] = [
        "train" if guest else split or split_of(key)
        for guest, split, key in zip(guests, frame["split"].fillna(""), keys, strict=True)
    ]
    rows = _Rows(frame, keys, frozen_sets, guests)
    rows.remove_unfit()
    rows.remove_equal()
    rows.remove_near()
    gone = [position in rows.removed for position in range(len(frame))]
    removed = frame[gone].copy()
    why = [rows.removed[position] for position in range(len(frame)) if gone[position]]
    removed["reason"] = [reason for reason, _ in why]
    removed["because_of"] = [stays for _, stays in why]
    counts = {reason: sum(r == reason for r, _ in why) for reason in REASONS}
    counts["test_repeats_kept"] = rows.test_repeats_kept
    kept = frame[[not is_gone for is_gone in gone]]
    return SplitResult(kept.reset_index(drop=True), removed.reset_index(drop=True), counts)


class _Rows:
    def __init__(self, frame: "pd.DataFrame", keys: list[str], frozen_sets: frozenset[str], guests: list[bool]) -> None:
        self.keys = keys
        self.guests = guests
        self.ids = frame["id"].astype(str).tolist()
        self.splits = frame["split"].tolist()
        self.texts = frame["text"].fillna("").tolist()
        self.frozen = [
            split == "test" and source in frozen_sets for split, source in zip(self.splits, frame["source"], strict=True)
        ]
        # A row that says nothing of sentiment (irony sets) conflicts with nobody.
        self.labels = [None if value is None else str(value) for value in _objects(frame["label"])]
        self.order = sorted(
            range(len(keys)),
            key=lambda i: (guests[i], not self.frozen[i], _RANK.get(self.splits[i], 3), self.labels[i] is None, self.ids[i]),
        )
        """Which copy stays: frozen rows first, then test, val, train, guests; by id, so that the order of files is irrelevant."""
        self.removed: dict[int, tuple[str, str]] = {}
        self.test_repeats_kept = 0

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
                    self._remove_duplicate(row, of=kept[0], conflict=self._contradict([row, *kept]))
            else:
                self._keep_one(guests)

    def _keep_one(self, group: list[int]) -> None:
        """Of rows with equal texts keep the first, or none where their labels contradict each other; and the frozen ones."""
        conflict = self._contradict(group)
        for row in group[1:]:
            if self.frozen[row]:
                self.test_repeats_kept += 1
            else:
                self._remove_duplicate(row, of=group[0], conflict=conflict)
        if conflict and not self.frozen[group[0]]:
            self.removed[group[0]] = ("conflict", self.ids[group[1]])

    def _contradict(self, rows: list[int]) -> bool:
        return len({self.labels[row] for row in rows if self.labels[row] is not None}) > 1

    def _remove_duplicate(self, row: int, *, of: int, conflict: bool) -> None:
        same_split = self.splits[row] == self.splits[of]
        self.removed[row] = ("conflict" if conflict else "repeat" if same_split else "leak", self.ids[of])

    def remove_near(self) -> None:
        left = [row for row in self.order if row not in self.removed and not self._repeated_frozen(row)]
        for stays, goes in near_pairs([self.keys[row] for row in left]):
            row, other = left[goes], left[stays]
            if other in self.removed or row in self.removed:
                continue  # what it resembles is itself gone
            if self.frozen[row]:
                self.test_repeats_kept += 1
            else:
                reason = "near_repeat" if self.splits[row] == self.splits[other] else "near_leak"
                self.removed[row] = (reason, self.ids[other])

    def _repeated_frozen(self, row: int) -> bool:
        """A frozen row whose text another frozen row has too: one of them stands for both."""
        if not self.frozen[row]:
            return False
        if not hasattr(self, "_seen"):
            self._seen: set[str] = set()
        if self.keys[row] in self._seen:
            return True
        self._seen.add(self.keys[row])
        return False


def _objects(column: "pd.Series") -> list:
    return column.astype(object).where(column.notna(), None).tolist()  # type: ignore[arg-type]
