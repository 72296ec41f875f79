"""Measures the lag of a consumer group: committed offsets compared with the ends of the partitions, read from the broker."""

from dataclasses import dataclass
from typing import Any

from data.errors import StreamError
from serving.settings import StreamSettings
from serving.streaming import broker

_LATEST, _EARLIEST = -1, -2
"""What the protocol's ListOffsets takes instead of a time."""


@dataclass(frozen=True)
class PartitionLag:
    """One partition of the topic, as the group sees it."""

    partition: int
    committed: int
    """The next offset to read. The earliest one kept, where nothing was committed or the next one is no longer kept."""
    end: int
    """The offset of the next message to arrive."""

    @property
    def lag(self) -> int:
        """Messages that wait or are in flight; 0 where the commit is beyond the end: the topic was recreated."""
        return max(0, self.end - self.committed)


class LagReader:
    """Reads offsets from the broker, over connections that are kept. For one thread at a time.

    It uses a consumer that never subscribes: it names the group but is no member of it. The AdminClient can read the same, but
    (confluent-kafka 2.16.1) crashes the process with a segmentation fault while the group has no coordinator yet.

    Args:
        settings: Address, security and group.

    Raises:
        StreamError: librdkafka does not know or refuses a setting.
    """

    def __init__(self, settings: StreamSettings) -> None:
        from confluent_kafka import Consumer, KafkaException

        self._bootstrap, self._group = settings.bootstrap, settings.group
        # By default a lost connection is tried again only every 10 s, which is as long as a request may take.
        config = {"group.id": settings.group, "reconnect.backoff.max.ms": 1000, **broker.client_config(settings)}
        try:
            self._client = Consumer(config)
        except KafkaException as error:
            raise StreamError(
                "The settings of the broker are invalid.",
                found=error.args[0].str(),
                remedy="Fix GROUNDSWELL_STREAM__BOOTSTRAP or GROUNDSWELL_STREAM__SECURITY.",
            ) from error

    def measure(self, topic: str) -> list[PartitionLag]:
        """Return the lag of every partition of a topic, in order. Blocks for at most four requests of `broker.TIMEOUT_S` each.

        Raises:
            StreamError: The broker is unavailable or refuses, or it has no such topic.
        """
        from confluent_kafka import KafkaException, TopicPartition

        count = broker.require_topic(self._client, topic, self._bootstrap)
        # Commits are read before ends: messages that arrive in between then count as lag, and the lag is never negative.
        try:
            partitions = [TopicPartition(topic, partition) for partition in range(count)]
            committed = [self._offset(each) for each in self._client.committed(partitions, timeout=broker.TIMEOUT_S)]
        except KafkaException as error:
            raise self._error(error.args[0], f"the offsets of the group {self._group}") from error
        starts, ends = self._edges(topic, count)
        return [
            PartitionLag(partition, max(committed[partition], starts[partition]), ends[partition]) for partition in range(count)
        ]

    def count(self, topic: str) -> int:
        """Return the number of messages that a topic holds. Blocks like `measure`.

        Raises:
            StreamError: As in `measure`.
        """
        starts, ends = self._edges(topic, broker.require_topic(self._client, topic, self._bootstrap))
        return sum(ends) - sum(starts)

    def _edges(self, topic: str, count: int) -> tuple[list[int], list[int]]:
        """Return the first offsets that are kept, and the ends, by partition."""
        from confluent_kafka import KafkaException, TopicPartition

        edges = []
        for which in (_EARLIEST, _LATEST):
            wanted = [TopicPartition(topic, partition, which) for partition in range(count)]
            try:
                edges.append([self._offset(each) for each in self._client.offsets_for_times(wanted, timeout=broker.TIMEOUT_S)])
            except KafkaException as error:
                raise self._error(error.args[0], f"the ends of {topic}") from error
        return edges[0], edges[1]

    def _offset(self, partition: Any) -> int:
        if partition.error is not None:
            raise self._error(partition.error, f"an offset of {partition.topic}, partition {partition.partition}")
        return partition.offset  # below 0: nothing was committed

    def _error(self, error: Any, what: str) -> StreamError:
        from confluent_kafka import KafkaError

        forbidden = error.code() in {
            KafkaError.GROUP_AUTHORIZATION_FAILED,
            KafkaError.TOPIC_AUTHORIZATION_FAILED,
            KafkaError.CLUSTER_AUTHORIZATION_FAILED,
        }
        return StreamError(
            f"Could not read {what} from the broker at {self._bootstrap}.",
            found=error.str(),
            expected="the rights READ and DESCRIBE on the topic and on the group" if forbidden else None,
            remedy="Grant them to this user." if forbidden else "Check that the broker runs; it may still be starting.",
        )
