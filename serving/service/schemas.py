"""Requests and responses of the API."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, StringConstraints, field_validator, model_validator

from data.domains import Domain
from data.labels import own_label
from data.readable import MAX_DOCUMENT_CHARS, explain, unreadable
from data.targets import MAX_TARGET, MAX_TARGETS
from serving.tiers import BASE, Calibration, OperatingPoint, Tier

MAX_TEXTS = 256
MAX_BODY_BYTES = 4 * 2**20
"""Of one request to /v1/classify: `MAX_WEIGHT` fits in with each character escaped."""
MAX_FEEDBACK_BYTES = 2 * 2**20
MAX_JOB_TEXTS = 10_000
MAX_JOB_BYTES = 8 * 2**20
WEIGHT_CHARS = 400
"""Batches, parts and rates count a text once for each 400 characters begun, about the size of a window of the model."""
MAX_WEIGHT = 1024
"""Of one request to /v1/classify: some seconds of work."""


_TEXTS: JsonValue = ["Great service, thank you!", "Three hours on hold. Never again."]
_DOMAIN = (
    "What kind of texts these are. Where the model has a head for the domain, that head decides, else `general`; `heads` of "
    "`/v1/model` has those of the model."
)
_DETAIL = "Return the probabilities of all labels too, the language, and the probabilities of each window of a long text."

_TIER = (
    "The model of the bundle that classifies: `base`, a smaller and faster one of `/v1/model`, or `auto`: a smaller one, "
    "and `base` where that is not confident enough. "
)


def refusal(text: object) -> str | None:
    """Return the reason, for the caller, why a text cannot be classified; None: it can."""
    reason = unreadable(text, MAX_DOCUMENT_CHARS)
    return explain(reason, text, MAX_DOCUMENT_CHARS) if reason else None


def weight(text: object) -> int:
    """Weight of a text in batches, parts and rates, at least 1."""
    return 1 + len(text) // WEIGHT_CHARS if isinstance(text, str) else 1


class ClassifyRequest(BaseModel):
    """`POST /v1/classify`."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"texts": _TEXTS, "detail": True}]})

    texts: list[str | None] = Field(
        min_length=1,
        max_length=MAX_TEXTS,
        json_schema_extra={"items": {"type": "string"}},
        description=f"Each 1 to {MAX_DOCUMENT_CHARS:,} characters. A text that cannot be classified gets an error in its place.",
    )
    domain: Domain | None = Field(default=None, description=_DOMAIN)
    detail: bool = Field(default=False, description=_DETAIL)
    tier: str | None = Field(
        default=None,
        max_length=32,
        description=_TIER
        + "If missing: `base`, or what load control chooses where the operator has switched it on; the point that it uses now "
        "is in `/v1/model`.",
    )
    targets: list[Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=MAX_TARGET)]] | None = Field(
        default=None,
        min_length=1,
        max_length=MAX_TARGETS,
        description="Names or tickers of companies: each text gets a score for each, where `targets` of `/v1/model` is true. "
        "Each costs as much as the text. Not for jobs.",
    )


class JobRequest(BaseModel):
    """`POST /v1/jobs`."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"texts": _TEXTS}]})

    texts: list[str | None] = Field(
        min_length=1,
        max_length=MAX_JOB_TEXTS,
        json_schema_extra={"items": {"type": "string"}},
        description=f"Each 1 to {MAX_DOCUMENT_CHARS:,} characters. A text that cannot be classified gets an error in its place.",
    )
    domain: Domain | None = Field(default=None, description=_DOMAIN)
    detail: bool = Field(default=False, description=_DETAIL)
    tier: str = Field(default=BASE, max_length=32, description=_TIER + "A bundle that no longer has it classifies with `base`.")


class FeedbackRequest(BaseModel):
    """`POST /v1/feedback`."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"text": "Oh great, delayed again.", "label": "negative", "by": "desk 4"}]},
    )

    text: str | None = Field(default=None, description="The text; either this or `id`.")
    id: str | None = Field(default=None, description="The id in a line of a job's results; known for a day.")
    label: Literal["negative", "neutral", "positive"] = Field(description="The correct label.")
    by: str = Field(min_length=1, max_length=200, description="Your name. Your latest correction of a text counts.")
    domain: Domain | None = None

    @field_validator("label", mode="before")
    @classmethod
    def _in_any_case(cls, label: object) -> object:
        return own_label(label) or label

    @model_validator(mode="after")
    def _one_of_both(self) -> "FeedbackRequest":
        if (self.text is None) == (self.id is None):
            found = "neither `text` nor `id`" if self.text is None else "both `text` and `id`"
            raise ValueError(f"found {found}, expected one of them")
        if self.text is not None and (bad := refusal(self.text)):
            raise ValueError(f"found a text that {bad}, expected one that can be classified")
        return self


class FeedbackSaved(BaseModel):
    """A correction that is on disk."""

    number: int = Field(description="Of the correction, counted from 1.")


class JobShown(BaseModel):
    """The state of a job."""

    id: str
    state: Literal["queued", "running", "done", "cancelled"]
    total: int = Field(description="Texts, or windows of a document.")
    done: int = Field(description="Those classified.")
    created_at: str
    results: str = Field(
        description="Path of the results once the job is done: one JSON line per text, in their order; one value of a document."
    )


class Probabilities(BaseModel):
    """Summing to 1, rounded to 4 decimals."""

    negative: float
    neutral: float
    positive: float


