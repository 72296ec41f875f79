# Torch and scipy annotate their functions only in part.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false, reportMissingTypeStubs=false
"""Balance the classes of a trained model: a constant for each class and head, added to its logits.

The sum of several losses moves the boundary between classes: rows of other domains and of sarcasm count in it, but in no
macro-recall. The constants are fitted on validation rows, and become part of the last layer, so that they cost nothing later.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from data.labels import LABELS

PRIOR_ROWS = 20.0
"""Rows for each class that speak for constants of 0 (a quadratic penalty): few validation rows move them little."""
FOLDS = 5
"""Parts of the validation rows: constants are used only if they help on rows that they were not fitted on."""


def balance_heads(model: Any, logits: np.ndarray, head_of: Sequence[int], label_of: Sequence[int], heads: int) -> np.ndarray:
    """Add to the bias of a model's last layer what balances the classes of each head.

    Args:
        model: A sequence classifier whose outputs are three for each head, in the order of `LABELS`; others may follow.
        logits: Of validation rows, float (N, outputs).
        head_of: The head of each row, N numbers; all rows count for head 0.
        label_of: The label of each row, N numbers from 0 to 2.
        heads: Their number.

    Returns:
        The constants, float (heads, 3); 0 for a head that they do not help.
    """
    import torch

    size = len(LABELS)
    by_head = np.asarray(logits, dtype=np.float64)[:, : size * heads].reshape(len(logits), heads, size)
    own, labels = np.asarray(head_of), np.asarray(label_of)
    constants = np.zeros((heads, size))
    for head in range(heads):
        rows = np.flatnonzero((own == head) | (head == 0))
        constants[head] = balancing_constants(by_head[rows, head], labels[rows])
    layer = _last_layer(model)
    with torch.no_grad():
        layer.bias[: size * heads] += torch.from_numpy(constants.ravel()).to(layer.bias)
    return constants


def balancing_constants(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return what to add to the logits of one head, (3,): the least cross-entropy in which each class weighs the same.

    A class without rows gets 0, and so do all if macro-recall does not rise on rows that the constants were not fitted on.

    Args:
        logits: Float (N, 3).
        labels: N numbers from 0 to 2.
    """
    if len(labels) < FOLDS:
        return np.zeros(logits.shape[1])
    fold = np.arange(len(labels)) % FOLDS
    moved = logits.copy()
    for number in range(FOLDS):
        rest = fold != number
        moved[~rest] += _fit(logits[rest], labels[rest])
    if macro_recall(moved, labels) <= macro_recall(logits, labels):
        return np.zeros(logits.shape[1])
    return _fit(logits, labels)


def macro_recall(logits: np.ndarray, labels: np.ndarray) -> float:
    """Return the mean recall of the classes that occur, 0 to 1."""
    predicted = logits.argmax(axis=1)
    return float(np.mean([(predicted[labels == label] == label).mean() for label in np.unique(labels)]))


def _fit(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    from scipy.optimize import minimize

    counts = np.bincount(labels, minlength=logits.shape[1])
    present = np.flatnonzero(counts)
    weights = 1 / counts[labels]
    target = np.eye(logits.shape[1])[labels]

    def loss(values: np.ndarray) -> tuple[float, np.ndarray]:
        constants = np.zeros(logits.shape[1])
        constants[present] = values
        shifted = logits + constants
        shifted = shifted - shifted.max(axis=1, keepdims=True)
        log_p = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
        prior = PRIOR_ROWS / len(labels)
        slope = (weights[:, None] * (np.exp(log_p) - target)).sum(axis=0)
        value = -(weights * log_p[np.arange(len(labels)), labels]).sum() + prior * (values**2).sum() / 2
        return float(value), slope[present] + prior * values

    result = np.zeros(logits.shape[1])
    result[present] = minimize(loss, np.zeros(len(present)), jac=True, method="L-BFGS-B").x
    return result


def _last_layer(model: Any) -> Any:
    """Return the linear layer that computes the outputs."""
    import torch

    outputs = model.config.num_labels
    layers = [one for one in model.modules() if isinstance(one, torch.nn.Linear) and one.out_features == outputs]
    return layers[-1]
