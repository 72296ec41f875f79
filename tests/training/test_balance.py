"""Classes of a trained model are balanced by constants, which only stay where they help on other rows."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from training.balance import balance_heads, balancing_constants, macro_recall


def rows(count, seed, shift=(0.0, 0.0, 0.0), share=(0.2, 0.5, 0.3)):
    """Logits of a fair model for rows of three classes, moved by `shift`; and the labels."""
    random = np.random.default_rng(seed)
    labels = random.choice(3, count, p=share)
    return 2.0 * np.eye(3)[labels] + random.normal(size=(count, 3)) + np.array(shift), labels


@given(seed=st.integers(0, 50), shift=st.tuples(*[st.floats(-2, 2)] * 3))
def test_shift_of_the_logits_is_found_and_undone(seed, shift):
    fair, labels = rows(3000, seed)
    added = balancing_constants(fair + np.array(shift), labels)
    after = macro_recall(fair + np.array(shift) + added, labels)
    assert after >= macro_recall(fair + np.array(shift), labels) - 0.005
    assert after == pytest.approx(macro_recall(fair, labels), abs=0.02)


@given(st.permutations(range(200)))
def test_order_of_the_labels_decides_nothing_but_the_folds(order):
    logits, labels = rows(200, 3, shift=(1.5, 0, 0))
    one, other = balancing_constants(logits, labels), balancing_constants(logits[order], labels[order])
    assert np.allclose(one, other, atol=1e-3) or not (one.any() and other.any())


def test_class_without_rows_and_few_rows_get_nothing():
    logits, labels = rows(2000, 1, shift=(0, 0, 1.5), share=(0.5, 0.0, 0.5))
    added = balancing_constants(logits, labels)
    assert added[1] == 0 and added[2] < added[0] - 1
    assert not balancing_constants(logits[:4], labels[:4]).any()


def test_constants_that_do_not_help_on_other_rows_are_dropped():
    logits, labels = rows(2000, 2)
    assert abs(balancing_constants(logits, labels)).max() < 0.3
    noise = np.random.default_rng(0).integers(0, 3, 30)
    assert macro_recall(logits[:30] + balancing_constants(logits[:30], noise), noise) >= macro_recall(logits[:30], noise)


def test_bias_of_the_last_layer_gets_them_by_head_and_that_of_sarcasm_stays():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.last = nn.Linear(4, 4), nn.Linear(4, 7)
            self.config = type("Config", (), {"num_labels": 7})

    model, (general, labels), (own, _) = Model(), rows(1000, 4, (1, 0, 0)), rows(1000, 4, (0, 0, 2))
    with torch.no_grad():
        model.last.bias.zero_()
    logits = np.hstack([general, own, np.zeros((1000, 1))])
    added = balance_heads(model, logits, [1] * 1000, labels, 2)
    assert added[0, 0] < -0.5 and added[1, 2] < -1, "each head has its own"
    assert np.allclose(model.last.bias.detach().numpy(), [*added.ravel(), 0], atol=1e-6)
