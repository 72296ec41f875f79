# Torch and transformers annotate their functions only in part.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false, reportMissingTypeStubs=false
"""Batches of rows of similar length, which avoids most of the computation on padding."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch.utils.data import Sampler

from data.tokenization import pad


class LengthGroupedSampler(Sampler[int]):
    """Sample indices such that each batch has rows of similar length, with the batches in random order.

    Rows are shuffled, sorted by length within chunks of `chunk` batches, and the batches of a chunk are shuffled. The order
    depends only on seed and epoch, so that a resumed epoch continues with the remaining rows.
    """

    def __init__(self, lengths: Sequence[int], batch_size: int, seed: int, chunk: int = 50) -> None:
        self.lengths, self.batch_size, self.seed, self.chunk, self.epoch = lengths, batch_size, seed, chunk, 0

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch; the Trainer calls this before each one."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
        order: list[int] = torch.randperm(len(self.lengths), generator=generator).tolist()
        size = self.batch_size
        for start in range(0, len(order), size * self.chunk):
            rows = sorted(order[start : start + size * self.chunk], key=lambda row: self.lengths[row])
            batches = [rows[i : i + size] for i in range(0, len(rows), size)]
            # A short batch comes last: in the middle it would shift every batch after it.
            full, short = [b for b in batches if len(b) == size], [b for b in batches if len(b) < size]
            for index in torch.randperm(len(full), generator=generator).tolist():
                yield from full[index]
            for batch in short:
                yield from batch


class Collator:
    """Convert rows to tensors, padded to the longest row of the batch."""

    def __init__(self, fill: int) -> None:
        self.fill = fill

    def __call__(self, rows: Sequence[dict[str, Any]]) -> dict[str, torch.Tensor]:
        """Return `input_ids` and `attention_mask`, int64 (N, L), and `labels`, int64 (N, 3), or float32 (N, 5) for a student."""
        input_ids, attention_mask = pad([row["input_ids"] for row in rows], self.fill)
        labels = np.array([row["labels"] for row in rows])
        return {
            "input_ids": torch.from_numpy(input_ids),
            "attention_mask": torch.from_numpy(attention_mask),
            "labels": torch.from_numpy(labels.astype(np.float32 if labels.dtype.kind == "f" else np.int64)),
        }
