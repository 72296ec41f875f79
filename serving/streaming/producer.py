"""Send messages to a topic, at full speed or at a fixed rate."""

import json
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

from data.errors import SourceUnavailable

TICK_S = 0.005
"""At a rate, due messages are sent at this interval: waiting for each single message would use a whole core."""
_REPORT_S = 0.2


@dataclass(frozen=True)
class SendSummary:
    """The result of a send."""

    sent: int
    delivered: int
    """Acknowledged by the broker."""
    errors: dict[str, int] = field(default_factory=dict)
    """Messages that were not acknowledged, by the name of librdkafka's error, such as MSG_SIZE_TOO_LARGE."""
    wall_s: float = 0.0
    late_s: float = 0.0
    """The longest delay of a message after it was due; 0 without a rate."""

    @property
    def failed(self) -> int:
        """Messages the broker did not acknowledge."""
        return sum(self.errors.values())

    @property
    def messages_per_s(self) -> float:
        """Acknowledged a second."""
        return self.delivered / self.wall_s if self.wall_s else 0.0


def send(
    bootstrap_config: Mapping[str, Any],
    topic: str,
    events: Iterable[bytes],
    *,
    rate: float | None = None,
    progress: Callable[[str, float | None], None] | None = None,
    total: int | None = None,
    timeout_s: float = 60.0,
) -> SendSummary:
    """Send events, each once and in order, even with retries. Blocks until each is acknowledged or given up.

    The load is open: message k is due at k / rate, independent of earlier messages; late messages are sent at once.

    Args:
        bootstrap_config: The client's configuration, from `serving.streaming.broker.client_config`.
        topic: An existing topic.
        events: Read one by one when they are due.
        rate: Messages a second; None: as fast as the broker accepts them.
        progress: Called with the acknowledged messages, a few times a second.
        total: Number of events, for the progress.
        timeout_s: A message that is not acknowledged within this time is given up and counted as an error.

    Raises:
        StreamError: The broker is not reachable, or has no such topic; nothing was sent. Takes at most ten seconds.
    """
    from confluent_kafka import KafkaException, Producer

    from serving.streaming.broker import MAX_MESSAGE_BYTES, require_topic

    producer = Producer(
        {
            **bootstrap_config,
            "enable.idempotence": True,
            "linger.ms": 5,
            "message.max.bytes": MAX_MESSAGE_BYTES,
            "message.timeout.ms": round(1000 * timeout_s),
        }
    )
    require_topic(producer, topic, str(bootstrap_config["bootstrap.servers"]))
    delivered, errors = 0, Counter[str]()

    def reported(error: Any, _: Any) -> None:
        nonlocal delivered
        if error is None:
            delivered += 1
        else:
            errors[error.name()] += 1

    sent, late, started = 0, 0.0, time.monotonic()
    shown_at = started
    for event in events:
        now = time.monotonic()
        if rate:
            due = started + sent / rate
            while now < due:
                # Wait for the tick of the next message, and receive delivery reports meanwhile.
                producer.poll(max(due - now, TICK_S))
                now = time.monotonic()
            late = max(late, now - due)
        while True:
            try:
                producer.produce(topic, event, on_delivery=reported)
                break
            except BufferError:  # the client's queue is full: continue as fast as the broker accepts messages
                producer.poll(0.1)
            except KafkaException as error:  # refused by the client, such as a message that is too large
                errors[error.args[0].name()] += 1
                break
        sent += 1
        producer.poll(0)
        if progress and now - shown_at >= _REPORT_S:
            shown_at = now
            progress(f"{delivered:,} messages", delivered / total if total else None)
    left = producer.flush(timeout_s + 5)
    if left:
        errors["_TIMED_OUT"] += left
    if progress:
        progress(f"{delivered:,} messages", 1.0)
    return SendSummary(sent, delivered, dict(errors), time.monotonic() - started, late)


def event_bytes(identity: str, text: str, source: str) -> bytes:
    """Return an event as it is sent, with the current time."""
    created = datetime.now(UTC).isoformat(timespec="milliseconds")
    return json.dumps({"id": identity, "text": text, "source": source, "created_at": created}, ensure_ascii=False).encode()


def file_events(file: Path, count: int | None = None) -> Iterator[bytes]:
    """Yield the lines of a JSONL file, unchanged.

    Raises:
        SourceUnavailable: The file does not exist.
    """
    if not file.is_file():
        raise SourceUnavailable(f"There is no file {file}.")
    return _lines(file, count)


def _lines(file: Path, count: int | None) -> Iterator[bytes]:
    with file.open("rb") as lines:
        for line in islice(lines, count):
            yield line.rstrip(b"\r\n")