class WindowPrediction(BaseModel):
    """The prediction of one window of a cleaned text that is longer than the model reads."""

    text: str
    probabilities: Probabilities


class TargetScore(BaseModel):
    """The sentiment of a text towards one company."""

    target: str = Field(description="As in the request.")
    score: float = Field(description="Probability of positive minus probability of negative, -1 to 1, by `base`.")
    mentioned: bool = Field(description="Whether the text names it; if not, the score means little.")


class TextPrediction(BaseModel):
    """The prediction of one text."""

    label: Literal["negative", "neutral", "positive"]
    confidence: float = Field(description="Probability of the label, 0 to 1.")
    tier: str | None = Field(default=None, description="The tier whose prediction this is; without `detail` only if not `base`.")
    domain: str | None = Field(default=None, description="With `detail` only: the domain whose head decided, or `general`.")
    probabilities: Probabilities | None = Field(default=None, description="With `detail` only.")
    sarcasm: float | None = Field(
        default=None, description="With `detail` only: probability that it is sarcastic, 0 to 1, where the model predicts it."
    )
    windows: list[WindowPrediction] | None = Field(
        default=None, description="With `detail` only, of a long text. Its probabilities are their mean, weighted by tokens."
    )
    targets: list[TargetScore] | None = Field(default=None, description="With `targets` only, in their order.")
    language: str | None = Field(
        default=None, description="With `detail` only: the language, such as `en`; null where it is not certain."
    )
    warning: str | None = Field(
        default=None, description="With `detail` only, where the model was not measured on the text's language."
    )


class TextError(BaseModel):
    """The error of a text that cannot be classified, in the place of its prediction."""

    error: str


class ClassifyResponse(BaseModel):
    """One entry per text, in the order of the texts."""

    model_config = ConfigDict(protected_namespaces=())

    model_version: str
    predictions: list[TextPrediction | TextError]


class ModelLimits(BaseModel):
    """What the service accepts."""

    texts: int
    characters: int
    characters_together: int
    body_bytes: int
    job_texts: int
    job_bytes: int
    deadline_ms: int


class ModelCost(BaseModel):
    """What the model has cost since the service started."""

    texts: int
    cpu_us_per_text: float | None
    cpu_hour_usd: float
    usd_per_million_texts: float | None


class EngineMeasured(BaseModel):
    """An engine on the texts of the bundle's parity set."""

    version: str | None = Field(description="null: it could not be loaded.")
    flips: int | None = Field(description="Labels that differ from the float32 model.")
    mean_gap: float | None = Field(description="Mean difference of a probability from the float32 model.")
    cpu_us: float | None = Field(description="CPU microseconds of a text; null if it cannot be used.")
    reason: str = Field(description="Why it cannot be used; empty if it can.")


class CpuShown(BaseModel):
    """The CPU of this machine."""

    model: str
    flags: str = Field(description="Flags that decide how fast 8-bit and 16-bit arithmetic is.")


class EngineShown(BaseModel):
    """The engine that runs the model, and why it is the one."""

    name: Literal["onnxruntime", "openvino"]
    version: str
    threads: int = Field(description="Threads of one batch.")
    chosen: Literal["setting", "measured", "fallback"]
    reason: str
    measured: dict[str, EngineMeasured] = Field(description="By engine; empty if nothing was measured.")
    cpu: CpuShown


class ModelShown(BaseModel):
    """The model that is served."""

    name: str
    version: str
    labels: list[str]
    languages: list[str] = Field(description="Languages of the texts that it was trained and measured on.")
    max_length: int
    quantization: str
    data_fingerprint: str
    temperature: float
    metrics: dict[str, Any] = Field(
        description="Of this bundle on the frozen test rows; `float32` has those of the model before export."
    )
    training: dict[str, Any] = Field(description="Rows used of rows available, epochs, seed, date, datasets.")
    slices: dict[str, Any]
    heads: list[str] = Field(description="`general`, and the domains that have a head of their own in `base`.")
    sarcasm: Calibration | None = Field(
        description="From the logit for sarcasm of `base` to its probability; null: it does not predict sarcasm."
    )
    targets: bool = Field(description="Whether it scores companies: `targets` of `/v1/classify`.")
    tiers: dict[str, Tier] = Field(description="Smaller models that a request may name, the cheapest first.")
    points: list[OperatingPoint] = Field(
        description="Tier, and confidence below which `base` classifies a text instead, with what to expect; `auto` uses one."
    )
    alias: str | None = Field(description="production, staging or previous, from the ledger.")
    engine: EngineShown
    point: str = Field(description="Operating point of requests that name no tier, now: `base` unless load control is on.")
    limits: ModelLimits
    cost: ModelCost


class FreeDisk(BaseModel):
    """The disk of jobs and feedback."""

    free: float | None = Field(description="Share that is free, 0 to 1; null: not known.")
    accepts_jobs: bool = Field(description="Whether jobs and feedback are accepted.")


class Readiness(BaseModel):
    """Whether a request would succeed now."""

    ready: bool
    reasons: list[str] = Field(description="Why it would fail; empty when ready.")
    stores: dict[str, Literal["up", "down"]] = Field(description="By name; texts are classified without them too.")
    disk: FreeDisk


class Problem(BaseModel):
    """RFC 9457 problem details."""

    type: str = Field(default="about:blank", description="Where the kind of problem is explained: `/docs#<name>`.")
    title: str = Field(description="The kind of problem, the same in every response of this type.")
    status: int
    detail: str = Field(description="What was found, what was expected, what to do.")
