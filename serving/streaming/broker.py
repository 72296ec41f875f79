"""Kafka: topics, how every client begins, what is checked first; and the in-process broker of demo and tests."""

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
"""A dead letter holds the whole message it is about, in base64."""


def client_config(settings: StreamSettings) -> dict[str, Any]:
    """What every librdkafka client begins with."""
    secrets = {name: value.get_secret_value() for name, value in settings.security.items()}
    return {"bootstrap.servers": settings.bootstrap, "client.id": "groundswell", **QUIET, **secrets}


class BrokerAway(StreamError):
    """No broker answers; one may later."""


class TopicMissing(StreamError):
    """The broker answers, and has no such topic."""


@contextmanager
def in_process_broker(*topics: str) -> Iterator[str]:
    """The address of a broker that lives as long as the block. It forgets everything when it is closed.

    Args:
        topics: Made at once. It makes others when a producer asks for them, not for a consumer.
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


def need_topic(client: Any, topic: str, bootstrap: str) -> int:
    """The partitions of a topic, from any client of the broker. Blocks for at most `TIMEOUT_S`.

    Raises:
        BrokerAway: The broker does not answer.
        TopicMissing: It has no such topic.
        StreamError: It refuses.
    """
    from confluent_kafka import KafkaError, KafkaException

    try:
        found = client.list_topics(topic, timeout=TIMEOUT_S).topics[topic]
    except KafkaException as error:
        raise BrokerAway(
            f"No broker answers at {bootstrap}.", found=error.args[0].str(),
            remedy="Is it the right address (GROUNDSWELL_STREAM__BOOTSTRAP)? A broker for this machine: make kafka.",
        ) from error  # fmt: skip
    if found.error is None:
        return len(found.partitions)
    if found.error.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED:
        raise StreamError(
            f"The broker lets this user not read the topic {topic}.", found=found.error.str(),
            remedy="Grant READ and DESCRIBE on the topic and READ on the group, and WRITE on the topics written to.",
        )  # fmt: skip
    raise TopicMissing(
        f"There is no topic {topic} at {bootstrap}.", found=found.error.str(),
        remedy="Name another with GROUNDSWELL_STREAM__TOPIC, or make the topics: groundswell stream init.",
    )  # fmt: skip


def create_topics(settings: StreamSettings, *, partitions: int = 6, replication: int = -1) -> list[str]:
    """Make those of the four topics that are missing; gives the ones made. Blocks for at most `TIMEOUT_S` a call.

    Args:
        settings: Of the stream.
        partitions: Of the topic of messages and of predictions; dead letters and alerts have one each.
        replication: Copies of each; -1: as the broker does by default.

    Raises:
        StreamError: The broker does not answer or refuses.
    """
    from confluent_kafka import KafkaError, KafkaException
    from confluent_kafka.admin import AdminClient
    from confluent_kafka.cimpl import NewTopic

    admin = AdminClient(client_config(settings))
    try:
        there = admin.list_topics(timeout=TIMEOUT_S).topics
        large = {"max.message.bytes": str(MAX_MESSAGE_BYTES)}
        wanted = {settings.topic: (partitions, {}), PREDICTIONS: (partitions, {}), DEAD_LETTERS: (1, large), ALERTS: (1, {})}
        missing = [
            NewTopic(name, num_partitions=count, replication_factor=replication, config=config)
            for name, (count, config) in wanted.items()
            if name not in there
        ]
        made = []
        for name, asked in (admin.create_topics(missing, operation_timeout=TIMEOUT_S) if missing else {}).items():
            try:
                asked.result(TIMEOUT_S)
                made.append(name)
            except KafkaException as error:  # somebody else made it just now
                if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                    raise
    except KafkaException as error:
        raise StreamError("The topics cannot be made.", found=error.args[0].str(), remedy="Is it the right broker?") from error
    return made
