"""Replays events through the whole stream and counts the results."""

import json
import re
import threading
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data.domains import domains_of_sources
from data.errors import StreamError
from data.labels import LABELS
from data.rates import rate, rate_text
from data.settings import LanguageSettings
from serving.settings import StreamSettings
from serving.streaming.broker import MESSAGES, TIMEOUT_S, client_config, in_process_broker, require_topic
from serving.streaming.dead_letters import read_dead_letters
from serving.streaming.worker.model import StreamModel
from serving.streaming.worker.worker import Worker
from serving.warehouse.connect import connect
from serving.warehouse.server import ensure_server

STALL_S = 60.0
"""A worker has stalled if it commits nothing for this time while messages are missing."""
TICK_S = 0.1


@dataclass(frozen=True)
class StreamSummary:
    """The results of a replay; the label counts are read from the warehouse."""

    topic: str
    messages: int
    dead_letters: int
    reasons: dict[str, int]
    """Dead letters by reason, the most frequent first; a number in a reason is written N."""
    seconds: float
    """From the first message read to the last commit."""
    messages_per_s: float | None
    """None where the time was too short to measure."""
    labels: dict[str, int]
    version: str


@dataclass(frozen=True)
class Replayed:
    """A replay whose messages are all committed, while its broker and its warehouse server still run."""

    settings: StreamSettings
    client: Any
    """Of the warehouse."""
    messages: int
    dead_letters: int
    seconds: float
    """From the first message read to the last commit."""


def run_stream(
    events: Iterable[dict[str, Any] | bytes],
    classifier: StreamModel,
    var: Path,
    *,
    run_id: str,
    progress: Callable[[str, float | None], None] | None = None,
) -> StreamSummary:
    """Replay events and read the counts from the warehouse; see `replayed`."""
    with replayed(events, classifier, var, run_id=run_id, progress=progress) as done:
        topic = done.settings.topic
        reasons = _reasons(done.settings) if done.dead_letters else {}  # they end with this broker
        counted = done.client.query(
            "SELECT label, count() FROM predictions FINAL WHERE topic = {topic:String} AND NOT forgotten GROUP BY label",
            parameters={"topic": topic},
        ).result_rows
    labels = dict.fromkeys(LABELS, 0) | {str(label): int(count) for label, count in counted}
    return StreamSummary(
        topic=topic,
        messages=sum(labels.values()),
        dead_letters=done.dead_letters,
        reasons=reasons,
        seconds=round(done.seconds, 3),
        messages_per_s=rate(done.messages, done.seconds),
        labels=labels,
        version=classifier.name,
    )


@contextmanager
def replayed(
    events: Iterable[dict[str, Any] | bytes],
    classifier: StreamModel,
    var: Path,
    *,
    run_id: str,
    progress: Callable[[str, float | None], None] | None = None,
) -> Iterator[Replayed]:
    """Produce events to an in-process broker and let one worker classify them; broker and warehouse run until the block ends.

    The in-process broker counts offsets from zero each time. Each run has a topic of its own (`sentiment.messages.<run_id>`), so
    that `(topic, partition, offset)` stays the identity of a message. A replay with the same run id writes the same rows again,
    which count once.

    Raises:
        StreamError: The worker stalls.
        WarehouseError: The warehouse cannot be opened or refuses a block.
    """
    from confluent_kafka import Producer

    topic = f"{MESSAGES}.{run_id}"
    with in_process_broker() as bootstrap, ensure_server(var):
        settings = StreamSettings.load(bootstrap=bootstrap, topic=topic)
        producer = Producer({**client_config(settings), "queue.buffering.max.messages": 1_000_000})
        partitions = require_topic(producer, topic, bootstrap)
        produced = 0
        for event in events:
            value = event if isinstance(event, bytes) else json.dumps(event).encode()
            # By content: a replay of the same file gives each message the same partition and offset again.
            producer.produce(topic, value, partition=zlib.crc32(value) % partitions)
            producer.poll(0)
            produced += 1
        if producer.flush(TIMEOUT_S):
            raise StreamError("The in-process broker does not accept the messages.")
        options: dict[str, Any] = {"domains": domains_of_sources(), "reject_languages": LanguageSettings.load().reject}
        worker = Worker(settings, var, lambda: classifier, name="replay", identified=False, **options)
        seconds = _drain(worker, produced, progress)
        with connect(var, own=False) as client:
            yield Replayed(settings, client, produced, worker.dead, seconds)


def _reasons(settings: StreamSettings) -> dict[str, int]:
    return count_reasons(letter.reason for letter in read_dead_letters(settings, everything=True))


def count_reasons(reasons: Iterable[str]) -> dict[str, int]:
    """Count reasons, the most frequent first; those that differ in numbers only are counted under the first of them."""
    counts: Counter[str] = Counter()
    first: dict[str, str] = {}
    for reason in reasons:
        counts[first.setdefault(re.sub(r"\d[\d,.]*", "N", reason), reason)] += 1
    return dict(counts.most_common())


def _drain(worker: Worker, produced: int, progress: Callable[[str, float | None], None] | None) -> float:
    """Run the worker until everything is committed; return the seconds from the first message read to the last commit."""
    stop = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(worker.run, stop)
        try:
            last = _wait_for_commits(worker, running, produced, progress)
        finally:
            stop.set()
        running.result()
    return last - _began(worker, last)


def _wait_for_commits(
    worker: Worker, running: "Future[None]", produced: int, progress: Callable[[str, float | None], None] | None
) -> float:
    """Return when the last commit was seen."""
    done, last = 0, time.monotonic()
    while done < produced:
        wait([running], TICK_S)
        if running.done():
            running.result()
        now = time.monotonic()
        if worker.committed > done:
            done, last = worker.committed, now
            if progress:
                speed = rate_text(done, now - _began(worker, now))
                progress(f"{done:,} messages, {speed}, {worker.waiting:,} in flight", done / produced)
        elif now - last > STALL_S:
            raise StreamError(
                f"The worker committed nothing for {STALL_S:g} s.",
                found=f"{done:,} messages",
                expected=f"{produced:,} messages",
            )
    return last


def _began(worker: Worker, now: float) -> float:
    """Return when the first message was read, so that joining the group does not lower the rate."""
    return now if worker.first_read_at is None else worker.first_read_at
