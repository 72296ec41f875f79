"""Whether a column can hold texts."""

from collections.abc import Collection, Sequence

from data.errors import MalformedData
from data.labels import label_key

MIN_ROWS, FEW = 50, 3
"""In at least `MIN_ROWS` rows, at most `FEW` different values of one word each are no texts."""


def require_texts(texts: Sequence[object], labels: Collection[str], where: str, fix: str) -> None:
    """Require that a column does not hold labels, as it does where columns are confused or shifted.

    Args:
        texts: Values of the column.
        labels: The labels of the file, as `label_key` writes them.
        where: The column and the file, for the error.
        fix: What to set.

    Raises:
        MalformedData: Most of the texts are labels, or the rows have the same few words.
    """
    keys = [key for text in texts if (key := label_key(text)) is not None]
    known = set(labels)
    named = sum(key in known for key in keys)
    values = sorted(set(keys))
    are_classes = len(keys) >= MIN_ROWS and len(values) <= FEW and not any(" " in value for value in values)
    if named > len(keys) / 2 or are_classes:
        shown = ", ".join(repr(value[:40]) for value in values[:FEW])
        raise MalformedData(
            f"{where} holds no texts.",
            found=f"{len(values):,} different values in {len(keys):,} rows, such as {shown}",
            expected="texts",
            remedy=fix,
        )
