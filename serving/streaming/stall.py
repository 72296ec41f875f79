"""Partitions that nobody gets on with: their committed offset stands still while messages wait. The caller gives the clock."""

from collections.abc import Sequence
from dataclasses import dataclass

from serving.streaming.lag import PartitionLag

STALLED_AFTER_S = 30.0
GAP_S = 10.0
"""After a longer gap in the measuring, such as a broker that was away, the clocks of all partitions begin anew."""


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
        """The partitions whose committed offset has stood still for `STALLED_AFTER_S` while messages waited.

        Args:
            now: Seconds on a clock that only goes forward.
            partitions: As measured now.
            idle: Whether every worker runs and has nothing in hand. A lag of one is then no message but the mark that a
                producer's transaction leaves at the end of a partition, which nobody reads or commits.
        """
        if self._looked_at is not None and now - self._looked_at > GAP_S:
            self._still.clear()
        self._looked_at = now
        for found in partitions:
            known = self._still.get(found.partition)
            if known is None or known.committed != found.committed or found.lag == 0:
                known = self._still[found.partition] = _Still(found.committed, found.end, now)
            if idle and found.lag == 1 and found.end == known.end:
                self._still[found.partition] = _Still(found.committed, found.end, now)
        return sorted(partition for partition, still in self._still.items() if now - still.since >= STALLED_AFTER_S)
