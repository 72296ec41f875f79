"""The worker: poll, decode, classify, write one block, produce, commit."""

import json
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from data.contracts import Event, Prediction
from data.errors import StreamError
from serving.classifier import Classifier
from serving.settings import StreamSettings
from serving.streaming.broker import DEAD_LETTERS, PREDICTIONS, QUIET, TIMEOUT_S, deliver
from serving.streaming.decode import dead_letter, decode
from serving.warehouse.store import insert


class Worker:
    """Judges the messages of one topic.

    Delivery: at least once. Offsets are committed after the warehouse and the predictions topic have the batch; a crash before
    that judges it again, which `(topic, partition, offset)` makes harmless in the warehouse. Blocks: `step` at most the age
    of a batch while there is nothing to read, plus the time of one batch.
    """

    def __init__(self, bootstrap: str, topic: str, classifier: Classifier, warehouse: Any, settings: StreamSettings) -> None:
        from confluent_kafka import Consumer, Producer

        self._consumer = Consumer(
            {
                "bootstrap.servers": bootstrap,
                "group.id": "groundswell",
                "auto.offset.reset": "earliest",
                "enable.auto.commit": False,
                "session.timeout.ms": 6_000,  # a worker that dies hands its share on after this; the library waits 45 s
                **QUIET,
            }
        )
        self._consumer.subscribe([topic])
        self._producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 5, **QUIET})
        self._classifier, self._warehouse, self._settings = classifier, warehouse, settings
        self.judged = self.dead = 0
        self.latencies_s: list[float] = []
        """Seconds from produced to written, one a message."""

    def step(self) -> int:
        """One micro-batch: as many messages as are there, or as come within the age of a batch. Gives how many."""
        messages = self._poll()
        if not messages:
            return 0
        events: list[tuple[Any, Event]] = []
        for message in messages:
            decoded = decode(message.value())
            if isinstance(decoded, Event):
                events.append((message, decoded))
            else:
                self._dead(message, decoded)
        answers = self._classifier.classify([event.text for _, event in events])
        predictions = [self._prediction(message, event, answer) for (message, event), answer in zip(events, answers, strict=True)]
        insert(self._warehouse, predictions)
        for prediction in predictions:
            self._produce(PREDICTIONS, prediction.id, prediction.model_dump_json().encode())
        deliver(self._producer, "predictions")
        self._consumer.commit(offsets=_next_offsets(messages), asynchronous=False)
        written = time.time()
        self.latencies_s += [written - message.timestamp()[1] / 1000 for message, _ in events]
        self.judged += len(events)
        return len(messages)

    def close(self) -> None:
        """Leave the group; what was read and not committed will be read again."""
        self._consumer.close()
        self._producer.flush(TIMEOUT_S)

    def _poll(self) -> list[Any]:
        from confluent_kafka import KafkaException

        found = self._consumer.consume(self._settings.batch_messages, self._settings.batch_age_ms / 1000)
        for message in found:
            if message.error() is not None:
                raise StreamError("The broker reports an error.", found=KafkaException(message.error()))
        return found

    def _prediction(self, message: Any, event: Event, answer: Any) -> Prediction:
        return Prediction(
            id=event.id,
            source=event.source,
            created_at=event.created_at,
            predicted_at=datetime.now(UTC),
            label=answer.label,
            confidence=answer.confidence,
            probabilities=answer.probabilities,
            sarcasm=None,
            tier="model",
            model_version=self._classifier.name,
            topic=message.topic(),
            partition=message.partition(),
            offset=message.offset(),
        )

    def _dead(self, message: Any, reason: str) -> None:
        self.dead += 1
        origin = {"topic": message.topic(), "partition": message.partition(), "offset": message.offset()}
        self._produce(DEAD_LETTERS, json.dumps(origin), dead_letter(message.value(), reason=reason, **origin))

    def _produce(self, topic: str, key: str, value: bytes) -> None:
        while True:
            try:
                self._producer.produce(topic, value, key=key)
                self._producer.poll(0)
                return
            except BufferError:  # the producer's queue is full: let it drain
                self._producer.poll(0.1)


def _next_offsets(messages: Sequence[Any]) -> list[Any]:
    from confluent_kafka import TopicPartition

    last: dict[tuple[str, int], int] = {}
    for message in messages:
        last[message.topic(), message.partition()] = message.offset()
    return [TopicPartition(topic, partition, offset + 1) for (topic, partition), offset in last.items()]
