"""Rows of token ids into batches of like length, which spares most of what padding to a fixed length computes."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch.utils.data import Sampler

from data.tokenization import pad


class LengthGroupedSampler(Sampler[int]):
    """Indices such that each run of `batch_size` has like lengths, while the batches come in random order.

    Rows are shuffled, sorted by length within stretches of `stretch` batches, and the batches of a stretch are shuffled.
    The order depends on the seed and the epoch alone, so that a resumed epoch goes on with the rows it had left.
    """

    def __init__(self, lengths: Sequence[int], batch_size: int, seed: int, stretch: int = 50) -> None:
        self.lengths, self.batch_size, self.seed, self.stretch, self.epoch = lengths, batch_size, seed, stretch, 0

    def set_epoch(self, epoch: int) -> None:
        """Called by the Trainer before each epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
        order = torch.randperm(len(self.lengths), generator=generator).tolist()
        size = self.batch_size
        for start in range(0, len(order), size * self.stretch):
            rows = sorted(order[start : start + size * self.stretch], key=lambda row: self.lengths[row])
            batches = [rows[i : i + size] for i in range(0, len(rows), size)]
            # A short batch goes last: in the middle it would shift every batch behind it.
            full, short = [b for b in batches if len(b) == size], [b for b in batches if len(b) < size]
            for index in torch.randperm(len(full), generator=generator).tolist():
                yield from full[index]
            for batch in short:
                yield from batch


class Collator:
    """Rows to tensors, padded to the longest of the batch."""

    def __init__(self, fill: int) -> None:
        self.fill = fill

    def __call__(self, rows: Sequence[dict[str, Any]]) -> dict[str, torch.Tensor]:
        """`input_ids`, `attention_mask` int64 (N, L), and `labels` int64 (N,)."""
        input_ids, attention_mask = pad([row["input_ids"] for row in rows], self.fill)
        return {
            "input_ids": torch.from_numpy(input_ids),
            "attention_mask": torch.from_numpy(attention_mask),
            "labels": torch.tensor([row["labels"] for row in rows], dtype=torch.int64),
        }
