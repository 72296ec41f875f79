"""How far a consumer group is behind: committed offsets against the ends of the partitions, asked of the broker."""

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
    """The next offset to be read. The earliest there is, where nothing was committed or what follows is no longer kept."""
    end: int
    """The offset that the next message will get."""

    @property
    def lag(self) -> int:
        """Messages that wait or are in hand; 0 where the commit lies beyond the end: the topic was made anew."""
        return max(0, self.end - self.committed)


class LagReader:
    """Asks the broker, over connections that are kept. For one thread at a time.

    It is a consumer that never subscribes: it names the group and is no member of it. The AdminClient can ask the same, but
    (confluent-kafka 2.16.1) ends the whole process with a segmentation fault where the group's coordinator is not yet there.

    Args:
        settings: Address, security and group.

    Raises:
        StreamError: librdkafka does not know a setting or refuses it.
    """

    def __init__(self, settings: StreamSettings) -> None:
        from confluent_kafka import Consumer, KafkaException

        self._bootstrap, self._group = settings.bootstrap, settings.group
        # By default a connection that was lost is tried again only every 10 s: as long as a question may take.
        config = {"group.id": settings.group, "reconnect.backoff.max.ms": 1000, **broker.client_config(settings)}
        try:
            self._client = Consumer(config)
        except KafkaException as error:
            raise StreamError(
                "The settings of the broker cannot be used.",
                found=error.args[0].str(),
                remedy="Mend GROUNDSWELL_STREAM__BOOTSTRAP or GROUNDSWELL_STREAM__SECURITY.",
            ) from error

    def measure(self, topic: str) -> list[PartitionLag]:
        """Every partition of a topic, in order. Blocks for at most `broker.TIMEOUT_S` a question, and there are four.

        Raises:
            StreamError: The broker is away or refuses, or there is no such topic.
        """
        from confluent_kafka import KafkaException, TopicPartition

        count = broker.need_topic(self._client, topic, self._bootstrap)
        # The commits are asked for before the ends: what comes in between then shows as lag, never as less than none.
        try:
            asked = [TopicPartition(topic, partition) for partition in range(count)]
            committed = [self._offset(found) for found in self._client.committed(asked, timeout=broker.TIMEOUT_S)]
        except KafkaException as error:
            raise self._refusal(error.args[0], f"the offsets of the group {self._group}") from error
        starts, ends = self._edges(topic, count)
        return [
            PartitionLag(partition, max(committed[partition], starts[partition]), ends[partition]) for partition in range(count)
        ]

    def count(self, topic: str) -> int:
        """Messages that a topic holds. Blocks like `measure`.

        Raises:
            StreamError: As there.
        """
        starts, ends = self._edges(topic, broker.need_topic(self._client, topic, self._bootstrap))
        return sum(ends) - sum(starts)

    def _edges(self, topic: str, count: int) -> tuple[list[int], list[int]]:
        """The first offsets that are kept, and the ones after the last, by partition."""
        from confluent_kafka import KafkaException, TopicPartition

        found = []
        for which in (_EARLIEST, _LATEST):
            asked = [TopicPartition(topic, partition, which) for partition in range(count)]
            try:
                found.append([self._offset(each) for each in self._client.offsets_for_times(asked, timeout=broker.TIMEOUT_S)])
            except KafkaException as error:
                raise self._refusal(error.args[0], f"where {topic} ends") from error
        return found[0], found[1]

    def _offset(self, found: Any) -> int:
        if found.error is not None:
            raise self._refusal(found.error, f"an offset of {found.topic}, partition {found.partition}")
        return found.offset  # below 0: nothing was committed

    def _refusal(self, error: Any, what: str) -> StreamError:
        from confluent_kafka import KafkaError

        forbidden = error.code() in {
            KafkaError.GROUP_AUTHORIZATION_FAILED,
            KafkaError.TOPIC_AUTHORIZATION_FAILED,
            KafkaError.CLUSTER_AUTHORIZATION_FAILED,
        }
        return StreamError(
            f"The broker at {self._bootstrap} does not tell {what}.",
            found=error.str(),
            expected="the rights READ and DESCRIBE on the topic and on the group" if forbidden else None,
            remedy="Grant them to this user." if forbidden else "Is the broker there? It may still be starting.",
        )
