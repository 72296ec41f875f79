"""The in-process broker: librdkafka's own cluster, for the demo and for tests. It forgets everything when it is closed."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from data.errors import StreamError

MESSAGES, PREDICTIONS, DEAD_LETTERS = "sentiment.messages", "sentiment.predictions", "sentiment.messages.dlq"
TIMEOUT_S = 10.0
QUIET = {"log_level": 2}
"""librdkafka writes its own log to the terminal: errors only."""


@contextmanager
def in_process_broker() -> Iterator[str]:
    """The address of a broker that lives as long as the block."""
    from confluent_kafka import Producer

    holder = Producer({"test.mock.num.brokers": 1, **QUIET})
    brokers = holder.list_topics(timeout=TIMEOUT_S).brokers.values()
    try:
        yield ",".join(f"{broker.host}:{broker.port}" for broker in brokers)
    finally:
        holder.flush(TIMEOUT_S)
        del holder


def deliver(producer: Any, what: str) -> None:
    """Wait until everything produced has arrived.

    Raises:
        StreamError: Something did not arrive in time.
    """
    left = producer.flush(TIMEOUT_S)
    if left:
        raise StreamError(f"{left:,} {what} did not arrive within {TIMEOUT_S:g} s.", remedy="Is the broker there?")
