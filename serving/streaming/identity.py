"""Whether a topic is the one that the warehouse knows: one made anew counts from zero and would overwrite old rows."""

from pathlib import Path

from data.errors import StreamError
from serving.settings import StreamSettings
from serving.streaming.broker import TIMEOUT_S, client_config
from serving.warehouse.connect import connect


def need_same_topic(settings: StreamSettings, var: Path, partitions: int) -> None:
    """Compare the topic with what the warehouse has of it, and write it down the first time. Blocks for some seconds at most.

    Raises:
        StreamError: It was made anew, or lost partitions, since.
        WarehouseError: Nobody holds the warehouse, or it is of another version.
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
                remedy="A topic made anew numbers its messages from zero, so they would replace old rows. Give it another name "
                "(GROUNDSWELL_STREAM__TOPIC), or, if the old rows may go: groundswell warehouse forget " + settings.topic,
            )
        if not rows or rows[0][1] != partitions or (topic_id and not known):
            client.insert(
                "topics", [[settings.topic, topic_id or known, partitions]], column_names=["topic", "topic_id", "partitions"]
            )


def _topic_id(settings: StreamSettings) -> str:
    """The broker's own id of the topic. Empty where it has none (librdkafka's in-process broker) or does not say it now: then the
    worker takes the topic for the same.
    """
    from confluent_kafka import KafkaException, TopicCollection
    from confluent_kafka.admin import AdminClient

    admin = AdminClient(client_config(settings))
    try:
        asked = admin.describe_topics(TopicCollection([settings.topic]), request_timeout=TIMEOUT_S)
        return str(asked[settings.topic].result(TIMEOUT_S).topic_id)
    except (KafkaException, TimeoutError):
        return ""
