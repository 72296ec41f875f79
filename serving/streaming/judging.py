"""One micro-batch: bytes in, rows for the warehouse, messages for the topics and dead letters out."""

import json
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import structlog
from pydantic_core import to_json

from data.contracts import Event
from serving.classifier import Classification
from serving.settings import StreamSettings
from serving.streaming import metrics
from serving.streaming.decode import dead_letter, decode
from serving.streaming.model import Judge

_log = structlog.get_logger()


@dataclass
class Judged:
    """What became of some messages. Lists of one length belong together, in the order of reading."""

    messages: list[Any] = field(default_factory=list)
    """All of them, as the consumer gave them."""
    origins: list[Any] = field(default_factory=list)
    """Those that became rows."""
    predictions: list[bytes] = field(default_factory=list)
    """For the topic."""
    rows: list[bytes] = field(default_factory=list)
    """For the warehouse: the prediction with its text and its broker's timestamp."""
    letters: list[tuple[Any, str]] = field(default_factory=list)
    """Messages that are none or that no model can judge, with the reason."""
    era: int = 0
    """In which they were read: how often partitions had gone from the worker by then."""

    def add(self, other: "Judged") -> None:
        """Append another batch of the same era."""
        self.era = other.era
        for name in ("messages", "origins", "predictions", "rows", "letters"):
            getattr(self, name).extend(getattr(other, name))


def cut(messages: Iterable[Any], tokens: int) -> Iterator[list[Any]]:
    """Micro-batches of about so many tokens, at four bytes each, in order; a message larger than that is one by itself."""
    batch: list[Any] = []
    weight = 0
    for message in messages:
        size = len(message.value() or b"") // 4
        if batch and weight + size > tokens:
            yield batch
            batch, weight = [], 0
        batch.append(message)
        weight += size
    if batch:
        yield batch


def judge(messages: Sequence[Any], model: Judge, settings: StreamSettings) -> Judged:
    """Decode, classify and encode. What is wrong with one message is its own dead letter and touches no other."""
    began = time.thread_time()
    judged = Judged(messages=list(messages))
    events: list[tuple[Any, Event]] = []
    for message in messages:
        found = decode(message.value(), arrived_s=message.timestamp()[1] / 1000, max_ahead_s=settings.max_ahead_s)
        if isinstance(found, Event):
            events.append((message, found))
        else:
            judged.letters.append((message, found))
    decoded = time.thread_time()
    answers, tokenize_share = _classify(events, model, judged)
    classified = time.thread_time()
    now = datetime.now(UTC)
    for (message, event), answer in zip(events, answers, strict=True):
        if answer is not None:
            _encode(judged, message, event, answer, model.name, now)
            metrics.LABELS.labels(answer.label).inc()
    encoded = time.thread_time()
    cpu = metrics.STAGE_CPU.labels
    cpu("decode").inc(decoded - began)
    cpu("tokenize").inc((classified - decoded) * tokenize_share)
    cpu("model").inc((classified - decoded) * (1 - tokenize_share))
    cpu("encode").inc(encoded - classified)
    return judged


def _classify(events: Sequence[tuple[Any, Event]], model: Judge, judged: Judged) -> tuple[list[Classification | None], float]:
    """Answers, None for each text that the model fails on even alone, and the tokenizer's share of the time."""
    if not events:
        return [], 0.0
    try:
        answers, timings = model.classify_timed([event.text for _, event in events])
        total = timings.tokenize_s + timings.inference_s
        return list(answers), timings.tokenize_s / total if total else 0.0
    except Exception as error:  # whatever the model does, only the guilty row may pay for it
        if len(events) == 1:
            _log.error("the model failed on a message", error=str(error), **origin(events[0][0]))
            judged.letters.append((events[0][0], f"model {model.name}: {type(error).__name__}: {error}"[:1000]))
            return [None], 0.0
    half = len(events) // 2
    first, share = _classify(events[:half], model, judged)
    return first + _classify(events[half:], model, judged)[0], share


def _encode(judged: Judged, message: Any, event: Event, answer: Classification, version: str, now: datetime) -> None:
    # The fields of `data.contracts.Prediction`, which a test compares: building the model itself would cost three times as much.
    encoded = to_json(
        {
            "id": event.id,
            "source": event.source,
            "created_at": event.created_at,
            "predicted_at": now,
            "label": answer.label,
            "confidence": answer.confidence,
            "probabilities": answer.probabilities,
            "sarcasm": None,
            "tier": "model",
            "model_version": version,
            "topic": message.topic(),
            "partition": message.partition(),
            "offset": message.offset(),
        }
    )
    produced = message.timestamp()[1]
    judged.origins.append(message)
    judged.predictions.append(encoded)
    judged.rows.append(
        b'%s,"text":%s,"produced_at":%d.%03d}' % (encoded[:-1], json.dumps(event.text).encode(), *divmod(produced, 1000))
    )


def origin(message: Any) -> dict[str, Any]:
    """Where a message came from."""
    return {"topic": message.topic(), "partition": message.partition(), "offset": message.offset()}


def letter(message: Any, reason: str) -> tuple[bytes, bytes]:
    """Key and value of a dead letter; the key is its origin, so that the same one sent twice can be told."""
    where = origin(message)
    return json.dumps(where).encode(), dead_letter(message.value(), reason=reason, **where)
