"""The sink's thread: it collects classified batches into blocks, in the order of reading, and writes them."""

import time
from collections.abc import Callable, Iterator
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
        write: Callable[[ProcessedBatch], None],
        commits: Commits,
        signals: Signals,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Make it.

        Args:
            settings: Of the stream.
            batches: In the order of reading.
            write: Writes a block; blocks until warehouse and topics have it.
            commits: Gets each written block.
            signals: `flush_now` is obeyed, and a failure reported.
            clock: Monotonic, in seconds.
        """
        self._batches, self._write, self._commits, self._signals, self._clock = batches, write, commits, signals, clock
        self._assembly = BlockAssembly(settings.block_rows, settings.block_age_ms / 1000, clock)
        self._limit = DeadLetterLimit(settings.dead_letter_limit)

    def run(self) -> None:
        """Write blocks until the batches end or an error, which is reported as the worker's failure. Blocks."""
        try:
            for block in self._blocks():
                self._limit.check(block)
                began = self._clock()
                self._write(block)
                self._assembly.wrote(self._clock() - began)
                self._commits.add(block)
        except BaseException as error:
            self._signals.fail(error)

    def _blocks(self) -> Iterator[ProcessedBatch]:
        assembly = self._assembly
        while not self._batches.ended:
            batch = self._batches.next_batch(assembly.wait_s(FLUSH_CHECK_INTERVAL_S))
            if batch is not None:
                if not assembly.accepts(batch):
                    yield assembly.take()
                assembly.add(batch)
            if assembly.complete(flush=self._signals.flush_now.is_set(), idle=self._batches.unprocessed == 0):
                yield assembly.take()
