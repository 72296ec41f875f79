"""Detects stalled partitions: their committed offset does not change while messages wait. The caller gives the clock."""

from collections.abc import Sequence
from dataclasses import dataclass

from serving.streaming.lag import PartitionLag

STALLED_AFTER_S = 30.0
GAP_S = 10.0
"""After a longer gap in the measurements, such as an unavailable broker, the clocks of all partitions start again."""


@dataclass(frozen=True)
class _Still:
    committed: int
    end: int
    since: float


class Stalls:
    """Watches the partitions of a topic."""

    def __init__(self) -> None:
        self._still: dict[int, _Still] = {}
        self._looked_at: float | None = None

    def look(self, now: float, partitions: Sequence[PartitionLag], *, idle: bool) -> list[int]:
        """Return the partitions whose committed offset has not changed for `STALLED_AFTER_S` while messages waited.

        Args:
            now: Seconds on a monotonic clock.
            partitions: As measured now.
            idle: Whether every worker runs and has nothing in flight. A lag of one is then no message but the marker that a
                producer's transaction leaves at the end of a partition, which no consumer reads or commits.
        """
        if self._looked_at is not None and now - self._looked_at > GAP_S:
            self._still.clear()
        self._looked_at = now
        for each in partitions:
            known = self._still.get(each.partition)
            if known is None or known.committed != each.committed or each.lag == 0:
                known = self._still[each.partition] = _Still(each.committed, each.end, now)
            if idle and each.lag == 1 and each.end == known.end:
                self._still[each.partition] = _Still(each.committed, each.end, now)
        return sorted(partition for partition, still in self._still.items() if now - still.since >= STALLED_AFTER_S)
