"""Checks that a topic is the one that the warehouse knows: a recreated topic counts from zero and would overwrite old rows."""

from pathlib import Path

from data.errors import StreamError
from serving.settings import StreamSettings
from serving.streaming.broker import TIMEOUT_S, client_config
from serving.warehouse.connect import connect


def require_same_topic(settings: StreamSettings, var: Path, partitions: int) -> None:
    """Compare the topic with its record in the warehouse, and record it the first time. Blocks for some seconds at most.

    Raises:
        StreamError: The topic was recreated, or has fewer partitions.
        WarehouseError: The warehouse is unavailable or of another version.
    """
    topic_id = _topic_id(settings)
    with connect(var, own=False) as client:
        rows = client.query(
            "SELECT topic_id, partitions FROM topics FINAL WHERE topic = {topic:String}", parameters={"topic": settings.topic}
        ).result_rows
        known = rows[0][0] if rows else ""
        if rows and ((known and topic_id and known != topic_id) or rows[0][1] > partitions):
            raise StreamError(
                f"The topic {settings.topic} is not the one whose messages the warehouse holds.",
                found=f"{partitions} partitions, id {topic_id}",
                expected=f"{rows[0][1]} partitions, id {rows[0][0]}",
                remedy="A recreated topic numbers its messages from zero, so they would replace old rows. Use another name "
                "(GROUNDSWELL_STREAM__TOPIC), or delete the old rows with groundswell warehouse forget " + settings.topic,
            )
        if not rows or rows[0][1] != partitions or (topic_id and not known):
            client.insert(
                "topics", [[settings.topic, topic_id or known, partitions]], column_names=["topic", "topic_id", "partitions"]
            )


def _topic_id(settings: StreamSettings) -> str:
    """Return the broker's own id of the topic; empty where the broker has none (librdkafka's in-process one) or returns none.

    Without an id the worker assumes that the topic is the same.
    """
    from confluent_kafka import KafkaException, TopicCollection
    from confluent_kafka.admin import AdminClient

    admin = AdminClient(client_config(settings))
    try:
        described = admin.describe_topics(TopicCollection([settings.topic]), request_timeout=TIMEOUT_S)
        return str(described[settings.topic].result(TIMEOUT_S).topic_id)
    except (KafkaException, TimeoutError):
        return ""
