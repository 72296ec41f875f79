"""Requests and responses of the API."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from data.contracts import MAX_TEXT_CHARS

MAX_TEXTS = 256
MAX_BODY_BYTES = 4 * MAX_TEXT_CHARS * MAX_TEXTS
MAX_JOB_TEXTS = 10_000
MAX_JOB_BYTES = 32 * 2**20
Domain = Literal["tweets", "reviews", "support", "finance", "news"]


def refusal(text: Any) -> str | None:
    """Why a text is not judged, or None."""
    if not isinstance(text, str):
        return f"is {type(text).__name__}, not a string"
    if len(text) > MAX_TEXT_CHARS:
        return f"has {len(text):,} characters, at most {MAX_TEXT_CHARS:,} are judged"
    if "\x00" in text:
        return "holds null bytes"
    return None if text.strip() else "is blank"


def all_refused(texts: list[Any]) -> str | None:
    """Why the first text is not judged, when none of them is."""
    return refusal(texts[0]) if all(map(refusal, texts)) else None


class ClassifyRequest(BaseModel):
    """`POST /v1/classify`."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"texts": ["Great service, thank you!"]}]})

    texts: list[Any] = Field(
        min_length=1, max_length=MAX_TEXTS, json_schema_extra={"items": {"type": "string"}},
        description=f"Each 1 to {MAX_TEXT_CHARS:,} characters. One that cannot be judged gets an error in its place.",
    )  # fmt: skip
    domain: Domain | None = Field(default=None, description="What kind of texts these are: counted in the metrics.")
    detail: bool = Field(default=False, description="Give the probabilities of all labels too.")


class JobRequest(BaseModel):
    """`POST /v1/jobs`."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"texts": ["Great service, thank you!"]}]})

    texts: list[Any] = Field(min_length=1, max_length=MAX_JOB_TEXTS, json_schema_extra={"items": {"type": "string"}})
    detail: bool = Field(default=False, description="Give the probabilities of all labels too.")


class JobShown(BaseModel):
    """Where a job stands."""

    id: str
    state: Literal["queued", "running", "done", "cancelled"]
    total: int = Field(description="Texts.")
    done: int = Field(description="Texts judged.")
    created_at: str
    results: str = Field(description="Where the answers are once it is done: one JSON line a text, in their order.")


class Probabilities(BaseModel):
    """Summing to 1, rounded to 4 decimals."""

    negative: float
    neutral: float
    positive: float


class Answer(BaseModel):
    """One judged text."""

    label: Literal["negative", "neutral", "positive"]
    confidence: float = Field(description="Probability of the label, 0 to 1.")
    probabilities: Probabilities | None = Field(default=None, description="With `detail` only.")


class NotJudged(BaseModel):
    """In the place of a text that cannot be judged."""

    error: str


class ClassifyResponse(BaseModel):
    """One entry a text, in the order of the texts."""

    model_config = ConfigDict(protected_namespaces=())

    model_version: str
    predictions: list[Answer | NotJudged]


class Problem(BaseModel):
    """RFC 9457 problem details."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
