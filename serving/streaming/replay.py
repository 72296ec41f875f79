"""Replay events through the whole stream and count what came out."""

import json
import time
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from data.errors import StreamError
from serving.classifier import Classifier
from serving.settings import StreamSettings
from serving.streaming.broker import MESSAGES, QUIET, TIMEOUT_S, deliver, in_process_broker
from serving.streaming.worker import Worker
from serving.warehouse.store import label_counts, open_warehouse

STALL_S = 60.0
"""A worker that gets nothing for so long while messages are missing has stalled."""


@dataclass(frozen=True)
class StreamSummary:
    """What came out; the label counts are the warehouse's own."""

    topic: str
    messages: int
    dead_letters: int
    seconds: float
    """From the first poll to the last commit."""
    messages_per_s: float
    labels: dict[str, int]
    p50_ms: float
    """From produced to written. The whole file is produced first, so this is mostly waiting for one's turn."""
    p95_ms: float
    version: str


def run_stream(
    events: Iterable[dict[str, Any] | bytes], classifier: Classifier, warehouse: Path, *, run_id: str,
    progress: Callable[[str, float | None], None] | None = None,
) -> StreamSummary:  # fmt: skip
    """Produce events to an in-process broker, let one worker judge them, and read the counts back from the warehouse.

    The in-process broker counts offsets from zero each time, so each run has a topic of its own (`sentiment.messages.<run_id>`):
    `(topic, partition, offset)` stays the identity of a message. The same run id replayed writes the same rows again, which
    count once.

    Raises:
        StreamError: The worker stalls.
        WarehouseError: The warehouse cannot be opened or refuses a block.
    """
    from confluent_kafka import Producer

    topic = f"{MESSAGES}.{run_id}"
    with in_process_broker() as bootstrap, open_warehouse(warehouse) as client:
        producer = Producer({"bootstrap.servers": bootstrap, "queue.buffering.max.messages": 1_000_000, **QUIET})
        partitions = len(producer.list_topics(topic, timeout=TIMEOUT_S).topics[topic].partitions)
        produced = 0
        for event in events:
            value = event if isinstance(event, bytes) else json.dumps(event).encode()
            # By content: the same file replayed gives each message the same partition and offset again.
            producer.produce(topic, value, partition=zlib.crc32(value) % partitions)
            producer.poll(0)
            produced += 1
        deliver(producer, "messages")
        worker = Worker(bootstrap, topic, classifier, client, StreamSettings.load())
        try:
            seconds = _drain(worker, produced, progress)
        finally:
            worker.close()
        labels = label_counts(client, topic)
    latencies = np.array(worker.latencies_s or [0.0]) * 1000
    return StreamSummary(
        topic=topic,
        messages=sum(labels.values()),
        dead_letters=worker.dead,
        seconds=round(seconds, 3),
        messages_per_s=round(produced / seconds, 1) if seconds else 0.0,
        labels=labels,
        p50_ms=round(float(np.percentile(latencies, 50)), 1),
        p95_ms=round(float(np.percentile(latencies, 95)), 1),
        version=classifier.name,
    )


def _drain(worker: Worker, produced: int, progress: Callable[[str, float | None], None] | None) -> float:
    first = last = time.monotonic()
    done = 0
    while done < produced:
        before = time.monotonic()
        count = worker.step()
        now = time.monotonic()
        if count:
            if not done:
                first = before  # joining the group is no part of the rate
            done, last = done + count, now
            if progress:
                progress(f"{done:,} messages", done / produced)
        elif now - last > STALL_S:
            raise StreamError(
                f"The worker got nothing for {STALL_S:g} s.",
                found=f"{done:,} messages",
                expected=f"{produced:,} messages",
            )
    return max(last - first, 1e-9)
