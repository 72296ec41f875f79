"""A clock, a broker with one consumer group, and waits that move the clock: for the tests of the stream worker's parts."""

import threading
from collections import deque
from collections.abc import Callable, Iterable
from types import SimpleNamespace
from typing import Any

from confluent_kafka import KafkaError, KafkaException

from serving.streaming.worker.processing import ProcessedBatch
from serving.streaming.worker.signals import Signals
from serving.tiers import OperatingPoint

TOPIC = "t"
BASE_POINT = OperatingPoint(tier="base", threshold=0)


class Clock:
    """Seconds that pass only when a test or a fake wait moves them."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


class Message:
    """A message, or an error in place of one, as a consumer returns it."""

    def __init__(self, partition: int, offset: int, value: bytes = b"x", error: Any = None) -> None:
        self._partition, self._offset, self._value, self._error = partition, offset, value, error

    def partition(self) -> int:
        return self._partition

    def offset(self) -> int:
        return self._offset

    def value(self) -> bytes:
        return self._value

    def error(self) -> Any:
        return self._error


def parts(numbers: Iterable[int]) -> list[Any]:
    """Partitions as the group's callbacks get them."""
    return [SimpleNamespace(topic=TOPIC, partition=number) for number in numbers]


def block(*origins: tuple[int, int], epoch: int = 0, dead: Iterable[str] = ()) -> ProcessedBatch:
    """A processed batch of messages at (partition, offset); `dead`: reasons of dead letters among them."""
    messages = [Message(*origin) for origin in origins]
    return ProcessedBatch(messages=messages, epoch=epoch, dead_letters=list(zip(messages, dead, strict=False)))


class Broker:
    """One topic and one consumer group. `owned` is what the group has assigned to the consumer under test."""

    def __init__(self, partitions: int = 3) -> None:
        self.ends = dict.fromkeys(range(partitions), 0)
        self.committed = dict.fromkeys(range(partitions), 0)
        self.owned: set[int] = set()
        self.refusals: deque[str] = deque()
        """What happens to the next commits: "" accepts, "request" and "partition" refuse."""
        self.down = False
        self.commits: list[dict[int, int]] = []
        """The offsets of each accepted commit."""


class Consumer:
    """A consumer of the group."""

    def __init__(self, broker: Broker, clock: Clock) -> None:
        self.broker, self.clock = broker, clock
        self.positions: dict[int, int] = {}
        self.paused: set[int] = set()
        self.errors: deque[Message] = deque()
        self.before_consume: deque[Callable[[], None]] = deque()
        """Called by the next calls of `consume`, one each, like the callbacks of a rebalance."""
        self.pauses = self.metadata_reads = 0
        self.subscribed = self.closed = False
        self.cut_off = False
        """Whether this client alone has no connection."""

    def subscribe(self, topics: list[str], *, on_assign: Any, on_revoke: Any, on_lost: Any) -> None:
        self.subscribed = topics == [TOPIC]
        self._on_assign, self._on_revoke, self._on_lost = on_assign, on_revoke, on_lost

    def assign(self, *numbers: int) -> None:
        """The group assigns partitions."""
        self.broker.owned |= set(numbers)
        self.positions |= {number: self.broker.committed[number] for number in numbers}
        self._on_assign(self, parts(numbers))

    def revoke(self, *numbers: int) -> None:
        """The group takes partitions back; it waits for the callback before it assigns them to another member."""
        self._on_revoke(self, parts(numbers))
        self.broker.owned -= set(numbers)
        for number in numbers:
            del self.positions[number]

    def lose(self, *numbers: int) -> None:
        """The member hears that it no longer has partitions."""
        self.broker.owned -= set(numbers)
        for number in numbers:
            del self.positions[number]
        self._on_lost(self, parts(numbers))

    def assignment(self) -> list[Any]:
        return parts(sorted(self.positions))

    def position(self, partitions: list[Any]) -> list[Any]:
        return [SimpleNamespace(partition=each.partition, offset=self.positions[each.partition]) for each in partitions]

    def get_watermark_offsets(self, partition: Any, *, cached: bool) -> tuple[int, int]:
        assert cached, "the polling thread does not ask the broker"
        return 0, self.broker.ends[partition.partition]

    def pause(self, partitions: list[Any]) -> None:
        self.pauses += bool(partitions)
        self.paused |= {each.partition for each in partitions}

    def resume(self, partitions: list[Any]) -> None:
        self.paused -= {each.partition for each in partitions}

    def consume(self, most: int, timeout_s: float) -> list[Message]:
        if self.before_consume:
            self.before_consume.popleft()()
        read = [self.errors.popleft() for _ in range(len(self.errors))]
        for number in sorted(set(self.positions) - self.paused):
            end = min(self.broker.ends[number], self.positions[number] + most - len(read))
            read += [Message(number, offset) for offset in range(self.positions[number], end)]
            self.positions[number] = max(end, self.positions[number])
        if not read:
            self.clock.now += timeout_s
        return read

    def commit(self, *, offsets: list[Any], asynchronous: bool) -> list[Any]:
        assert not asynchronous and offsets and {each.topic for each in offsets} == {TOPIC}
        wanted = {each.partition: each.offset for each in offsets}
        refusal = self.broker.refusals.popleft() if self.broker.refusals else ""
        if refusal == "request" or not set(wanted) <= self.broker.owned:
            raise KafkaException(KafkaError(KafkaError.ILLEGAL_GENERATION))
        refused = max(wanted) if refusal == "partition" else None
        accepted = {number: offset for number, offset in wanted.items() if number != refused}
        self.broker.committed |= accepted
        self.broker.commits.append(accepted)
        error = KafkaError(KafkaError.REBALANCE_IN_PROGRESS)
        return [SimpleNamespace(error=error if number == refused else None) for number in wanted]

    def consumer_group_metadata(self) -> str:
        self.metadata_reads += 1
        return f"metadata {self.metadata_reads}"

    def list_topics(self, topic: str, timeout: float) -> None:
        assert topic == TOPIC
        if self.broker.down or self.cut_off:
            raise KafkaException(KafkaError(KafkaError._TRANSPORT))

    def close(self) -> None:
        self.closed = True


class _Waits(threading.Condition):
    def __init__(self, clock: Clock, meanwhile: deque[Callable[[], None]]) -> None:
        super().__init__()
        self._clock, self._meanwhile = clock, meanwhile

    def wait_for(self, predicate: Callable[[], Any], timeout: float | None = None) -> Any:
        assert timeout is not None
        end = self._clock.now + timeout
        while not predicate():
            if not self._meanwhile:
                self._clock.now = end
                return predicate()
            self._meanwhile.popleft()()
        return True


class _Pause(threading.Event):
    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock

    def wait(self, timeout: float | None = None) -> bool:
        assert timeout is not None
        self._clock.now += 0 if self.is_set() else timeout
        return self.is_set()


class FakeSignals(Signals):
    """Signals whose waits move the clock. While one waits, the next of `meanwhile` is called: what other threads do."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self.meanwhile: deque[Callable[[], None]] = deque()
        self.changed = _Waits(clock, self.meanwhile)
        self.give_up = _Pause(clock)
