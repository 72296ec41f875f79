"""How many messages of this worker's partitions arrive at the broker, and how many of them it has not read."""

from typing import Any


class Backlog:
    """Counts both from what the consumer knows already: nothing is asked of the broker. For one thread."""

    def __init__(self) -> None:
        self.arrived = 0
        """Messages that arrived in partitions while they were assigned."""
        self.unread = 0
        self._ends: dict[int, int] = {}

    def measure(self, consumer: Any) -> None:
        """Count again. Partitions whose end or position the consumer does not know yet are left out."""
        ends, self.unread = {}, 0
        for each in consumer.position(consumer.assignment()):
            end = consumer.get_watermark_offsets(each, cached=True)[1]
            if end < 0:
                continue
            self.arrived += max(0, end - self._ends.get(each.partition, end))
            ends[each.partition] = end
            if each.offset >= 0:
                self.unread += max(0, end - each.offset)
        self._ends = ends
