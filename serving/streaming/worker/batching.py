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
"""Without load the sink inserts at most a third of the time: many small inserts would cost the warehouse more than they gain."""


class BlockAssembly:
    """Collects classified batches: the part that is not inserted yet, and the block, which ends with a commit.

    Without load a part is inserted at once, so that readers see it, and several parts share a block, since counting and
    committing cost more than inserting. With load a part is all of its block.
    """

    def __init__(self, rows: int, age_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        """Make an empty one.

        Args:
            rows: A block with this number of messages is complete; the last batch may exceed it.
            age_s: So is one whose first batch was added this time ago.
            clock: Monotonic, in seconds.
        """
        self._rows, self._age_s, self._clock = rows, age_s, clock
        self._part, self._block = ProcessedBatch(), ProcessedBatch()
        self._due: float | None = None
        self._rested = self._finished = -math.inf

    def accepts(self, batch: ProcessedBatch) -> bool:
        """Whether the batch may be added: all of a block is of one epoch."""
        return self._due is None or batch.epoch == (self._part if self._part.messages else self._block).epoch

    def add(self, batch: ProcessedBatch) -> None:
        """Append a batch to the part."""
        self._part.add(batch)
        if self._due is None:
            self._due = self._clock() + self._age_s

    def ready(self, *, idle: bool) -> bool:
        """Whether to insert the part now: nothing more is being classified (`idle`), so waiting would only delay it."""
        return bool(self._part.messages) and idle and self._clock() >= self._rested

    def take_part(self) -> ProcessedBatch:
        """Return the part, and begin the next one."""
        part, self._part = self._part, ProcessedBatch()
        return part

    def inserted(self, part: ProcessedBatch, seconds: float) -> None:
        """Add a part to the block. Inserting took this time: without load, the next part is not inserted within twice of it."""
        self._block.add(part)
        self._rested = self._clock() + RESTS * seconds

    def complete(self, *, flush: bool, idle: bool) -> bool:
        """Whether to finish the block now, the part included.

        Args:
            flush: Finish whatever there is.
            idle: Nothing more is being classified: then one block is finished at once, and the next after `age_s`.
        """
        if self._due is None:
            return False
        now = self._clock()
        full = len(self._block.messages) + len(self._part.messages) >= self._rows
        return flush or full or now >= self._due or (idle and now >= self._finished + self._age_s)

    def take(self) -> ProcessedBatch:
        """Return the block, to which the part was added, and begin the next one."""
        block, self._block, self._due = self._block, ProcessedBatch(), None
        return block

    def finished(self) -> None:
        """Record that a block was counted and is being committed."""
        self._finished = self._clock()

    def wait_s(self, most_s: float) -> float:
        """Return the time to wait for the next batch, at most `most_s`: until a part or the block may be due."""
        if self._due is None:
            return most_s
        now = self._clock()
        times = [self._due, self._finished + self._age_s, self._rested if self._part.messages else -math.inf]
        return max(0.0, min(most_s, self._due - now, *(at - now for at in times if at > now)))
