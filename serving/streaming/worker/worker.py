"""A member of the consumer group: poll → decode, classify, encode → one block to the warehouse → topics → commit.

**Delivery.** Before its offset is committed, each message has become a row of the warehouse and a message on the predictions
topic, or a dead letter, at least once. A crash of worker, broker or warehouse loses no message. In the warehouse each message
counts exactly once, in rows and rollups, however often it was delivered: `(topic, partition, offset)` is its identity. On the
topics, a message that is classified twice appears twice, unless `transactions` is on: then a consumer that reads committed
messages sees it once.

**Threads.** The caller's thread only polls and commits, so a slow model cannot delay the group's heartbeat. Only this thread uses
the consumer, because other callers would wait behind each poll. A pool classifies micro-batches, one thread for each CPU
(`stream.threads`). One thread is the sink; it takes the batches in the order in which they were read. At most
`stream.max_in_flight` messages are between them: with more, reading is paused.
"""

import queue
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import structlog
from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception_type,
    stop_after_delay,
    stop_when_event_set,
    wait_exponential_jitter,
)
from tenacity.nap import sleep_using_event

from data.errors import GroundswellError, StreamError
from serving.settings import StreamSettings
from serving.streaming.broker import BrokerUnavailable, client_config, require_topic
from serving.streaming.worker import metrics
from serving.streaming.worker.health import WorkerHealth
from serving.streaming.worker.identity import require_same_topic
from serving.streaming.worker.model import StreamModel
from serving.streaming.worker.processing import ProcessedBatch, micro_batches, process_batch
from serving.streaming.worker.sink import Sink, next_offsets, topic_partitions
from serving.threads import cpu_quota
from serving.warehouse.connect import WarehouseUnavailable

SESSION_TIMEOUT_MS = 6_000
"""The group reassigns the partitions of a dead worker after this time; the least that brokers allow by default."""
JOIN_TIMEOUT_S = 30.0
"""Added to `drain_s`: the group waits this long for a member that does not poll, and a member for the reply to its join request.

librdkafka's default is five minutes. A shorter time alone does not help a worker that the group does not readmit: see
`REJOIN_AFTER_S`.
"""
REJOIN_AFTER_S = 20.0
"""A worker that lost all partitions, and got none for this time although the broker responds, joins as a new member.

After the broker was frozen, librdkafka (2.16.0) sometimes stays outside of the group.
"""
START_TIMEOUT_S = 60.0
"""At the start the worker waits this long for broker and warehouse; then it fails with what it waited for."""
RETRY_INTERVAL_S = 0.1
"""How often the sink checks whether it should flush, and how soon a refused commit is tried again."""
BATCHES_AHEAD = 4
"""Micro-batches read ahead for each thread, so that no thread waits for the broker. More would only delay a stop."""
POLL_PAUSE_AFTER_S = 1.0
"""While there is no room for more messages, polling waits this long before it pauses the partitions."""
DEAD_LETTER_WINDOW = 1_000
"""Messages over which the share of dead letters is measured; the limit applies once a fifth of them were read."""
_log = structlog.get_logger()


class TooManyDeadLetters(StreamError):
    """So many messages are invalid that the cause must be outside of the messages."""


