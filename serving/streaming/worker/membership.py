"""The partitions that the group has assigned to this worker, and which messages it may therefore commit.

Each time that partitions are revoked or lost, a new epoch begins. A batch carries the epoch in which it was read. What was read
of a partition before it was last revoked belongs to its next owner, also if that is this worker again.
"""

import time
from collections.abc import Callable
from typing import Any

import structlog

from serving.streaming.worker import metrics
from serving.streaming.worker.processing import ProcessedBatch

REJOIN_AFTER_S = 20.0
"""A worker that lost all partitions, and got none for this time although the broker responds, joins as a new member.

After the broker was frozen, librdkafka (2.16.0) sometimes stays outside of the group, and sometimes loses its connection to the
broker for good.
"""
_RESPONSE_S = 3.0
"""How long a new client waits for the broker."""
_log = structlog.get_logger()


class Membership:
    """The consumer and its partitions. The polling thread uses it; `ours` may be called by any thread."""

    def __init__(self, topic: str, new_consumer: Callable[[], Any], clock: Callable[[], float] = time.monotonic) -> None:
        """Make it; `open` makes the consumer.

        Args:
            topic: To subscribe to.
            new_consumer: Returns a consumer that is not subscribed yet.
            clock: Monotonic, in seconds.
        """
        self._topic, self._new_consumer, self._clock = topic, new_consumer, clock
        self.consumer: Any = None
        self.owned: set[int] = set()
        self.epoch = 0
        """How often partitions were revoked or lost."""
        self.paused: set[int] = set()
        self._revoked_at: dict[int, int] = {}
        """By partition: the epoch that began when it was last revoked."""
        self._lost_at: float | None = None
        """When all partitions were lost; None once some are assigned again."""
        self._drain: Callable[[set[int]], bool] = lambda _: True

    def open(self) -> None:
        """Make the consumer; it joins the group with `subscribe`."""
        self.consumer = self._new_consumer()

    def subscribe(self, drain: Callable[[set[int]], bool]) -> None:
        """Join the group.

        Args:
            drain: Called with partitions before they are revoked; returns whether everything that was read of them is committed.
        """
        self._drain = drain
        self.consumer.subscribe([self._topic], on_assign=self.on_assign, on_revoke=self.on_revoke, on_lost=self.on_lost)

    def rejoin_if_left_out(self) -> None:
        """Join as a new member if the broker responds but has assigned nothing since all partitions were lost.

        A new client asks the broker, and becomes the member: after a frozen broker the old one may have no connection for good.
        """
        from confluent_kafka import KafkaException

        if self._lost_at is None or self._clock() - self._lost_at < REJOIN_AFTER_S:
            return
        fresh = self._new_consumer()
        try:
            fresh.list_topics(self._topic, timeout=_RESPONSE_S)
        except KafkaException:
            fresh.close()
            self._lost_at = self._clock()  # the broker is unavailable: the wait begins when it is back
            return
        self._lost_at = None
        _log.warning("the group assigned no partitions; the worker joins as a new member", after_s=REJOIN_AFTER_S)
        self.consumer.close()
        self.consumer = fresh
        self.subscribe(self._drain)

    def close(self) -> None:
        """Leave the group."""
        self.owned.clear()
        self.consumer.close()

    # Callbacks of the group, called from within `consume`.

    def on_assign(self, consumer: Any, partitions: list[Any]) -> None:
        """Add partitions."""
        # librdkafka keeps a pause after a partition is revoked: unless resumed, a partition assigned again would never be read.
        consumer.resume(partitions)
        self.owned |= {partition.partition for partition in partitions}
        self._lost_at = None
        metrics.REBALANCES.inc()
        _log.info("partitions assigned", partitions=sorted(p.partition for p in partitions), owned=len(self.owned))

    def on_revoke(self, _: Any, partitions: list[Any]) -> None:
        """Finish what was read of these partitions, then release them."""
        revoked = {partition.partition for partition in partitions}
        metrics.REBALANCES.inc()
        finished = self._drain(revoked)
        self._release(revoked)
        _log.info("partitions revoked", partitions=sorted(revoked), finished=finished)

    def on_lost(self, _: Any, partitions: list[Any]) -> None:
        """Release partitions that the group took away because this member timed out: it would refuse their offsets."""
        self._release({partition.partition for partition in partitions})
        if not self.owned:
            self._lost_at = self._clock()
        metrics.REBALANCES.inc()
        _log.warning("partitions lost; their uncommitted messages are read again", partitions=[p.partition for p in partitions])

    def _release(self, partitions: set[int]) -> None:
        self.epoch += 1
        self._revoked_at |= dict.fromkeys(partitions, self.epoch)
        self.owned -= partitions
        self.paused -= partitions

    # Messages.

    def ours(self, block: ProcessedBatch) -> set[int]:
        """Return the partitions of a block that were not revoked since it was read."""
        partitions = {message.partition() for message in block.messages}
        return {each for each in partitions if each in self.owned and block.epoch >= self._revoked_at.get(each, 0)}

    def pause(self) -> None:
        """Stop reading, and keep the partitions."""
        # Each partition once, also one assigned since the last time: librdkafka fetches again what it had prefetched of it.
        assigned = self.consumer.assignment()
        self.consumer.pause([each for each in assigned if each.partition not in self.paused])
        self.paused |= {each.partition for each in assigned}

    def resume(self) -> None:
        """Read the paused partitions again."""
        if self.paused:
            self.consumer.resume([each for each in self.consumer.assignment() if each.partition in self.paused])
            self.paused.clear()
