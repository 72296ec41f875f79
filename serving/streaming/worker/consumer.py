"""The consumer of a worker: its settings, and what the broker reports in place of messages."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import structlog

from data.errors import StreamError
from serving.settings import StreamSettings
from serving.streaming.broker import client_config

SESSION_TIMEOUT_MS = 6_000
"""The group reassigns the partitions of a dead worker after this time; the least that brokers allow by default."""
JOIN_TIMEOUT_S = 30.0
"""Added to `drain_s`: the group waits this long for a member that does not poll, and a member for the reply to its join request.

librdkafka's default is five minutes. A shorter time alone does not help a worker that the group does not readmit: see
`membership.REJOIN_AFTER_S`.
"""
_log = structlog.get_logger()


def new_consumer(settings: StreamSettings, on_unavailable: Callable[[str], None]) -> Any:
    """Return a consumer that is not subscribed yet.

    Args:
        settings: Of the stream.
        on_unavailable: Called with the error when no broker is reachable.
    """
    from confluent_kafka import Consumer, KafkaError

    def on_error(error: Any) -> None:
        if error.code() == KafkaError._ALL_BROKERS_DOWN:
            on_unavailable(error.str())

    return Consumer(
        {
            **client_config(settings),
            "group.id": settings.group,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "partition.assignment.strategy": "cooperative-sticky",
            "session.timeout.ms": SESSION_TIMEOUT_MS,
            "max.poll.interval.ms": int(1000 * (JOIN_TIMEOUT_S + settings.drain_s)),
            "queued.max.messages.kbytes": 32_768,
            "fetch.message.max.bytes": 8 * 1024 * 1024,
            "error_cb": on_error,
        }
    )


def without_errors(read: Iterable[Any], settings: StreamSettings) -> Iterator[Any]:
    """Yield what is a message, and log the errors among them that may pass.

    Raises:
        StreamError: An error that does not pass: missing rights, no topic, or a member that the broker ended.
    """
    from confluent_kafka import KafkaError

    for message in read:
        error = message.error()
        if error is None:
            yield message
        elif error.code() in {KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.GROUP_AUTHORIZATION_FAILED}:
            raise StreamError(
                f"Not authorized to read {settings.topic} as group {settings.group}.",
                found=error.str(),
                remedy="Grant READ on the topic and on the group.",
            )
        elif error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
            raise StreamError(
                f"The topic {settings.topic} no longer exists.",
                found=error.str(),
                remedy="Check whether it was deleted.",
            )
        elif error.fatal():
            raise StreamError("The broker ended this member.", found=error.str())
        else:
            _log.warning("the broker reports an error", error=error.str())
