"""How many messages are classified together, and how many are written together."""

import math
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from serving.streaming.worker.processing import ProcessedBatch


def micro_batches(messages: Iterable[Any], tokens: int) -> Iterator[list[Any]]:
    """Yield micro-batches of about `tokens` tokens, at four bytes each, in order. A larger message is a micro-batch by itself."""
    batch: list[Any] = []
    weight = 0
    for message in messages:
        size = len(message.value() or b"") // 4
        if batch and weight + size > tokens:
            yield batch
            batch, weight = [], 0
        batch.append(message)
        weight += size
    if batch:
        yield batch


RESTS = 2.0
"""Without load the sink writes at most a third of the time: many small blocks would cost the warehouse more than they gain."""


class BlockAssembly:
    """Collects classified batches until they are enough for a block, or the first of them is old enough."""

    def __init__(self, rows: int, age_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        """Make an empty one.

        Args:
            rows: A block with this number of messages is complete; the last batch may exceed it.
            age_s: So is one whose first batch was added this time ago.
            clock: Monotonic, in seconds.
        """
        self._rows, self._age_s, self._clock = rows, age_s, clock
        self._block = ProcessedBatch()
        self._due: float | None = None
        self._rested = -math.inf

    def wrote(self, seconds: float) -> None:
        """Record that a block was written in this time: without load, the next one is not written within twice of it."""
        self._rested = self._clock() + RESTS * seconds

    def accepts(self, batch: ProcessedBatch) -> bool:
        """Whether the batch may be added: all of a block is of one epoch."""
        return not self._block.messages or batch.epoch == self._block.epoch

    def add(self, batch: ProcessedBatch) -> None:
        """Append a batch."""
        self._block.add(batch)
        if self._due is None:
            self._due = self._clock() + self._age_s

    def complete(self, *, flush: bool, idle: bool) -> bool:
        """Whether to take the block now.

        Args:
            flush: Take whatever there is.
            idle: Nothing more is being classified: waiting would only delay what there is.
        """
        if self._due is None:
            return False
        now = self._clock()
        return flush or len(self._block.messages) >= self._rows or now >= self._due or (idle and now >= self._rested)

    def wait_s(self, most_s: float) -> float:
        """Return the time to wait for the next batch, at most `most_s`."""
        if self._due is None:
            return most_s
        now = self._clock()
        rest = self._rested - now
        return max(0.0, min(most_s, self._due - now, rest if rest > 0 else most_s))

    def take(self) -> ProcessedBatch:
        """Return the block, and begin the next one."""
        block, self._block, self._due = self._block, ProcessedBatch(), None
        return block
