"""Lists the dead letters, and replays them: sends the original messages again.

The committed offset of a separate group marks what was replayed, so a dead letter is replayed once, unless its message becomes
a dead letter again.
"""

import base64
import binascii
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from data.errors import StreamError
from data.tweets import Tweet, parse, read
from serving.settings import StreamSettings
from serving.streaming.broker import DEAD_LETTERS, MAX_MESSAGE_BYTES, TIMEOUT_S, client_config, require_topic
from serving.warehouse.keys import ForgottenKeys


@dataclass(frozen=True)
class DeadLetter:
    """One dead letter."""

    reason: str
    topic: str
    partition: int
    offset: int
    """With `topic` and `partition`, the origin of the message; two dead letters may have the same origin."""
    original: bytes
    died_at: datetime


def read_dead_letters(
    settings: StreamSettings, *, everything: bool = False, forgotten: ForgottenKeys | None = None
) -> Iterator[DeadLetter]:
    """Yield the dead letters that were not replayed yet, or all that the topic holds, oldest first, each origin once.

    Dead letters of messages that are `forgotten` are left out: Kafka deletes no single message.

    Blocks until it has read up to the topic's end at the time of the call.

    Raises:
        StreamError: The broker does not respond.
    """
    consumer = _consumer(settings)
    try:
        seen = set()
        for message in _pending(consumer, settings, everything=everything):
            letter = _parse(message)
            if letter is not None and (letter.topic, letter.partition, letter.offset) not in seen:
                seen.add((letter.topic, letter.partition, letter.offset))
                if not (forgotten and is_forgotten(letter.original, forgotten)):
                    yield letter
    finally:
        consumer.close()


def is_forgotten(original: bytes, keys: ForgottenKeys) -> bool:
    """Return whether the bytes of a dead letter hold a message that is forgotten."""
    record = parse(original)
    for message in read(record) if isinstance(record, dict) else ():
        if message.message_id is None:
            continue
        author, at = (message.author, message.created_at) if isinstance(message, Tweet) else (None, None)
        replaces = message.replaces if isinstance(message, Tweet) else ()
        if keys.covers(message.message_id, replaces, author, at):
            return True
    return False


def replay_dead_letters(settings: StreamSettings) -> int:
    """Send the original bytes of the dead letters not replayed yet to their topics; return how many. Blocks until they arrived.

    After a crash in between, the next call sends them again: at least once.

    Raises:
        StreamError: The broker does not respond or refuses; then none counts as replayed.
    """
    from confluent_kafka import Producer, TopicPartition

    consumer = _consumer(settings)
    producer = Producer({**client_config(settings), "enable.idempotence": True, "message.max.bytes": MAX_MESSAGE_BYTES})
    failed: list[str] = []
    sent, seen, ends = 0, set(), {}
    try:
        for message in _pending(consumer, settings, everything=False):
            ends[message.partition()] = message.offset() + 1
            letter = _parse(message)
            if letter is None or (letter.topic, letter.partition, letter.offset) in seen:
                continue
            seen.add((letter.topic, letter.partition, letter.offset))
            while True:
                try:
                    producer.produce(
                        letter.topic, letter.original, on_delivery=lambda e, _: failed.append(e.str()) if e else None
                    )
                    break
                except BufferError:
                    producer.poll(0.1)
            sent += 1
        left = producer.flush(TIMEOUT_S)
        if left or failed:
            raise StreamError(
                f"{left + len(failed):,} dead letters could not be sent again.",
                found=failed[0] if failed else f"no response within {TIMEOUT_S:g} s",
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
    """Yield the messages from the last one replayed (or from the first) up to the present end."""
    from confluent_kafka import OFFSET_BEGINNING, TopicPartition

    count = require_topic(consumer, DEAD_LETTERS, settings.bootstrap)
    done = consumer.committed([TopicPartition(DEAD_LETTERS, k) for k in range(count)], timeout=TIMEOUT_S)
    for partition in done:
        low, high = consumer.get_watermark_offsets(partition, timeout=TIMEOUT_S)
        begin = low if everything or partition.offset < 0 else max(partition.offset, low)
        if begin >= high:
            continue
        consumer.assign([TopicPartition(DEAD_LETTERS, partition.partition, begin if begin else OFFSET_BEGINNING)])
        position = begin
        while position < high:
            message = consumer.poll(TIMEOUT_S)
            if message is None or message.error() is not None:
                raise StreamError(
                    "The dead letters cannot be read.",
                    found=message.error().str() if message else f"no response within {TIMEOUT_S:g} s",
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
        return None  # written to this topic by another program
