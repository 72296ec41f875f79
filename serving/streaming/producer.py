"""Send messages to a topic, at full speed or at a fixed rate."""

import codecs
import json
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import chain, islice
from pathlib import Path
from typing import Any

from data.errors import SourceUnavailable
from data.tweets import pages, parse

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
    sender = Sender.connect(bootstrap_config, topic, timeout_s)
    sent, late, started = 0, 0.0, time.monotonic()
    shown_at = started
    for event in events:
        now = time.monotonic()
        if rate:
            due = started + sent / rate
            now = sender.wait_until(due, now)
            late = max(late, now - due)
        sender.send(event)
        sent += 1
        if progress and now - shown_at >= _REPORT_S:
            shown_at = now
            progress(f"{sender.delivered:,} messages", sender.delivered / total if total else None)
    sender.finish(timeout_s + 5)
    if progress:
        progress(f"{sender.delivered:,} messages", 1.0)
    return SendSummary(sent, sender.delivered, dict(sender.errors), time.monotonic() - started, late)


class Sender:
    """Sends to one topic, each message once and in order, even with retries; counts what is acknowledged and what fails."""

    def __init__(self, producer: Any, topic: str) -> None:
        from confluent_kafka import KafkaException

        self._producer, self._topic, self._refused = producer, topic, KafkaException
        self.delivered, self.errors = 0, Counter[str]()

    @classmethod
    def connect(cls, bootstrap_config: Mapping[str, Any], topic: str, timeout_s: float) -> "Sender":
        """Return a sender to an existing topic. Blocks for at most ten seconds.

        Args:
            bootstrap_config: The client's configuration, from `serving.streaming.broker.client_config`.
            topic: An existing topic.
            timeout_s: A message that is not acknowledged within this time is given up and counted as an error.

        Raises:
            StreamError: The broker is not reachable, or has no such topic.
        """
        from confluent_kafka import Producer

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
        return cls(producer, topic)

    def wait_until(self, due: float, now: float) -> float:
        """Wait for the tick of the next message, and receive delivery reports meanwhile; return the time."""
        while now < due:
            self._producer.poll(max(due - now, TICK_S))
            now = time.monotonic()
        return now

    def send(self, event: bytes) -> None:
        """Queue a message; blocks while the client's queue is full."""
        while True:
            try:
                self._producer.produce(self._topic, event, on_delivery=self._reported)
                break
            except BufferError:  # the client's queue is full: continue as fast as the broker accepts messages
                self._producer.poll(0.1)
            except self._refused as error:  # refused by the client, such as a message that is too large
                self.errors[error.args[0].name()] += 1
                break
        self._producer.poll(0)

    def finish(self, timeout_s: float) -> None:
        """Wait for the reports of all messages."""
        if left := self._producer.flush(timeout_s):
            self.errors["_TIMED_OUT"] += left

    def _reported(self, error: Any, _: Any) -> None:
        if error is None:
            self.delivered += 1
        else:
            self.errors[error.name()] += 1


def event_bytes(identity: str, text: str, source: str) -> bytes:
    """Return an event as it is sent, with the current time."""
    created = datetime.now(UTC).isoformat(timespec="milliseconds")
    return json.dumps({"id": identity, "text": text, "source": source, "created_at": created}, ensure_ascii=False).encode()


def file_events(file: Path, count: int | None = None) -> Iterator[bytes]:
    """Yield the lines of a JSONL file of events or raw tweets, unchanged, without blank ones; of a page each tweet by itself.

    Raises:
        SourceUnavailable: The file does not exist.
    """
    if not file.is_file():
        raise SourceUnavailable(f"There is no file {file}.")
    return _lines(file, count)


def _lines(file: Path, count: int | None) -> Iterator[bytes]:
    with file.open("rb") as lines:
        yield from islice(chain.from_iterable(map(_messages, lines)), count)


_PAGES = (b'"data"', b'"feed"', b'"posts"', b'"records"', b'_events"')
"""Fields of pages."""


def _messages(line: bytes) -> list[bytes]:
    """Return the messages of a line."""
    line = line.rstrip(b"\r\n").removeprefix(codecs.BOM_UTF8)
    if not line.strip():
        return []
    if any(name in line for name in _PAGES):
        record = parse(line)
        if isinstance(record, dict) and len(found := pages(record)) > 1:
            return [json.dumps(one).encode() for one in found]
    return [line]
