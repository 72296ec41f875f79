"""What was read and is not committed yet, and which offsets to commit of it."""

import threading
from collections import Counter
from collections.abc import Iterable
from typing import Any

from serving.streaming.worker.membership import Membership
from serving.streaming.worker.processing import ProcessedBatch


class Commits:
    """The uncommitted messages of a worker. The sink's thread calls `add`; the polling thread does the rest."""

    def __init__(self, topic: str, membership: Membership, changed: threading.Condition, *, transactions: bool) -> None:
        """Make it.

        Args:
            topic: Of the messages.
            membership: Has the consumer, and knows which messages are still ours.
            changed: Guards the written blocks; notified of each one.
            transactions: Whether the sink commits the offsets, with `group` in its transactions.
        """
        self._topic, self._membership, self._changed, self._transactions = topic, membership, changed, transactions
        self._written: list[ProcessedBatch] = []
        self._in_flight: Counter[int] = Counter()
        self.group: Any = None
        """The consumer's group metadata, for transactions."""

    @property
    def pending(self) -> bool:
        """Whether a written block waits for its commit."""
        return bool(self._written)

    def in_flight(self, partitions: Iterable[int] | None = None) -> int:
        """Return the number of messages read and not yet committed, of these partitions (None: of all)."""
        return self._in_flight.total() if partitions is None else sum(self._in_flight[each] for each in partitions)

    def count_read(self, messages: Iterable[Any]) -> None:
        """Count messages that were read."""
        self._in_flight.update(message.partition() for message in messages)

    def add(self, block: ProcessedBatch) -> None:
        """Add a block that warehouse and topics have. Blocks are added in the order in which they were read."""
        with self._changed:
            self._written.append(block)
            self._changed.notify_all()

    def commit(self) -> tuple[list[ProcessedBatch], Any]:
        """Commit what was added, of partitions that are still ours. Blocks until the broker replies.

        What the broker refuses, the next call tries again. That holds also where it reports that our generation has ended: the
        group may be between two generations, and partitions that we keep are not assigned to us again. Revoked partitions are
        known (`Membership`) and left out from then on.

        Returns:
            The blocks that are finished, and the broker's error if it refused: then none is finished.
        """
        self.group = self._membership.consumer.consumer_group_metadata() if self._transactions else None
        with self._changed:
            blocks, self._written = self._written, []
        if not self._transactions and (offsets := self._offsets(blocks)) and (error := self._refused(offsets)):
            with self._changed:
                self._written = blocks + self._written
            return [], error
        for block in blocks:
            self._in_flight.subtract(message.partition() for message in block.messages)
        return blocks, None

    def _offsets(self, blocks: Iterable[ProcessedBatch]) -> dict[int, int]:
        offsets: dict[int, int] = {}
        for block in blocks:
            offsets |= next_offsets(block, self._membership.ours(block))
        return offsets

    def _refused(self, offsets: dict[int, int]) -> Any:
        """Commit; return the error of the request or of one partition, or None."""
        from confluent_kafka import KafkaException

        try:
            committed = self._membership.consumer.commit(offsets=topic_partitions(self._topic, offsets), asynchronous=False)
        except KafkaException as error:
            return error.args[0]
        return next((each.error for each in committed if each.error), None)


def next_offsets(block: ProcessedBatch, ours: set[int]) -> dict[int, int]:
    """Return the offsets at which the group continues after a block, by partition, for these partitions."""
    return {message.partition(): message.offset() + 1 for message in block.messages if message.partition() in ours}


def topic_partitions(topic: str, offsets: dict[int, int]) -> list[Any]:
    """Convert offsets by partition to the client's class."""
    from confluent_kafka import TopicPartition

    return [TopicPartition(topic, partition, offset) for partition, offset in offsets.items()]