class Worker:
    """One worker. `run` may be called once."""

    def __init__(
        self,
        settings: StreamSettings,
        var: Path,
        model: Callable[[], StreamModel],
        *,
        name: str = "worker",
        port: int | None = None,
        identified: bool = True,
    ) -> None:
        """Make a worker; it contacts nothing before `run`.

        Args:
            settings: Of the stream.
            var: Folder with the address of the warehouse server and the heartbeats.
            model: Returns the model for the next batch.
            name: Unique among the workers on this machine; names the heartbeat's file.
            port: Of `/metrics`, reported in the heartbeat.
            identified: Whether the broker gives topics ids, to compare with the warehouse's; the in-process one does not.
        """
        self._identified = identified
        self._settings, self._var, self._model, self._name = settings, var, model, name
        self._threads = settings.threads or cpu_quota()
        self._batches: queue.Queue[Future[ProcessedBatch] | None] = queue.Queue()
        self._head: Future[ProcessedBatch] | None = None
        self._ended = False
        self._changed = threading.Condition()
        self._uncommitted: list[ProcessedBatch] = []
        """Written to warehouse and topics, and not yet committed."""
        self._member: Any = None
        """The consumer."""
        self._group: Any = None
        self._in_flight: Counter[int] = Counter()
        self._unprocessed = 0
        self._owned: set[int] = set()
        self._epoch = 0
        """How often partitions were revoked or lost; a batch carries the epoch in which it was read."""
        self._revoked_at: dict[int, int] = {}
        """By partition: the epoch that began when it was last revoked. What was read of it before, its next owner commits."""
        self._lost_at: float | None = None
        """When all partitions were lost; None once some are assigned again."""
        self._state = "running"
        """The state to report while the worker waits for nothing."""
        self._flush_now = threading.Event()
        """Set to write what is classified, whatever its age."""
        self._give_up = threading.Event()
        self._failure: BaseException | None = None
        self._paused: set[int] = set()
        self._recent: deque[tuple[int, int]] = deque()
        self.first_read_at: float | None = None
        """When the first message was read, on the monotonic clock."""
        self._health = WorkerHealth(var, name, port, lambda: (getattr(model(), "name", ""), list(self._owned), self.waiting))

    @property
    def committed(self) -> int:
        """Messages committed so far, dead letters included."""
        return self._health.messages

    @property
    def dead(self) -> int:
        """Those of them that became dead letters."""
        return self._health.dead

    @property
    def waiting(self) -> int:
        """Messages read and not yet committed."""
        return self._in_flight.total()

    def run(self, stop: threading.Event) -> None:
        """Work until `stop` is set; then finish what was read, for at most `drain_s`, commit, and leave the group. Blocks.

        Raises:
            TooManyDeadLetters: Their share is over the limit; the batch that exceeded it is not committed.
            StreamError: The broker does not respond at the start, or refuses a request.
            WarehouseError: The warehouse is of another version.
        """
        self._health.start()
        try:
            self._run(stop)
            self._health.set_state("stopped")
        except BaseException as error:
            self._health.set_state("failed", (str(error) or type(error).__name__).splitlines()[0])
            raise
        finally:
            self._health.stop()

    def _run(self, stop: threading.Event) -> None:
        consumer = self._member = self._new_member()
        sink: Sink | None = None
        try:
            partitions = self._wait_for(
                stop,
                "the broker",
                BrokerUnavailable,
                lambda: require_topic(consumer, self._settings.topic, self._settings.bootstrap),
            )
            if self._identified:
                self._wait_for(
                    stop, "the warehouse", WarehouseUnavailable, lambda: require_same_topic(self._settings, self._var, partitions)
                )
            if stop.is_set():
                return
            sink = Sink(self._settings, self._var, self._name, self._give_up, self._on_sink_wait)
            pool = ThreadPoolExecutor(self._threads, thread_name_prefix="classify")
            sinking = threading.Thread(target=self._sink_batches, args=(sink,), name="sink")
            sinking.start()
            try:
                self._subscribe()
                self._health.set_state(self._state)
                self._poll(pool, stop)
                if self._failure is None:
                    self._state = "draining"
                    self._health.set_state(self._state)
                    self._drain(self._member, None)
            finally:
                self._give_up.set()
                pool.shutdown(cancel_futures=True)
                self._batches.put(None)
                sinking.join()
            if self._failure is not None:
                raise self._failure
        finally:
            self._owned.clear()
            self._member.close()
            if sink is not None:
                sink.close()

    def _new_member(self) -> Any:
        from confluent_kafka import Consumer

        return Consumer(
            {
                **client_config(self._settings),
                "group.id": self._settings.group,
                "auto.offset.reset": "earliest",
                "enable.auto.commit": False,
                "partition.assignment.strategy": "cooperative-sticky",
                "session.timeout.ms": SESSION_TIMEOUT_MS,
                "max.poll.interval.ms": int(1000 * (JOIN_TIMEOUT_S + self._settings.drain_s)),
                "queued.max.messages.kbytes": 32_768,
                "fetch.message.max.bytes": 8 * 1024 * 1024,
                "error_cb": self._on_client_error,
            }
        )

    def _subscribe(self) -> None:
        self._member.subscribe([self._settings.topic], on_assign=self._assigned, on_revoke=self._revoked, on_lost=self._lost)

    def _must_rejoin(self) -> bool:
        """Whether the broker responds but has assigned nothing since all partitions were lost. True once for each loss."""
        from confluent_kafka import KafkaException

        if self._lost_at is None or time.monotonic() - self._lost_at < REJOIN_AFTER_S:
            return False
        try:
            self._member.list_topics(self._settings.topic, timeout=1.0)
        except KafkaException:
            self._lost_at = time.monotonic()  # the broker is unavailable: the wait begins when it is back
            return False
        self._lost_at = None
        return True

    def _wait_for(self, stop: threading.Event, what: str, unavailable: type[GroundswellError], call: Callable[[], Any]) -> Any:
        """Return the result of `call`, which is repeated while it raises `unavailable`, for at most `START_TIMEOUT_S`."""

        def waiting(state: RetryCallState) -> None:
            error = state.outcome.exception() if state.outcome else None
            self._health.set_state(f"waiting for {what}", getattr(error, "message", ""))

        return Retrying(
            retry=retry_if_exception_type(unavailable),
            wait=wait_exponential_jitter(multiplier=0.2, max=5),
            stop=stop_after_delay(START_TIMEOUT_S) | stop_when_event_set(stop),
            sleep=sleep_using_event(stop),
            before_sleep=waiting,
            reraise=True,
        )(call)

    def _poll(self, pool: ThreadPoolExecutor, stop: threading.Event) -> None:
        while not stop.is_set() and self._failure is None:
            if self._must_rejoin():
                _log.warning("the group assigned no partitions; the worker joins as a new member", after_s=REJOIN_AFTER_S)
                self._member.close()
                self._member = self._new_member()
                self._subscribe()
            consumer = self._member
            self._pace(consumer)
            self._commit(consumer)
            read = consumer.consume(self._settings.batch_messages, self._settings.batch_age_ms / 1000)
            if read and self.first_read_at is None:
                self.first_read_at = time.monotonic()
            if read and self._health.state == "waiting for the broker":
                self._health.set_state(self._state)
            for batch in micro_batches(self._messages(read), self._settings.batch_tokens):
                self._in_flight.update(message.partition() for message in batch)
                with self._changed:
                    self._unprocessed += 1
                self._batches.put(pool.submit(self._process, batch, self._epoch))

    def _process(self, batch: list[Any], epoch: int) -> ProcessedBatch:
        try:
            processed = process_batch(batch, self._model(), self._settings)
            processed.epoch = epoch
            return processed
        finally:
            with self._changed:
                self._unprocessed -= 1
                self._changed.notify_all()

    def _full(self) -> bool:
        return self._in_flight.total() >= self._settings.max_in_flight or self._unprocessed >= BATCHES_AHEAD * self._threads

    def _pace(self, consumer: Any) -> None:
        """Wait for room and commit meanwhile. After `POLL_PAUSE_AFTER_S`, pause reading, since the group needs the polls."""
        end = time.monotonic() + POLL_PAUSE_AFTER_S
        while self._full() and self._failure is None and (left := end - time.monotonic()) > 0:
            with self._changed:
                self._changed.wait_for(lambda: self._uncommitted or not self._full() or self._failure is not None, left)
            self._commit(consumer)
        assigned = consumer.assignment() if self._full() or self._paused else []
        if self._full():
            # Each partition once, also one assigned since the last time: librdkafka fetches again what it had prefetched of it.
            consumer.pause([each for each in assigned if each.partition not in self._paused])
            self._paused |= {each.partition for each in assigned}
        elif self._paused:
            consumer.resume([each for each in assigned if each.partition in self._paused])
            self._paused.clear()
        metrics.PAUSED.set(bool(self._paused))
        metrics.IN_FLIGHT.set(self._in_flight.total())

    def _messages(self, read: list[Any]) -> Iterator[Any]:
        from confluent_kafka import KafkaError

        for message in read:
            error = message.error()
            if error is None:
                # A message fetched before its partition was revoked may arrive afterwards; the next owner reads it again.
                if message.partition() in self._owned:
                    yield message
            elif error.code() in {KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.GROUP_AUTHORIZATION_FAILED}:
                raise StreamError(
                    f"Not authorized to read {self._settings.topic} as group {self._settings.group}.",
                    found=error.str(),
                    remedy="Grant READ on the topic and on the group.",
                )
            elif error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
                raise StreamError(
                    f"The topic {self._settings.topic} no longer exists.",
                    found=error.str(),
                    remedy="Check whether it was deleted.",
                )
            elif error.fatal():
                raise StreamError("The broker ended this member.", found=error.str())
            else:
                _log.warning("the broker reports an error", error=error.str())

    # Rebalance callbacks, called from within `consume`.

    def _assigned(self, consumer: Any, partitions: list[Any]) -> None:
        # librdkafka keeps a pause after a partition is revoked: unless resumed, a partition assigned again would never be read.
        consumer.resume(partitions)
        self._owned |= {partition.partition for partition in partitions}
        self._lost_at = None
        metrics.REBALANCES.inc()
        _log.info("partitions assigned", partitions=sorted(p.partition for p in partitions), owned=len(self._owned))

    def _revoked(self, consumer: Any, partitions: list[Any]) -> None:
        revoked = {partition.partition for partition in partitions}
        metrics.REBALANCES.inc()
        finished = self._drain(consumer, revoked)
        self._release(revoked)
        _log.info("partitions revoked", partitions=sorted(revoked), finished=finished)

    def _lost(self, _: Any, partitions: list[Any]) -> None:
        """Release partitions that the group took away because this member timed out: it would refuse their offsets."""
        self._release({partition.partition for partition in partitions})
        if not self._owned:
            self._lost_at = time.monotonic()
        metrics.REBALANCES.inc()
        _log.warning("partitions lost; their uncommitted messages are read again", partitions=[p.partition for p in partitions])

    def _release(self, partitions: set[int]) -> None:
        self._epoch += 1
        self._revoked_at |= dict.fromkeys(partitions, self._epoch)
        self._owned -= partitions
        self._paused -= partitions

    def _ours(self, block: ProcessedBatch) -> set[int]:
        """Return the partitions of a block that were not revoked since it was read."""
        partitions = {message.partition() for message in block.messages}
        return {each for each in partitions if each in self._owned and block.epoch >= self._revoked_at.get(each, 0)}

    def _drain(self, consumer: Any, partitions: set[int] | None) -> bool:
        """Wait until all that was read of these partitions (None: of all) is committed; for at most `drain_s`."""

        def finished() -> bool:
            left = self._in_flight.total() if partitions is None else sum(self._in_flight[p] for p in partitions)
            return left == 0 or self._failure is not None

        end = time.monotonic() + self._settings.drain_s
        self._flush_now.set()
        while not finished() and time.monotonic() < end:
            with self._changed:  # not for longer: a transaction in the sink may wait for the group's new generation
                self._changed.wait_for(
                    lambda: self._uncommitted or self._failure is not None, min(RETRY_INTERVAL_S, end - time.monotonic())
                )
            self._commit(consumer)
        self._flush_now.clear()
        return finished()

    def _commit(self, consumer: Any) -> None:
        """Commit what the sink has written, of partitions still assigned. What the broker refuses, the next call tries again.

        That holds also where it reports that our generation has ended: the group may be between two generations, and partitions
        that we keep are not assigned to us again. Revoked partitions are known (`_revoked`, `_lost`) and left out from then on.
        """
        self._group = consumer.consumer_group_metadata() if self._settings.transactions else None
        with self._changed:
            blocks, self._uncommitted = self._uncommitted, []
        if not blocks:
            return
        began = time.thread_time()
        offsets: dict[int, int] = {}
        for block in blocks:
            offsets |= next_offsets(block, self._ours(block))
        if offsets and not self._settings.transactions and (error := self._refused(consumer, offsets)):
            self._health.set_state("waiting for the broker", error.str())
            metrics.RETRIES.labels("the broker").inc()
            with self._changed:
                self._uncommitted = blocks + self._uncommitted
            self._give_up.wait(RETRY_INTERVAL_S)
            return
        if self._health.state == "waiting for the broker":
            self._health.set_state(self._state)
        metrics.STAGE_CPU.labels("commit").inc(time.thread_time() - began)
        for block in blocks:
            self._count(block)

    def _refused(self, consumer: Any, offsets: dict[int, int]) -> Any:
        """Commit; return the error of the request or of one partition, or None."""
        from confluent_kafka import KafkaException

        try:
            committed = consumer.commit(offsets=topic_partitions(self._settings.topic, offsets), asynchronous=False)
        except KafkaException as error:
            return error.args[0]
        return next((each.error for each in committed if each.error), None)

    def _count(self, block: ProcessedBatch) -> None:
        self._in_flight.subtract(message.partition() for message in block.messages)
        self._health.record_commit(len(block.messages), len(block.dead_letters))

    # The sink's thread.

    def _sink_batches(self, sink: Sink) -> None:
        try:
            for block in self._blocks():
                self._write(sink, block)
        except BaseException as error:
            with self._changed:
                if not self._give_up.is_set():
                    self._failure = error
                    _log.error("the worker fails", error=str(error))
                self._changed.notify_all()

    def _blocks(self) -> Iterator[ProcessedBatch]:
        """Yield blocks of classified batches, in the order of reading, limited by rows and by the age of the first batch."""
        block, due = ProcessedBatch(), None
        while not self._ended:
            timeout_s = RETRY_INTERVAL_S if due is None else max(0.0, min(RETRY_INTERVAL_S, due - time.monotonic()))
            batch = self._next_batch(timeout_s)
            if batch is not None:
                if block.messages and batch.epoch != block.epoch:
                    yield block
                    block, due = ProcessedBatch(), None
                block.add(batch)
                due = due or time.monotonic() + self._settings.block_age_ms / 1000
            full = len(block.messages) >= self._settings.block_rows
            if due is not None and (full or self._flush_now.is_set() or time.monotonic() >= due):
                yield block
                block, due = ProcessedBatch(), None

    def _next_batch(self, timeout_s: float) -> ProcessedBatch | None:
        """Return the next batch in the order of reading, or None if it is not classified in time."""
        if self._head is None:
            try:
                self._head = self._batches.get(timeout=timeout_s)
            except queue.Empty:
                return None
            if self._head is None:
                self._ended = True  # the rest was not finished in time: it is not committed, and is read again
                return None
        wait([self._head], timeout_s)
        if not self._head.done():
            return None
        head, self._head = self._head, None
        return head.result()

    def _write(self, sink: Sink, block: ProcessedBatch) -> None:
        self._check_dead_letters(block)
        sink.write(block, lambda: self._ours(block), lambda: self._group)
        self._health.record_latencies(message.timestamp()[1] / 1000 for message in block.origins)
        with self._changed:
            self._uncommitted.append(block)
            self._changed.notify_all()

    def _check_dead_letters(self, block: ProcessedBatch) -> None:
        self._recent.append((len(block.messages), len(block.dead_letters)))
        while sum(read for read, _ in self._recent) - self._recent[0][0] >= DEAD_LETTER_WINDOW:
            self._recent.popleft()
        read, dead = (sum(column) for column in zip(*self._recent, strict=True))
        if read >= DEAD_LETTER_WINDOW // 5 and dead / read > self._settings.dead_letter_limit:
            raise TooManyDeadLetters(
                "Too many invalid messages.",
                found=f"{dead:,} of the last {read:,}"
                + (f"; the last one: {block.dead_letters[-1][1]}" if block.dead_letters else ""),
                expected=f"at most {self._settings.dead_letter_limit:.0%}",
                remedy="Check the topic, and that its producer writes events of the contract. The messages are not committed. To "
                "accept them as dead letters, raise GROUNDSWELL_STREAM__DEAD_LETTER_LIMIT.",
            )

    # What the worker waits for.

    def _on_sink_wait(self, what: str) -> None:
        if what:
            self._health.set_state(f"waiting for {what}")
        elif self._health.state.startswith("waiting"):
            self._health.set_state(self._state)

    def _on_client_error(self, error: Any) -> None:
        from confluent_kafka import KafkaError

        if error.code() == KafkaError._ALL_BROKERS_DOWN:
            self._health.set_state("waiting for the broker", error.str())
