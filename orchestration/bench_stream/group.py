"""A consumer group as the broker sees it: what it committed, how far it is behind, who holds which partition."""

import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from data.errors import StreamError

ASK_S = 10.0
_LATEST = -1
"""What the protocol takes for a time to mean the end."""


@dataclass(frozen=True)
class Seen:
    """One look at a group."""

    committed: int
    lag: int


class Group:
    """Asks the broker about one group on one topic. It is a consumer that never subscribes, so no member of the group.

    The AdminClient (confluent-kafka 2.16.1) ends the process when the coordinator of a group is not yet there
    (confluentinc/librdkafka issue 5040), so it is asked about members only.

    Args:
        admin: A confluent AdminClient.
        config: What a client begins with.
        group: Need not exist yet.
        topic: Its partitions are 0 to `partitions` - 1, and all begin at offset 0.
        partitions: How many.
    """

    def __init__(self, admin: Any, config: dict[str, Any], group: str, topic: str, partitions: int) -> None:
        from confluent_kafka import Consumer

        self._admin, self._group, self._topic, self._partitions = admin, group, topic, partitions
        self._client = Consumer({**config, "group.id": group})

    def committed(self) -> int:
        """Messages that the group has behind it."""
        return sum(max(0, found.offset) for found in self._client.committed(self._places(), timeout=ASK_S))

    def end(self) -> int:
        """Messages in the topic."""
        return sum(found.offset for found in self._client.offsets_for_times(self._places(_LATEST), timeout=ASK_S))

    def _places(self, offset: int = 0) -> list[Any]:
        from confluent_kafka import TopicPartition

        return [TopicPartition(self._topic, number, offset) for number in range(self._partitions)]

    def look(self) -> Seen:
        """Both. The commits first: what comes in between then shows as lag."""
        committed = self.committed()
        return Seen(committed, max(0, self.end() - committed))

    def holders(self) -> dict[str, tuple[int, ...]]:
        """Partitions by member, empty while the group is being balanced anew."""
        from confluent_kafka import ConsumerGroupState, KafkaException

        with suppress(KafkaException):
            found = self._admin.describe_consumer_groups([self._group], request_timeout=ASK_S)[self._group].result(ASK_S)
            if found.state == ConsumerGroupState.STABLE:
                return {
                    member.member_id: tuple(sorted(part.partition for part in member.assignment.topic_partitions))
                    for member in found.members
                }
        return {}

    def wait_for(self, members: int, *, within_s: float, check: Any) -> None:
        """Block until so many members hold partitions and the first offset is committed.

        Args:
            members: Consumers of the group.
            within_s: Seconds.
            check: Called between two looks; raises where waiting is in vain.

        Raises:
            StreamError: It takes longer.
        """
        end = time.monotonic() + within_s
        while time.monotonic() < end:
            check()
            holders = self.holders()
            if len(holders) == members and all(holders.values()) and self.committed() > 0:
                return
            time.sleep(0.2)
        raise StreamError(
            f"The group {self._group} does not get to work within {within_s:.0f} s.",
            found=f"members and their partitions: {self.holders() or 'none'}; committed: {self.committed()}",
            expected=f"{members} members, each with partitions, and a first commit",
        )
