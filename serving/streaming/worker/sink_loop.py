"""The sink's thread: it collects classified batches into blocks, in the order of reading, inserts and finishes them."""

import time
from collections.abc import Callable
from typing import Protocol

from serving.settings import StreamSettings
from serving.streaming.worker.batching import BlockAssembly
from serving.streaming.worker.commits import Commits
from serving.streaming.worker.dead_letter_limit import DeadLetterLimit
from serving.streaming.worker.processing import ProcessedBatch
from serving.streaming.worker.signals import Signals

FLUSH_CHECK_INTERVAL_S = 0.1
"""How often the sink checks whether it should flush."""


class ClassifiedBatches(Protocol):
    """Where the batches come from: `ClassifyPool`."""

    ended: bool
    unprocessed: int

    def next_batch(self, timeout_s: float) -> ProcessedBatch | None:
        """See `ClassifyPool.next_batch`."""
        ...


class SinkLoop:
    """Writes all batches. `run` may be called once."""

    def __init__(
        self,
        settings: StreamSettings,
        batches: ClassifiedBatches,
        insert: Callable[[ProcessedBatch], None],
        finish: Callable[[ProcessedBatch], None],
        commits: Commits,
        signals: Signals,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Make it.

        Args:
            settings: Of the stream.
            batches: In the order of reading.
            insert: Writes the rows of a part of a block; blocks until the warehouse has them.
            finish: Writes the rest of a block, all of whose rows are inserted; blocks until warehouse and topics have it.
            commits: Gets each finished block.
            signals: `flush_now` is obeyed, and a failure reported.
            clock: Monotonic, in seconds.
        """
        self._batches, self._insert, self._finish, self._commits = batches, insert, finish, commits
        self._signals, self._clock = signals, clock
        self._assembly = BlockAssembly(settings.block_rows, settings.block_age_ms / 1000, clock)
        self._limit = DeadLetterLimit(settings.dead_letter_limit)

    def run(self) -> None:
        """Write blocks until the batches end or an error, which is reported as the worker's failure. Blocks."""
        assembly = self._assembly
        try:
            while not self._batches.ended:
                batch = self._batches.next_batch(assembly.wait_s(FLUSH_CHECK_INTERVAL_S))
                if batch is not None:
                    if not assembly.accepts(batch):
                        self._finish_block()
                    assembly.add(batch)
                idle = self._batches.unprocessed == 0
                if assembly.ready(idle=idle):
                    self._insert_part()
                if assembly.complete(flush=self._signals.flush_now.is_set(), idle=idle):
                    self._finish_block()
        except BaseException as error:
            self._signals.fail(error)

    def _insert_part(self) -> None:
        part = self._assembly.take_part()
        if part.messages:
            self._limit.check(part)
            began = self._clock()
            with self._signals.sink_writes():
                self._insert(part)
            self._assembly.inserted(part, self._clock() - began)

    def _finish_block(self) -> None:
        self._insert_part()
        block = self._assembly.take()
        with self._signals.sink_writes():
            self._finish(block)
        self._assembly.finished()
        self._commits.add(block)
