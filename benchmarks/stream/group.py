"""A consumer group as the broker sees it: committed offsets, lag, and which member has which partition."""

import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_fixed

from data.errors import StreamError

TIMEOUT_S, COORDINATOR_S = 10.0, 30.0
_LATEST = -1
"""The timestamp that means "end of the partition" in Kafka's protocol."""


@dataclass(frozen=True)
class GroupState:
    """Committed messages and lag of a group at one time."""

    committed: int
    lag: int


class Group:
    """Reads the state of one group on one topic. It is a consumer that never subscribes, so it is no member of the group.

    The AdminClient (confluent-kafka 2.16.1) ends the process if a group has no coordinator yet
    (confluentinc/librdkafka issue 5040), so it is used for members only.

    Args:
        admin: A confluent AdminClient.
        config: Base configuration of a client.
        group: Name of the group; it need not exist yet.
        topic: Its partitions are 0 to `partitions` - 1, and all begin at offset 0.
        partitions: Number of partitions.
    """

    def __init__(self, admin: Any, config: dict[str, Any], group: str, topic: str, partitions: int) -> None:
        from confluent_kafka import Consumer

        self._admin, self._group, self._topic, self._partitions = admin, group, topic, partitions
        self._client = Consumer({**config, "group.id": group})

    def committed(self) -> int:
        """Return the number of messages that the group has committed. Blocks while the group gets a coordinator."""
        from confluent_kafka import KafkaException

        patient = Retrying(
            retry=retry_if_exception_type(KafkaException),
            stop=stop_after_delay(COORDINATOR_S),
            wait=wait_fixed(0.2),
            reraise=True,
        )
        return sum(max(0, place.offset) for place in patient(self._client.committed, self._places(), timeout=TIMEOUT_S))

    def end(self) -> int:
        """Return the number of messages in the topic."""
        return sum(place.offset for place in self._client.offsets_for_times(self._places(_LATEST), timeout=TIMEOUT_S))

    def _places(self, offset: int = 0) -> list[Any]:
        from confluent_kafka import TopicPartition

        return [TopicPartition(self._topic, number, offset) for number in range(self._partitions)]

    def state(self) -> GroupState:
        """Return committed messages and lag. Commits are read first: messages that arrive in between count as lag."""
        committed = self.committed()
        return GroupState(committed, max(0, self.end() - committed))

    def holders(self) -> dict[str, tuple[int, ...]]:
        """Return the partitions by member; empty during a rebalance."""
        from confluent_kafka import ConsumerGroupState, KafkaException

        with suppress(KafkaException):
            futures = self._admin.describe_consumer_groups([self._group], request_timeout=TIMEOUT_S)
            description = futures[self._group].result(TIMEOUT_S)
            if description.state == ConsumerGroupState.STABLE:
                return {
                    member.member_id: tuple(sorted(part.partition for part in member.assignment.topic_partitions))
                    for member in description.members
                }
        return {}

    def wait_for(self, members: int, *, within_s: float, check: Any) -> None:
        """Block until every member has partitions and the first offset is committed.

        Args:
            members: Expected number of members.
            within_s: Time limit in seconds.
            check: Called before each poll; raises if a member has failed.

        Raises:
            StreamError: The time limit is over.
        """
        end = time.monotonic() + within_s
        while time.monotonic() < end:
            check()
            holders = self.holders()
            if len(holders) == members and all(holders.values()) and self.committed() > 0:
                return
            time.sleep(0.2)
        raise StreamError(
            f"Consumer group {self._group} is not ready within {within_s:.0f} s.",
            found=f"members and their partitions: {self.holders() or 'none'}; committed: {self.committed()}",
            expected=f"{members} members, each with partitions, and a first commit",
        )
