"""The three labels, and the only place that fixes their order."""

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
    """Say which output column of a model holds each label.

    Args:
        model_name: Named in the error.
        id2label: The model's own column names, as in its `config.json`.

    Returns:
        Three column indices, in `LABELS` order: `logits[:, result]` has our order.

    Raises:
        ModelError: The model's labels are not these three under known names.
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
