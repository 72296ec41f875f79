"""Classifies micro-batches in a pool of threads, and returns them in the order in which they were read."""

import queue
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any

from serving.streaming.worker.processing import ProcessedBatch
from serving.streaming.worker.signals import Signals


class ClassifyPool:
    """The pool. The polling thread calls `submit` and `close`; the sink's thread calls `next_batch`."""

    def __init__(self, threads: int, process: Callable[[list[Any]], ProcessedBatch], signals: Signals) -> None:
        """Make it; no thread runs before the first batch.

        Args:
            threads: Batches classified at the same time.
            process: Classifies one batch.
            signals: `changed` is notified of each classified batch.
        """
        self.threads, self._process, self._signals = threads, process, signals
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="classify")
        self._batches: queue.Queue[Future[ProcessedBatch] | None] = queue.Queue()
        self._head: Future[ProcessedBatch] | None = None
        self.unprocessed = 0
        """Batches submitted and not yet classified."""
        self.unclassified = 0
        """Messages in them."""
        self.ended = False
        """Whether `next_batch` has reached the end that `close` set."""

    def submit(self, batch: list[Any], epoch: int) -> None:
        """Classify a batch that was read in this partition epoch; does not block."""
        with self._signals.changed:
            self.unprocessed += 1
            self.unclassified += len(batch)
        self._batches.put(self._pool.submit(self._run, batch, epoch))

    def _run(self, batch: list[Any], epoch: int) -> ProcessedBatch:
        try:
            processed = self._process(batch)
            processed.epoch = epoch
            return processed
        finally:
            with self._signals.changed:
                self.unprocessed -= 1
                self.unclassified -= len(batch)
                self._signals.changed.notify_all()

    def next_batch(self, timeout_s: float) -> ProcessedBatch | None:
        """Return the next batch in the order of reading, or None if it is not classified in time.

        Raises:
            Exception: As raised by `process`.
        """
        if self._head is None:
            try:
                self._head = self._batches.get(timeout=timeout_s)
            except queue.Empty:
                return None
            if self._head is None:
                self.ended = True  # the rest was not finished in time: it is not committed, and is read again
                return None
        wait([self._head], timeout_s)
        if not self._head.done():
            return None
        head, self._head = self._head, None
        return head.result()

    def close(self) -> None:
        """Cancel what has not begun; `next_batch` then reaches the end."""
        self._pool.shutdown(cancel_futures=True)
        self._batches.put(None)
