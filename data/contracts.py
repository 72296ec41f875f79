"""What several parts must agree on: events, predictions, predictors; labelled text is in `labelled_text.py`."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Literal, Protocol, runtime_checkable

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, field_validator

MAX_TEXT_CHARS = 10_000
"""Of an event."""
MAX_DOCUMENT_CHARS = 100_000
"""Of a text over HTTP or in a file: longer ones than the model reads are judged by windows."""
DOMAINS = ("tweets", "reviews", "support", "finance", "news")
SPLITS = ("train", "val", "test")


class Event(BaseModel):
    """One message on the topic `sentiment.messages`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str = Field(min_length=1, max_length=256)
    text: str = Field(min_length=1, max_length=MAX_TEXT_CHARS)
    source: str = Field(min_length=1, max_length=256)
    created_at: datetime | None = None
    lang: str | None = None
    author_id: str | None = None

    @field_validator("text")
    @classmethod
    def _readable(cls, text: str) -> str:
        if "\x00" in text:
            raise ValueError("text holds null bytes")
        if not text.strip():
            raise ValueError("text is blank")
        return text

    @field_validator("created_at")
    @classmethod
    def _utc(cls, value: datetime | None) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("created_at has no time zone; write ISO 8601 in UTC, such as 2026-01-31T12:00:00Z")
        return value.astimezone(UTC)


class Prediction(BaseModel):
    """One judged message. `(topic, partition, offset)` is its identity."""

    model_config = ConfigDict(frozen=True, protected_namespaces=())

    id: str
    source: str
    created_at: datetime | None
    predicted_at: datetime
    label: Literal["negative", "neutral", "positive"]
    confidence: float  # probability of the label, 0 to 1
    probabilities: tuple[float, float, float]  # in LABELS order, rounded to 4 decimals
    sarcasm: float | None  # probability, null where the bundle has no sarcasm head
    tier: str
    model_version: str
    topic: str
    partition: int
    offset: int


@runtime_checkable
class Predictor(Protocol):
    """Anything that judges texts: a checkpoint, VADER, a bundle."""

    name: str

    def predict_proba(self, texts: Sequence[str]) -> np.ndarray:
        """Judge texts.

        Args:
            texts: N raw texts; cleaning is the predictor's own business.

        Returns:
            Probabilities, float32, shape (N, 3), columns in `LABELS` order, rows summing to 1.
        """
        ...
