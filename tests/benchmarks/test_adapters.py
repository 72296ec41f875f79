"""The adapters of the benchmark: they begin as heads without adapters, and each changes its own head alone."""

import torch

from benchmarks.adapters import AdaptedHeads


def test_adapters_begin_as_plain_heads_and_each_changes_its_own_head():
    torch.manual_seed(0)
    matrix, hidden = torch.nn.Linear(8, 9), torch.randn(5, 8)
    made = AdaptedHeads(matrix, 3, width=4)
    plain = matrix(hidden)
    assert torch.allclose(made(hidden), plain, atol=1e-6)
    torch.nn.init.ones_(made.up[1].weight)
    changed = (made(hidden) - plain).abs().amax(dim=0) > 1e-3
    assert changed.tolist() == [False] * 3 + [True] * 3 + [False] * 3
