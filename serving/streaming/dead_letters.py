"""The dead letters: what waits there, and sending it through once more.

What was replayed is remembered as the committed offset of a group of its own, so a letter is replayed once, unless it dies again.
"""

import base64
import binascii
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from data.errors import StreamError
from serving.settings import StreamSettings
from serving.streaming.broker import DEAD_LETTERS, MAX_MESSAGE_BYTES, TIMEOUT_S, client_config, need_topic


@dataclass(frozen=True)
class DeadLetter:
    """One of them."""

    reason: str
    topic: str
    partition: int
    offset: int
    """Where the message came from, with `topic` and `partition`; the same origin may be there twice."""
    original: bytes
    died_at: datetime


def read_dead_letters(settings: StreamSettings, *, everything: bool = False) -> Iterator[DeadLetter]:
    """Those not replayed yet, or all that the topic still holds, oldest first, each origin once. Blocks until the
    topic's present end.

    Raises:
        StreamError: The broker does not answer.
    """
    consumer = _consumer(settings)
    try:
        seen = set()
        for message in _pending(consumer, settings, everything=everything):
            found = _parse(message)
            if found is not None and (found.topic, found.partition, found.offset) not in seen:
                seen.add((found.topic, found.partition, found.offset))
                yield found
    finally:
        consumer.close()


def replay_dead_letters(settings: StreamSettings) -> int:
    """Send the original bytes of those not replayed yet to the topic they came from; gives how many. Blocks until they arrived.

    A crash in between sends them again at the next call: at least once.

    Raises:
        StreamError: The broker does not answer or refuses; then none counts as replayed.
    """
    from confluent_kafka import Producer, TopicPartition

    consumer = _consumer(settings)
    producer = Producer({**client_config(settings), "enable.idempotence": True, "message.max.bytes": MAX_MESSAGE_BYTES})
    failed: list[str] = []
    sent, seen, ends = 0, set(), {}
    try:
        for message in _pending(consumer, settings, everything=False):
            ends[message.partition()] = message.offset() + 1
            found = _parse(message)
            if found is None or (found.topic, found.partition, found.offset) in seen:
                continue
            seen.add((found.topic, found.partition, found.offset))
            while True:
                try:
                    producer.produce(found.topic, found.original, on_delivery=lambda e, _: failed.append(e.str()) if e else None)
                    break
                except BufferError:
                    producer.poll(0.1)
            sent += 1
        left = producer.flush(TIMEOUT_S)
        if left or failed:
            raise StreamError(
                f"{left + len(failed):,} dead letters could not be sent again.",
                found=failed[0] if failed else "no answer in time",
            )
        if ends:
            consumer.commit(offsets=[TopicPartition(DEAD_LETTERS, *pair) for pair in ends.items()], asynchronous=False)
    finally:
        consumer.close()
    return sent


def _consumer(settings: StreamSettings) -> Any:
    from confluent_kafka import Consumer

    return Consumer(
        {
            **client_config(settings),
            "group.id": f"{settings.group}-dead-letter-replay",
            "enable.auto.commit": False,
            "fetch.message.max.bytes": MAX_MESSAGE_BYTES,
        }
    )


def _pending(consumer: Any, settings: StreamSettings, *, everything: bool) -> Iterator[Any]:
    """Messages from what was replayed last up to the end as it is now."""
    from confluent_kafka import OFFSET_BEGINNING, TopicPartition

    count = need_topic(consumer, DEAD_LETTERS, settings.bootstrap)
    done = consumer.committed([TopicPartition(DEAD_LETTERS, k) for k in range(count)], timeout=TIMEOUT_S)
    for place in done:
        low, high = consumer.get_watermark_offsets(place, timeout=TIMEOUT_S)
        begin = low if everything or place.offset < 0 else max(place.offset, low)
        if begin >= high:
            continue
        consumer.assign([TopicPartition(DEAD_LETTERS, place.partition, begin if begin else OFFSET_BEGINNING)])
        position = begin
        while position < high:
            message = consumer.poll(TIMEOUT_S)
            if message is None or message.error() is not None:
                raise StreamError(
                    "The dead letters cannot be read.", found=message.error().str() if message else "no answer in time"
                )
            position = message.offset() + 1
            yield message
        consumer.unassign()


def _parse(message: Any) -> DeadLetter | None:
    try:
        values = json.loads(message.value())
        return DeadLetter(
            reason=values["reason"],
            topic=values["topic"],
            partition=values["partition"],
            offset=values["offset"],
            original=base64.b64decode(values["original_base64"], validate=True),
            died_at=datetime.fromtimestamp(message.timestamp()[1] / 1000, UTC),
        )
    except (TypeError, ValueError, KeyError, binascii.Error):
        return None  # not ours: somebody else writes to this topic
