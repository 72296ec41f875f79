"""One micro-batch: bytes in; rows for the warehouse, messages for the topics and dead letters out."""

import json
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import structlog
from pydantic_core import to_json

from data.contracts import Event
from data.language import SAMPLE, Languages, language_label, language_of
from data.tweets import Notice
from serving.classifier import Classification
from serving.isolation import isolate_failures
from serving.settings import StreamSettings
from serving.streaming.decode import dead_letter, decode
from serving.streaming.worker import metrics
from serving.streaming.worker.model import StreamModel
from serving.tiers import OperatingPoint
from serving.warehouse.keys import ForgottenKeys

_log = structlog.get_logger()


@dataclass
class ProcessedBatch:
    """The results for some messages. `origins`, `predictions` and `rows` have one element a row, in the order of reading."""

    messages: list[Any] = field(default_factory=list)
    """All messages, as the consumer returned them."""
    origins: list[Any] = field(default_factory=list)
    """Messages that became rows."""
    predictions: list[bytes] = field(default_factory=list)
    """Values for the predictions topic."""
    rows: list[bytes] = field(default_factory=list)
    """Rows for the warehouse: the prediction with its text and the broker's timestamp."""
    dead_letters: list[tuple[Any, str]] = field(default_factory=list)
    """Messages that are invalid or that the model fails on, with the reason."""
    events: list[Event] = field(default_factory=list)
    """What the rows were made of."""
    notices: list[tuple[Any, Notice]] = field(default_factory=list)
    """Messages that are notices of an author or a platform."""
    left_out: list[Event] = field(default_factory=list)
    """Messages that are forgotten: they became neither rows nor dead letters."""
    rejected: int = 0
    """Dead letters because of their language; they are valid messages."""
    epoch: int = 0
    """The partition epoch in which they were read: how often the worker had lost partitions by then."""
    forgotten_version: int | None = None
    """The version of the forgotten keys that all of them were compared with; None: nothing was processed yet."""

    def add(self, other: "ProcessedBatch") -> None:
        """Append another batch of the same epoch."""
        self.epoch = other.epoch
        self.rejected += other.rejected
        versions = [one for one in (self.forgotten_version, other.forgotten_version) if one is not None]
        self.forgotten_version = min(versions, default=None)
        for name in ("messages", "origins", "predictions", "rows", "dead_letters", "events", "notices", "left_out"):
            getattr(self, name).extend(getattr(other, name))


def process_batch(
    messages: Sequence[Any],
    model: StreamModel,
    settings: StreamSettings,
    forgotten: ForgottenKeys | None = None,
    *,
    point: OperatingPoint | None = None,
    domains: Mapping[str, str] | None = None,
    reject_languages: bool = False,
) -> ProcessedBatch:
    """Decode, classify and encode. An invalid message becomes a dead letter and affects no other message.

    Messages that are forgotten are left out: they become neither rows nor dead letters. With `reject_languages` a message in a
    language that the model was not measured on is a dead letter. Without a `point` that of `settings.tier` classifies. `domains`
    has the domain of each source, for messages that do not name theirs.
    """
    began = time.thread_time()
    chosen = (point or model.point(settings.tier)).name
    # Read before the keys are used: keys that are added meanwhile have a later version, and the sink compares again.
    batch = ProcessedBatch(messages=list(messages), forgotten_version=forgotten.version if forgotten is not None else 0)
    events: list[tuple[Any, Event]] = []
    languages, counted = Languages(model.languages, reject_languages), Counter[str]()
    for message in messages:
        decoded_event = decode(message.value(), arrived_s=message.timestamp()[1] / 1000, max_ahead_s=settings.max_ahead_s)
        if isinstance(decoded_event, Event):
            if forgotten is not None and forgotten.cover(decoded_event, message.timestamp()[1] / 1000):
                metrics.FORGOTTEN.inc()
                batch.left_out.append(decoded_event)
                continue
            if decoded_event.model_extra:
                metrics.count_ignored(decoded_event.model_extra)
            if reject_languages or message.offset() % SAMPLE == 0:
                language = language_of(decoded_event.text, decoded_event.lang)
                counted[language_label(language)] += 1
                if languages.rejection(language):
                    batch.dead_letters.append((message, f"text {languages.explain(language)}"))
                    batch.rejected += 1
                    continue
            events.append((message, decoded_event))
        elif isinstance(decoded_event, Notice):
            batch.notices.append((message, decoded_event))
        else:
            batch.dead_letters.append((message, decoded_event))
    for name, texts in counted.items():
        metrics.LANGUAGES.labels(name).inc(texts)
    decoded = time.thread_time()
    classifications, tokenize_share = _classify(events, model, batch, chosen, domains or {})
    classified = time.thread_time()
    now = datetime.now(UTC)
    for (message, event), classification in zip(events, classifications, strict=True):
        if classification is not None:
            _encode(batch, message, event, classification, model.name, chosen, now)
            metrics.LABELS.labels(classification.label).inc()
            metrics.TIERS.labels(classification.tier).inc()
    encoded = time.thread_time()
    cpu = metrics.STAGE_CPU.labels
    cpu("decode").inc(decoded - began)
    cpu("tokenize").inc((classified - decoded) * tokenize_share)
    cpu("model").inc((classified - decoded) * (1 - tokenize_share))
    cpu("encode").inc(encoded - classified)
    return batch


