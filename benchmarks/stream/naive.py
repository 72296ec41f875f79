"""A naive worker: poll one message, classify it with the transformers pipeline, insert its row, commit.

`python -m benchmarks.stream.naive BOOTSTRAP TOPIC GROUP CHECKPOINT THREADS`; the settings name the warehouse.
"""

import json
import sys
from datetime import UTC, datetime

from data.labels import LABELS

COLUMNS = [
    "topic",
    "partition",
    "offset",
    "id",
    "source",
    "text",
    "created_at",
    "produced_at",
    "predicted_at",
    "label",
    "confidence",
    "probabilities",
    "tier",
    "model_version",
]


def main(bootstrap: str, topic: str, group: str, checkpoint: str, threads: int) -> None:
    """Process messages until killed."""
    import torch
    from confluent_kafka import Consumer
    from transformers import pipeline

    from orchestration.layout import Layout
    from serving.warehouse.connect import connect

    torch.set_num_threads(threads)
    classifier = pipeline("text-classification", model=checkpoint, device="cpu", truncation=True, top_k=None)
    consumer = Consumer(
        {"bootstrap.servers": bootstrap, "group.id": group, "auto.offset.reset": "earliest", "enable.auto.commit": False}
    )
    consumer.subscribe([topic])
    with connect(Layout.load().var, own=False) as client:
        while True:
            message = consumer.poll(1.0)
            if message is None or message.error():
                continue
            event = json.loads(message.value() or b"")
            scores = {one["label"]: one["score"] for one in classifier(event["text"])[0]}  # type: ignore[index,union-attr]
            label = max(scores, key=scores.__getitem__)
            produced = datetime.fromtimestamp(message.timestamp()[1] / 1000, UTC)
            created = datetime.fromisoformat(event["created_at"])
            row = [
                topic,
                message.partition(),
                message.offset(),
                event["id"],
                event["source"],
                event["text"],
                created,
                produced,
                datetime.now(UTC),
                label,
                scores[label],
                [scores[name] for name in LABELS],
                "model",
                "naive",
            ]
            client.insert("predictions", [row], column_names=COLUMNS)
            consumer.commit(message=message)


if __name__ == "__main__":
    main(*sys.argv[1:5], threads=int(sys.argv[5]))
