"""Near-duplicates with opposite labels, and near-duplicates that MinHash misses.

acmi-lab/counterfactually-augmented-data#9 (36); ekzhu/datasketch#105, ekzhu/datasketch#200 (37).
"""

import pandas as pd
import pytest

from data.splits import make_splits
from tests.make import labeled

LONG = (
    "Dear support team I write about order {n} which I placed in March with your shop in Leeds and which arrived on Friday with "
    "the driver at about ten in the morning and after using it at home for the whole weekend I can only report that I am "
    "{feeling} with it and that is what I wanted to write before I write the public review number {n}"
)


def rows_of(*rows: tuple[str, str, str, str]) -> pd.DataFrame:
    """Return rows (id, text, label, split) in the columns of labeled text."""
    frame = labeled(len(rows)).head(len(rows)).copy()
    for index, name in enumerate(("id", "text", "label", "split")):
        frame[name] = [row[index] for row in rows]
    return frame


@pytest.mark.parametrize("splits", [("train", "train"), ("train", "test"), ("test", "val")])
def test_near_duplicates_with_opposite_labels_are_a_conflict_whatever_their_ids(splits):
    for ids in (("a", "b"), ("b", "a")):
        result = make_splits(
            rows_of(
                (ids[0], LONG.format(n=48213, feeling="delighted"), "positive", splits[0]),
                (ids[1], LONG.format(n=48213, feeling="disgusted"), "negative", splits[1]),
            )
        )
        assert result.counts["near_conflict"] == 2 and result.kept.empty
        assert dict(zip(result.removed["id"], result.removed["because_of"], strict=True)) == {"a": "b", "b": "a"}


@pytest.mark.parametrize("changed", range(40))
def test_no_near_duplicate_of_a_test_row_stays_in_train(changed):
    words = [f"word{n}" for n in range(40)]
    near = [*words[:changed], "other", *words[changed + 1 :]]
    result = make_splits(rows_of(("t", " ".join(words), "neutral", "test"), ("n", " ".join(near), "neutral", "train")))
    assert result.removed["reason"].tolist() == ["near_leak"]
