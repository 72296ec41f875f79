"""Kafka: topics, the configuration of every client, checks at the start; and the in-process broker of demo and tests."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from data.errors import StreamError
from serving.settings import StreamSettings

MESSAGES, PREDICTIONS, DEAD_LETTERS, ALERTS = (
    "sentiment.messages",
    "sentiment.predictions",
    "sentiment.messages.dlq",
    "sentiment.alerts",
)
TIMEOUT_S = 10.0
QUIET = {"log_level": 2}
"""librdkafka writes its own log to the terminal: errors only."""
MAX_MESSAGE_BYTES = 8 * 1024 * 1024
"""A dead letter holds the whole original message, in base64."""


def client_config(settings: StreamSettings) -> dict[str, Any]:
    """Return the configuration that every librdkafka client has."""
    secrets = {name: value.get_secret_value() for name, value in settings.security.items()}
    return {"bootstrap.servers": settings.bootstrap, "client.id": "groundswell", **QUIET, **secrets}


class BrokerUnavailable(StreamError):
    """No broker responds; one may later."""


class TopicMissing(StreamError):
    """The broker has no such topic."""


@contextmanager
def in_process_broker(*topics: str) -> Iterator[str]:
    """Start a broker for the time of the block; yields its address. It keeps nothing after that.

    Args:
        topics: Created at once. It creates others when a producer asks for them, not for a consumer.
    """
    from confluent_kafka import Producer

    holder = Producer({"test.mock.num.brokers": 1, **QUIET})
    brokers = holder.list_topics(timeout=TIMEOUT_S).brokers.values()
    for topic in topics:
        holder.list_topics(topic, timeout=TIMEOUT_S)
    try:
        yield ",".join(f"{broker.host}:{broker.port}" for broker in brokers)
    finally:
        holder.flush(TIMEOUT_S)
        del holder


def require_topic(client: Any, topic: str, bootstrap: str) -> int:
    """Return the number of partitions of a topic, from any client of the broker. Blocks for at most `TIMEOUT_S`.

    Raises:
        BrokerUnavailable: The broker does not respond.
        TopicMissing: It has no such topic.
        StreamError: It refuses.
    """
    from confluent_kafka import KafkaError, KafkaException

    try:
        metadata = client.list_topics(topic, timeout=TIMEOUT_S).topics[topic]
    except KafkaException as error:
        raise BrokerUnavailable(
            f"The broker at {bootstrap} does not respond.",
            found=error.args[0].str(),
            remedy="Check the address (GROUNDSWELL_STREAM__BOOTSTRAP), or start a broker on this machine with make kafka.",
        ) from error
    if metadata.error is None:
        return len(metadata.partitions)
    if metadata.error.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED:
        raise StreamError(
            f"Not authorized to read the topic {topic}.",
            found=metadata.error.str(),
            remedy="Grant READ and DESCRIBE on the topic and READ on the group, and WRITE on the topics written to.",
        )
    raise TopicMissing(
        f"Topic {topic} not found at {bootstrap}.",
        found=metadata.error.str(),
        remedy="Set another with GROUNDSWELL_STREAM__TOPIC, or create the topics with groundswell stream init.",
    )


def create_topics(settings: StreamSettings, *, partitions: int = 6, replication: int = -1) -> list[str]:
    """Create those of the four topics that are missing; return their names. Blocks for at most `TIMEOUT_S` a call.

    Args:
        settings: Of the stream.
        partitions: Of the topic of messages and of predictions; dead letters and alerts have one each.
        replication: Copies of each; -1: the broker's default.

    Raises:
        StreamError: The broker does not respond or refuses.
    """
    from confluent_kafka import KafkaError, KafkaException
    from confluent_kafka.admin import AdminClient
    from confluent_kafka.cimpl import NewTopic

    admin = AdminClient(client_config(settings))
    try:
        existing = admin.list_topics(timeout=TIMEOUT_S).topics
        large = {"max.message.bytes": str(MAX_MESSAGE_BYTES)}
        wanted = {settings.topic: (partitions, {}), PREDICTIONS: (partitions, {}), DEAD_LETTERS: (1, large), ALERTS: (1, {})}
        missing = [
            NewTopic(name, num_partitions=count, replication_factor=replication, config=config)
            for name, (count, config) in wanted.items()
            if name not in existing
        ]
        created = []
        for name, result in (admin.create_topics(missing, operation_timeout=TIMEOUT_S) if missing else {}).items():
            try:
                result.result(TIMEOUT_S)
                created.append(name)
            except KafkaException as error:  # another process created it meanwhile
                if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                    raise
    except KafkaException as error:
        raise StreamError(
            "The topics cannot be created.",
            found=error.args[0].str(),
            remedy="Check the address of the broker (GROUNDSWELL_STREAM__BOOTSTRAP).",
        ) from error
    return created
