"""The polling thread: it reads, hands over to the pool, and commits what the sink has written.

A slow model cannot delay the group's heartbeat, because nothing here waits for it. Only this thread uses the consumer, because
other callers would wait behind each poll.
"""

import threading
import time
from collections.abc import Callable
from typing import Any

from serving.load_control import TICK_S, LoadControl
from serving.settings import StreamSettings
from serving.streaming.worker import metrics
from serving.streaming.worker.backlog import Backlog
from serving.streaming.worker.batching import micro_batches
from serving.streaming.worker.classify_pool import ClassifyPool
from serving.streaming.worker.commits import Commits
from serving.streaming.worker.consumer import without_errors
from serving.streaming.worker.health import WorkerHealth
from serving.streaming.worker.membership import Membership
from serving.streaming.worker.signals import Signals

RETRY_INTERVAL_S = 0.1
"""How soon a refused commit is tried again."""
BATCHES_AHEAD = 4
"""Micro-batches read ahead for each thread, so that no thread waits for the broker. More would only delay a stop."""
POLL_PAUSE_AFTER_S = 1.0
"""While there is no room for more messages, polling waits this long before it pauses the partitions."""
LOOK_S = 0.01
"""How often polling looks whether thread and sink are free, and a commit is due."""


class PollLoop:
    """Polls until it is stopped."""

    def __init__(
        self,
        settings: StreamSettings,
        membership: Membership,
        pool: ClassifyPool,
        commits: Commits,
        health: WorkerHealth,
        signals: Signals,
        clock: Callable[[], float] = time.monotonic,
        control: LoadControl | None = None,
    ) -> None:
        self._settings, self._membership, self._pool, self._commits = settings, membership, pool, commits
        self._health, self._signals, self._clock, self._control = health, signals, clock, control
        self._backlog = Backlog()
        self.first_read_at: float | None = None
        """When the first message was read, on the clock."""

    def run(self, stop: threading.Event) -> None:
        """Read, classify and commit until `stop` is set or the worker fails. Blocks.

        Raises:
            StreamError: The broker refuses a request for good.
        """
        while not stop.is_set() and self._signals.failure is None:
            self._membership.rejoin_if_left_out()
            self._pace()
            self._commit()
            self._read()
            self._measure_load()

    def drain(self, partitions: set[int] | None) -> bool:
        """Wait until all that was read of these partitions (None: of all) is committed; for at most `drain_s`."""

        def finished() -> bool:
            return self._commits.in_flight(partitions) == 0 or self._signals.failure is not None

        end = self._clock() + self._settings.drain_s
        self._signals.flush_now.set()
        while not finished() and self._clock() < end:
            with self._signals.changed:  # not for longer: a transaction in the sink may wait for the group's new generation
                self._signals.changed.wait_for(
                    lambda: self._commits.pending or self._signals.failure is not None,
                    min(RETRY_INTERVAL_S, end - self._clock()),
                )
            self._commit()
        self._signals.flush_now.clear()
        return finished()

    def _read(self) -> None:
        most = self._settings.batch_messages
        read = self._consume(self._control.most_texts(most) if self._control else most)
        if read:
            if self.first_read_at is None:
                self.first_read_at = self._clock()
            self._health.end_wait("the broker")
        # A message fetched before its partition was revoked may arrive afterwards; the next owner reads it again.
        messages = (each for each in without_errors(read, self._settings) if each.partition() in self._membership.owned)
        for batch in micro_batches(messages, self._settings.batch_tokens):
            self._commits.count_read(batch)
            self._pool.submit(batch, self._membership.epoch)

    def _consume(self, most: int) -> list[Any]:
        """Return what arrives until a thread and the sink are free, at most `most` messages; nothing if nothing arrives then."""
        consumer, epoch = self._membership.consumer, self._membership.epoch
        end, read = self._clock() + self._settings.batch_age_ms / 1000, list[Any]()
        # Not beyond an epoch: a partition that comes back is read again from its committed offset.
        while len(read) < most and self._clock() < end and self._membership.epoch == epoch:
            if self._pool.unprocessed >= self._pool.threads or self._signals.sink_writing:
                read += consumer.consume(most - len(read), LOOK_S)
                continue
            # A small micro-batch costs more CPU time, but nothing else has to wait for it.
            read += [] if read else consumer.consume(1, LOOK_S)
            return read + consumer.consume(most - len(read), 0) if 0 < len(read) < most else read
        return read

    def _measure_load(self) -> None:
        """Let load control choose the operating point, when it is time."""
        if self._control is None or not self._control.due():
            return
        self._backlog.measure(self._membership.consumer)
        self._control.update(self._backlog.unread + self._pool.unclassified, self._backlog.arrived)
        self._health.set_overloaded(self._control.overloaded)

    def _full(self) -> bool:
        ahead = self._pool.unprocessed >= BATCHES_AHEAD * self._pool.threads
        return ahead or self._commits.in_flight() >= self._settings.max_in_flight

    def _pace(self) -> None:
        """Wait for room and commit meanwhile. After `POLL_PAUSE_AFTER_S`, pause reading, since the group needs the polls."""
        end = self._clock() + POLL_PAUSE_AFTER_S
        while self._full() and self._signals.failure is None and (left := end - self._clock()) > 0:
            with self._signals.changed:
                self._signals.changed.wait_for(
                    lambda: self._commits.pending or not self._full() or self._signals.failure is not None,
                    min(left, TICK_S) if self._control else left,
                )
            self._commit()
            self._measure_load()
        if self._full():
            self._membership.pause()
        else:
            self._membership.resume()
        metrics.PAUSED.set(bool(self._membership.paused))
        metrics.IN_FLIGHT.set(self._commits.in_flight())

    def _commit(self) -> None:
        began = time.thread_time()
        blocks, error = self._commits.commit()
        if error is not None:
            self._health.wait_for("the broker", error.str())
            metrics.RETRIES.labels("the broker").inc()
            self._signals.give_up.wait(RETRY_INTERVAL_S)
        elif blocks:
            self._health.end_wait("the broker")
            metrics.STAGE_CPU.labels("commit").inc(time.thread_time() - began)
            for block in blocks:
                self._health.record_commit(len(block.messages), len(block.dead_letters))
