"""Contracts shared by several folders: events, predictions, alerts, predictors. Labeled text is in `labeled_text.py`."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Literal, Protocol, runtime_checkable

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, GetPydanticSchema, field_validator
from pydantic_core import core_schema

from data.domains import Domain
from data.readable import MAX_TEXT_CHARS, explain, unreadable
from data.times import utc
from data.tweets.fields import identity

SPLITS = ("train", "val", "test")
MAX_ID_CHARS = 256


def _id_of_number(value: Any) -> str:
    found = None if isinstance(value, str) else identity(value)  # raises for a float that lost its digits
    if found is None:
        raise ValueError
    return found


Identity = Annotated[
    str,
    GetPydanticSchema(
        lambda _, __: core_schema.union_schema(
            # A string, nearly always, is checked without a call of Python.
            [
                core_schema.str_schema(strict=True, min_length=1, max_length=MAX_ID_CHARS),
                core_schema.no_info_plain_validator_function(_id_of_number),
            ],
            mode="left_to_right",
            custom_error_type="id",
            custom_error_message=f"Input should be a string of 1 to {MAX_ID_CHARS} characters or an integer, not a float",
        )
    ),
]
"""An id: a string, or an integer that becomes one."""


class Event(BaseModel):
    """One message on the topic `sentiment.messages`. `model_extra` has the fields that it does not know; nothing reads them."""

    model_config = ConfigDict(frozen=True, extra="allow")

    id: Identity
    text: str
    source: str = Field(min_length=1, max_length=256)
    created_at: datetime | None = None
    lang: str | None = None
    author_id: Identity | None = None
    domain: Domain | None = None
    """What kind of text it is; where it is missing, that of its source (configs/domains.yaml)."""
    replaces: tuple[str, ...] = ()
    """Ids of the earlier edits of this message, oldest first."""
    is_share: bool = False
    """A pure retweet or repost: another author's text, counted as a share and not as an opinion."""

    @field_validator("is_share", mode="before")
    @classmethod
    def _only_true(cls, value: Any) -> bool:
        return value is True

    @field_validator("text")
    @classmethod
    def _readable(cls, text: str) -> str:
        if reason := unreadable(text, MAX_TEXT_CHARS):
            raise ValueError(f"text {explain(reason, text, MAX_TEXT_CHARS)}")
        return text

    @field_validator("created_at", mode="before")
    @classmethod
    def _utc(cls, value: Any) -> datetime | None:
        if value is None:
            return None
        if (at := utc(value)) is None:
            raise ValueError("created_at cannot be read; write ISO 8601 in UTC, such as 2026-01-31T12:00:00Z")
        return at


class Prediction(BaseModel):
    """The prediction for one message. `(topic, partition, offset)` is its identity."""

    model_config = ConfigDict(frozen=True, protected_namespaces=())

    id: str
    source: str
    created_at: datetime | None
    predicted_at: datetime
    label: Literal["negative", "neutral", "positive"]
    confidence: float  # probability of the label, 0 to 1
    probabilities: tuple[float, float, float]  # in LABELS order, rounded to 4 decimals
    sarcasm: float | None  # probability, null where the bundle has no sarcasm head
    domain: str  # the domain whose head decided, or general
    tier: str  # whose prediction it is
    point: str  # operating point that was chosen, such as base, or minilm-1@0.72: that tier, and base where it is less confident
    model_version: str
    topic: str
    partition: int
    offset: int


class AlertWord(BaseModel):
    """A word that is over-represented in the messages of a shift."""

    model_config = ConfigDict(frozen=True)

    word: str
    messages: int  # of the shift that contain it
    share: float  # of the shift's messages that contain it, 0 to 1
    usual_share: float  # of the source's messages in the hour before
    z: float  # of the log-odds ratio, Monroe et al. 2008


class Alert(BaseModel):
    """A shift of a source's sentiment. `id` is its identity: published when it opens (revision 1) and closes (revision 2).

    Scores are p(positive) - p(negative), -1 to 1; times are event time.
    """

    model_config = ConfigDict(frozen=True)

    id: str
    source: str
    direction: Literal["down", "up"]
    started_at: datetime  # estimated start of the shift
    detected_at: datetime  # end of the second whose messages triggered detection
    closed_at: datetime | None
    z: float  # at detection
    moving_average: float  # mean score of the last window_s seconds at detection
    baseline_mean: float
    baseline_std: float  # of one message
    volume: int  # messages in the window
    window_s: int
    texts: tuple[str, ...] = ()  # of the window, those with the largest effect on its mean
    revision: int = 1
    words: tuple[AlertWord, ...] = ()  # strongest first
    usual_volume: float | None = None  # messages that such a window usually holds; null where not known
    muted: bool = False  # its source was muted when this revision was published: no webhook was notified


@runtime_checkable
class Predictor(Protocol):
    """Anything that predicts sentiment: a checkpoint, VADER, a bundle."""

    name: str

    def predict_proba(self, texts: Sequence[str], *, domains: Sequence[str] | None = None) -> np.ndarray:
        """Predict the probabilities of N texts.

        Args:
            texts: N raw texts; the predictor cleans them itself.
            domains: The domain of each; None: not known. Models with one head do not need it.

        Returns:
            Probabilities, float32, shape (N, 3), columns in `LABELS` order, rows summing to 1.
        """
        ...


@runtime_checkable
class SarcasmPredictor(Protocol):
    """A predictor that may also find sarcasm."""

    def predict_sarcasm(self, texts: Sequence[str]) -> np.ndarray | None:
        """Return the probability that each of N texts is sarcastic, float32, shape (N,); None: the model has no such output."""
        ...
