"""The three labels; the only module that defines their order."""

import math
import re
import unicodedata
from collections.abc import Mapping

from data.errors import ModelError

LABELS = ("negative", "neutral", "positive")
"""Class order everywhere: column 0 negative, 1 neutral, 2 positive."""

LABEL_IDS = {label: index for index, label in enumerate(LABELS)}

_MISSING = {"", "nan", "null", "<na>", "\\n"}
"""A missing value as pandas and databases write it to a text file."""
_WHOLE = re.compile(r"\+?(-?\d+)([.,]0*)?")


def label_key(value: object) -> str | None:
    """Return the text by which a label is compared, or None where it is missing (null, NaN, blank, as text too).

    Case, width, and spaces around and between words, do not count. `4.0` is `4`: whole numbers with a null among them become
    floats. The labels of datasets, of `score` and of raw records are compared by it.
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    text = " ".join(str(value).split()).casefold()
    if not text.isascii():  # full-width letters and digits, and the sign for minus
        text = unicodedata.normalize("NFKC", text).replace("\u2212", "-")
    whole = _WHOLE.fullmatch(text)
    key = whole[1] if whole else text
    return None if key in _MISSING else key


def own_label(value: object) -> str | None:
    """Return the one of `LABELS` that a value names, whatever its case and the spaces around it; else None."""
    key = label_key(value) if isinstance(value, str) else None
    return key if key in LABEL_IDS else None


_SARCASM = {
    **dict.fromkeys(("sarcastic", "sarcasm", "irony", "ironic", "true", "yes", "1"), True),
    **dict.fromkeys(("not_sarcastic", "non_sarcastic", "not sarcastic", "non_irony", "not_ironic", "false", "no", "0"), False),
}


SARCASTIC = 0.5
"""Least probability of a text that counts as sarcastic. The dashboard and the queries of messages have the same number."""


def states_sarcasm(value: object) -> bool | None:
    """Return whether a value, such as `sarcastic`, `non_irony` or `0`, states that a text is sarcastic; None: neither."""
    key = label_key(value)
    return None if key is None else _SARCASM.get(key)


_ALIASES = {
    "negative": "negative",
    "neg": "negative",
    "bearish": "negative",
    "neutral": "neutral",
    "neu": "neutral",
    "positive": "positive",
    "pos": "positive",
    "bullish": "positive",
}


def columns_in_label_order(model_name: str, id2label: Mapping[int, str]) -> list[int]:
    """Map each label to an output column of a model.

    Args:
        model_name: For the error message.
        id2label: The column names of the model, as in its `config.json`.

    Returns:
        Three column indices, in `LABELS` order: `logits[:, result]` has our order.

    Raises:
        ModelError: The labels of the model are not these three, under a known name each.
    """
    by_label = {_ALIASES.get(str(name).lower(), str(name).lower()): int(index) for index, name in id2label.items()}
    if set(by_label) != set(LABELS) or len(id2label) != len(LABELS):
        raise ModelError(
            f"The labels of model {model_name!r} cannot be mapped.",
            found=dict(id2label),
            expected=f"one column for each of {', '.join(LABELS)} (also neg/neu/pos, bearish/bullish)",
            remedy="Set id2label in the model's config.json to these names, or `labels` of its entry in configs/candidates.yaml.",
        )
    return [by_label[label] for label in LABELS]