def _classify(
    events: Sequence[tuple[Any, Event]], model: StreamModel, batch: ProcessedBatch, point: str, domains: Mapping[str, str]
) -> tuple[list[Classification | None], float]:
    """Return the classifications, None for a text that the model fails on even alone, and the tokenizer's share of the time."""
    shares = []

    def classify(part: Sequence[tuple[Any, Event]]) -> list[Classification]:
        of_each = [event.domain or domains.get(event.source) for _, event in part]
        classifications, timings = model.classify_timed([event.text for _, event in part], point, domains=of_each)
        total = timings.tokenize_s + timings.inference_s
        shares.append(timings.tokenize_s / total if total else 0.0)
        return classifications

    classifications: list[Classification | None] = []
    for (message, _), found in zip(events, isolate_failures(classify, events), strict=True):
        if isinstance(found, Exception):
            _log.error("the model failed on a message", error=str(found), **origin(message))
            batch.dead_letters.append((message, f"model {model.name}: {type(found).__name__}: {found}"[:1000]))
        classifications.append(None if isinstance(found, Exception) else found)
    return classifications, shares[0] if shares else 0.0


def _encode(
    batch: ProcessedBatch,
    message: Any,
    event: Event,
    classification: Classification,
    version: str,
    point: str,
    now: datetime,
) -> None:
    # The fields of `data.contracts.Prediction`, which a test compares: building the pydantic model takes three times as long.
    encoded = to_json(
        {
            "id": event.id,
            "source": event.source,
            "created_at": event.created_at,
            "predicted_at": now,
            "label": classification.label,
            "confidence": classification.confidence,
            "probabilities": classification.probabilities,
            "sarcasm": classification.sarcasm,
            "domain": classification.head,
            "tier": classification.tier,
            "point": point,
            "model_version": version,
            "topic": message.topic(),
            "partition": message.partition(),
            "offset": message.offset(),
        }
    )
    produced = message.timestamp()[1]
    batch.origins.append(message)
    batch.predictions.append(encoded)
    batch.events.append(event)
    author = b',"author_id":' + json.dumps(event.author_id).encode() if event.author_id else b""
    share = b',"is_share":true' if event.is_share else b""
    batch.rows.append(
        b'%s,"text":%s%s%s,"produced_at":%d.%03d}'
        % (encoded[:-1], json.dumps(event.text).encode(), author, share, *divmod(produced, 1000))
    )


def origin(message: Any) -> dict[str, Any]:
    """Return topic, partition and offset of a message."""
    return {"topic": message.topic(), "partition": message.partition(), "offset": message.offset()}


def encode_dead_letter(message: Any, reason: str) -> tuple[bytes, bytes]:
    """Return key and value of a dead letter. The key is its origin, so that one that was sent twice can be recognized."""
    where = origin(message)
    return json.dumps(where).encode(), dead_letter(message.value(), reason=reason, **where)
