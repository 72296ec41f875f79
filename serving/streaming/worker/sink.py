"""Writes classified messages: rows to the warehouse, then the rollups, then predictions and dead letters to their topics.

With `transactions`, the topics and the offsets are written in one transaction. A write that fails is repeated until it works or
the worker stops. Meanwhile nothing is committed, and once `max_in_flight` is reached nothing more is read.
"""

import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import structlog
from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_when_event_set, wait_exponential_jitter
from tenacity.nap import sleep_using_event

from data.contracts import Event
from data.errors import StreamError, WarehouseError
from serving.settings import StreamSettings
from serving.streaming.broker import DEAD_LETTERS, MAX_MESSAGE_BYTES, PREDICTIONS, TIMEOUT_S, client_config
from serving.streaming.worker import metrics
from serving.streaming.worker.commits import next_offsets, topic_partitions
from serving.streaming.worker.following import follow_notices, forget_texts, leave_out
from serving.streaming.worker.processing import ProcessedBatch, encode_dead_letter
from serving.warehouse.blocks import UnreadableRows, insert_rows, refresh_rollups
from serving.warehouse.connect import connect
from serving.warehouse.keys import ForgottenKeys

_log = structlog.get_logger()


class Undelivered(StreamError):
    """The broker did not accept everything in time; it may later."""


