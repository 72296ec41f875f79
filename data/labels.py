"""The three labels; the only module that defines their order."""

from collections.abc import Mapping

from data.errors import ModelError

LABELS = ("negative", "neutral", "positive")
"""Class order everywhere: column 0 negative, 1 neutral, 2 positive."""

LABEL_IDS = {label: index for index, label in enumerate(LABELS)}

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
            remedy="Set id2label in the model's config.json to these names.",
        )
    return [by_label[label] for label in LABELS]