class Sink:
    """Writes blocks. Used by one thread; `give_up` may be set by another."""

    def __init__(
        self,
        settings: StreamSettings,
        var: Path,
        name: str,
        give_up: threading.Event,
        on_wait: Callable[[str], None],
        forgotten: ForgottenKeys | None = None,
    ) -> None:
        """Make a sink; it connects to the warehouse at the first block.

        Args:
            settings: Of the stream.
            var: Folder with the address of the warehouse server.
            name: Of the worker, unique in its group: with transactions its successor aborts what it left open.
            give_up: Once set, a failed write is not repeated.
            on_wait: Called with what the sink waits for: "the warehouse", "the broker", or "" when the wait ends.
            forgotten: What is forgotten, which the sink reads from the warehouse with each block.
        """
        from confluent_kafka import Producer

        self._settings, self._var = settings, var
        self._give_up, self._on_wait = give_up, on_wait
        self._topic = settings.topic
        self._forgotten = ForgottenKeys() if forgotten is None else forgotten
        config = {
            **client_config(settings),
            "linger.ms": 5,
            "enable.idempotence": True,
            "message.timeout.ms": 0,  # the producer never gives up a message by itself: the sink decides
            "message.max.bytes": MAX_MESSAGE_BYTES,
            "compression.type": "lz4",
        }
        if settings.transactions:
            config |= {"transactional.id": f"{settings.group}-{name}", "message.timeout.ms": 60_000}
        self._producer = Producer(config)
        self._warehouse: Any = None
        self._held = ExitStack()
        self._failed: list[str] = []
        self._interrupted = False
        """Whether the warehouse failed since the last block: the rows of this one may have been inserted long ago."""
        if settings.transactions:
            self._producer.init_transactions(30)

    def insert(self, part: ProcessedBatch) -> None:
        """Write the rows of a part of a block to the warehouse. Blocks until it has them: from then on readers see them.

        A row that the warehouse cannot parse becomes a dead letter of the part.

        Raises:
            StreamError: The sink gave up, or another try cannot help.
        """
        if not part.rows:
            return
        began, started = time.thread_time(), time.perf_counter()
        self._in_warehouse(lambda: self._insert(part))
        metrics.WRITE_SECONDS.observe(time.perf_counter() - started)
        metrics.BLOCK_ROWS.observe(len(part.rows))
        metrics.STAGE_CPU.labels("insert").inc(time.thread_time() - began)

    def finish(self, block: ProcessedBatch, ours: Callable[[], set[int]], group: Callable[[], Any]) -> None:
        """Count a block in the rollups, follow its notices, then produce its predictions and dead letters.

        Blocks until warehouse and broker have all of it.

        Args:
            block: All parts inserted since the last call.
            ours: Returns those of its partitions that the worker owns now. Messages of other partitions are not produced: the
                next owner reads them again.
            group: Returns the consumer's group metadata for transactions, which also commit the offsets. Without transactions the
                caller commits.

        Raises:
            StreamError: The sink gave up, or another try cannot help.
        """
        began = time.thread_time()
        if block.rows or block.notices or block.left_out:
            self._in_warehouse(lambda: self._count(block))
        counted = time.thread_time()
        if self._settings.transactions:
            self._until_it_works("the broker", lambda: self._transact(block, ours, group))
        else:
            self._produce(block, ours())
            self._until_it_works("the broker", self._flush)
        metrics.DEAD.inc(len(block.dead_letters))
        metrics.STAGE_CPU.labels("insert").inc(counted - began)
        metrics.STAGE_CPU.labels("produce").inc(time.thread_time() - counted)

    def close(self) -> None:
        """Close the connections to warehouse and broker."""
        self._held.close()
        self._producer.flush(1)

    def _until_it_works(self, what: str, step: Callable[[], None]) -> None:
        def waiting(state: RetryCallState) -> None:
            error = state.outcome.exception() if state.outcome else None
            if state.attempt_number in {1, 5} or state.attempt_number % 20 == 0:
                _log.warning("the sink waits", what=what, tries=state.attempt_number, error=str(error))
            metrics.RETRIES.labels(what).inc()
            self._on_wait(what)

        Retrying(
            retry=retry_if_exception_type((WarehouseError, Undelivered)),
            wait=wait_exponential_jitter(multiplier=0.1, max=5),
            stop=stop_when_event_set(self._give_up),
            sleep=sleep_using_event(self._give_up),
            before_sleep=waiting,
            reraise=True,
        )(step)
        self._on_wait("")

    def _in_warehouse(self, step: Callable[[], None]) -> None:
        """Repeat a step with a connection to the warehouse until it works."""

        def attempt() -> None:
            if self._warehouse is None:
                self._warehouse = self._held.enter_context(connect(self._var, own=False))
            try:
                step()
            except WarehouseError:
                # A restarted warehouse server has another port and password: read its file again.
                self._held.close()
                self._warehouse, self._interrupted = None, True
                raise

        self._until_it_works("the warehouse", attempt)

    def _insert(self, part: ProcessedBatch) -> None:
        for index, reason in reversed(self._insert_range(part.rows, 0, len(part.rows))):
            part.dead_letters.append((part.origins.pop(index), reason))
            del part.rows[index], part.predictions[index], part.events[index]

    def _insert_range(self, rows: list[bytes], begin: int, end: int) -> list[tuple[int, str]]:
        """Write rows; halve a range with an unreadable row until it is alone. Return the unreadable rows with the reason."""
        try:
            insert_rows(self._warehouse, rows[begin:end])
        except UnreadableRows as error:
            if end - begin == 1:
                _log.error("the warehouse cannot parse a row", error=str(error), row=rows[begin][:200])
                return [(begin, f"warehouse: {error.found}")]
            middle = (begin + end) // 2
            return self._insert_range(rows, begin, middle) + self._insert_range(rows, middle, end)
        return []

    def _count(self, block: ProcessedBatch) -> None:
        if block.rows:
            if self._interrupted:  # alerts find a recount by the time of the insert, for a minute after it
                insert_rows(self._warehouse, block.rows)
                self._interrupted = False
            refresh_rollups(self._warehouse, self._topic, _spans(block.origins))
        follow_notices(self._warehouse, self._var, block)
        # After the insert: a process that forgets writes the keys first, so it or this one finds a new row.
        self._forgotten.read(self._warehouse)
        late: list[Event] = []
        if block.forgotten_version != self._forgotten.version:
            late = leave_out(self._warehouse, block, self._forgotten)
        if late or block.left_out:
            forget_texts(self._var, [*block.left_out, *late], self._forgotten)

    def _produce(self, block: ProcessedBatch, ours: set[int]) -> None:
        self._failed.clear()
        for message, prediction in zip(block.origins, block.predictions, strict=True):
            if message.partition() not in ours:
                continue
            self._send(PREDICTIONS, message.key() or b"%d-%d" % (message.partition(), message.offset()), prediction)
        for message, reason in block.dead_letters:
            if message.partition() not in ours:
                continue
            key, value = encode_dead_letter(message, reason)
            if len(value) + len(key) > MAX_MESSAGE_BYTES - 1024:  # the original is still in its topic
                why = f"{reason} (too large to keep: {len(message.value()):,} bytes)"
                value = encode_dead_letter(_WithoutValue(message), why)[1]
            self._send(DEAD_LETTERS, key, value)

    def _send(self, topic: str, key: bytes, value: bytes) -> None:
        while True:
            try:
                self._producer.produce(topic, value, key=key, on_delivery=self._delivered)
                self._producer.poll(0)
                return
            except BufferError:  # the producer's queue is full: let it drain
                self._producer.poll(0.1)
                if self._give_up.is_set():
                    raise Undelivered("The broker does not accept the predictions.") from None

    def _delivered(self, error: Any, _: Any) -> None:
        if error is not None:
            self._failed.append(error.str())

    def _flush(self) -> None:
        left = self._producer.flush(TIMEOUT_S)
        if self._failed:
            raise StreamError(
                "The broker refused predictions or dead letters.",
                found=self._failed[0],
                remedy="Create the topics with groundswell stream init, and grant this user WRITE on them.",
            )
        if left:
            raise Undelivered(f"{left:,} messages did not arrive within {TIMEOUT_S:g} s.", remedy="Check that the broker runs.")

    def _transact(self, block: ProcessedBatch, ours: Callable[[], set[int]], group: Callable[[], Any]) -> None:
        from confluent_kafka import KafkaException

        # Read in this order: if a partition is revoked in between, the metadata is outdated, and the broker refuses it.
        metadata, owned = group(), ours()
        offsets = topic_partitions(self._settings.topic, next_offsets(block, owned))
        if not offsets:
            return
        try:
            self._producer.begin_transaction()
            self._produce(block, owned)
            self._producer.send_offsets_to_transaction(
                topic_partitions(self._settings.topic, next_offsets(block, owned)), metadata, TIMEOUT_S
            )
            self._producer.commit_transaction(TIMEOUT_S)
        except KafkaException as error:
            reason = error.args[0]
            if reason.fatal():
                raise StreamError("Another worker has the same name.", found=reason.str()) from error
            self._producer.abort_transaction(TIMEOUT_S)
            raise Undelivered("The transaction was not committed.", found=reason.str()) from error


class _WithoutValue:
    """A message without its bytes."""

    def __init__(self, message: Any) -> None:
        self.topic, self.partition, self.offset = message.topic, message.partition, message.offset

    def value(self) -> None:
        return None


def _spans(messages: list[Any]) -> dict[int, tuple[int, int]]:
    spans: dict[int, tuple[int, int]] = {}
    for message in messages:
        partition, offset = message.partition(), message.offset()
        first, last = spans.get(partition, (offset, offset))
        spans[partition] = min(first, offset), max(last, offset)
    return spans
