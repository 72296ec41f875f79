"""What the dashboard is told: the answers of `/v1/panels/...` and the frames of `WS /v1/live`.

The dashboard's TypeScript types are made from these, by way of the OpenAPI document. Times are ISO 8601 in UTC unless they are
called epoch seconds. `points` run from 0 (all negative) to 100 (all positive).
"""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from data.contracts import Alert

Label = Literal["negative", "neutral", "positive"]


class Counts(BaseModel):
    """How many messages are of which label."""

    negative: int
    neutral: int
    positive: int
    messages: int
    points: float


class TrendRow(Counts):
    """A bucket of time; `source` is empty where all are counted together."""

    bucket: datetime
    source: str
    normal_low: float | None = Field(
        default=None,
        description="Where points were normal then, for so many messages of the one source asked for; null: not known.",
    )
    normal_high: float | None = None


class VolumeRow(BaseModel):
    """A bucket of time."""

    bucket: datetime
    messages: int


class SourceRow(Counts):
    """A source, the busiest first."""

    source: str


class Message(BaseModel):
    """A judged message. `topic`, `partition` and `offset` are its identity."""

    model_config = ConfigDict(protected_namespaces=())

    event_at: datetime
    source: str
    label: Label
    confidence: float
    sarcasm: float | None = Field(description="Probability; null where the model does not judge it.")
    tier: str
    model_version: str
    text: str
    id: str
    topic: str
    partition: int
    offset: int


class NegativeRow(BaseModel):
    """A message that is surely negative."""

    event_at: datetime
    source: str
    confidence: float
    text: str
    id: str


class VersionRow(BaseModel):
    """A model version that judged messages."""

    model_config = ConfigDict(protected_namespaces=())

    model_version: str
    tier: str
    messages: int
    first_at: datetime
    last_at: datetime


class LatencyRow(BaseModel):
    """From the broker's timestamp to written in the warehouse, in seconds."""

    topic: str
    messages: int
    p50_s: float
    p95_s: float
    p99_s: float
    newest_s: float = Field(description="Since the newest message arrived.")


class Panel(BaseModel):
    """What a question to the warehouse gives."""

    since: datetime
    until: datetime | None = Field(description="Null: now.")
    every: Literal["second", "minute", "hour"] = Field(description="The buckets, where there are any.")


class Distribution(Panel):
    """All messages of the time together: one row."""

    rows: list[Counts]


class Trend(Panel):
    """Sentiment over time."""

    rows: list[TrendRow]


class Volume(Panel):
    """Messages over time."""

    rows: list[VolumeRow]


class Sources(Panel):
    """Who writes, and what they feel."""

    rows: list[SourceRow]


class Messages(Panel):
    """The newest messages, newest first."""

    rows: list[Message]


class TopNegative(Panel):
    """The messages that are surest to be negative."""

    rows: list[NegativeRow]


class AlertShown(Alert):
    """An alert, and what was done about it."""

    acknowledged_by: str | None = None
    acknowledged_at: datetime | None = None
    muted_until: datetime | None = Field(default=None, description="Of its source; null: it is not muted.")
    muted_by: str | None = None


class Alerts(Panel):
    """Alerts, newest first; one that is open is returned however old it is."""

    rows: list[AlertShown]


class Versions(Panel):
    """Which model versions judged, the latest first."""

    rows: list[VersionRow]


class Latency(Panel):
    """How long messages took, a topic."""

    rows: list[LatencyRow]


class Worker(BaseModel):
    """A stream worker, in its own words and its supervisor's."""

    name: str
    state: str
    detail: str
    version: str
    partitions: list[int]
    messages: int
    dead_letters: int
    messages_per_s: float
    in_flight: int
    p50_ms: float
    p99_ms: float
    restarts: int
    last_exit: str | None
    silent_s: float | None


class Partition(BaseModel):
    """Of the topic of messages."""

    partition: int
    committed: int
    end: int
    lag: int
    worker: str | None
    stalled: bool


class Process(BaseModel):
    """What runs beside the workers."""

    model_config = ConfigDict(extra="ignore")

    name: str
    state: str
    restarts: int
    last_exit: str | None


class StreamStatus(BaseModel):
    """How the stream stands. Counts are null where they cannot be had; `broker` and `warehouse` then say why."""

    at: float = Field(description="Epoch seconds.")
    topic: str
    group: str
    broker: str
    warehouse: str
    state: str = Field(description="Of the supervisor; `not supervised` where none runs.")
    detail: str
    target: int | None
    reason: str
    lag: int | None
    rate: float | None = Field(description="Messages a second.")
    arriving: float | None
    drain_s: float | None
    dead_letters: int | None
    open_alerts: int | None
    partitions: list[Partition]
    workers: list[Worker]
    others: list[Process]


class ApiUse(BaseModel):
    """What this service did within the last minute, or since its start where that is less."""

    seconds: float = Field(description="How long ago that began.")
    requests: int
    failed: int = Field(description="Answered with 5xx.")
    shed: int = Field(description="Refused: too busy, no key, over the rate.")
    texts: int = Field(description="Judged.")
    cached: int = Field(description="Answered without judging.")
    batches: int
    texts_per_batch: float | None
    p50_ms: float | None = Field(description="Of requests to /v1/classify; the upper edge of the histogram's bucket.")
    p99_ms: float | None
    cpu_us_per_text: float | None


class Interval(BaseModel):
    """A measure with its 95 % bootstrap interval; null where it cannot be had."""

    value: float | None
    low: float | None
    high: float | None


class Slice(BaseModel):
    """How well the model does on some of the rows."""

    name: str
    rows: int
    macro_recall: Interval


class Bin(BaseModel):
    """Of the reliability: predictions of about the same confidence."""

    confidence: float
    accuracy: float
    rows: int


class Candidate(BaseModel):
    """A line of the leaderboard."""

    name: str
    from_scratch: bool
    rows: int
    macro_recall: Interval
    macro_f1: Interval
    accuracy: Interval
    ece: Interval
    cpu_us_per_text: float | None = Field(description="Null where it was not measured.")
    p99_ms: float | None
    on_front: bool = Field(description="No other is both more accurate and cheaper.")
    in_production: bool
    slices: list[Slice]
    confusion: list[list[int]] | None = Field(description="Rows: true label, columns: predicted, in the labels' order.")
    reliability: list[Bin] | None


class Leaderboard(BaseModel):
    """Empty where this machine has none; `missing` then says what to do."""

    missing: str | None
    rows: list[Candidate]


class Move(BaseModel):
    """An alias went to another version."""

    at: datetime
    alias: str
    from_version: str | None
    to_version: str | None
    bundle: str
    reason: str
    gate: str | None


class Production(BaseModel):
    """Who holds `production`, when and why."""

    version: str = Field(description="Of the bundle that answers here.")
    card: str = Field(description="The model card, Markdown.")
    moves: list[Move] = Field(description="Newest first.")
    mlflow_url: str
    dagster_url: str


class Normal(BaseModel):
    """What was normal for a source: the mean of n messages lies within mean ± threshold · sqrt(variance / n + drift).

    Scores are p(positive) - p(negative), -1 to 1.
    """

    at: int = Field(description="Epoch second from which it holds, up to the next.")
    mean: float
    variance: float = Field(description="Of one message.")
    drift: float = Field(description="Variance of the mean itself.")
    threshold: float


class LiveFrame(BaseModel):
    """A message of `WS /v1/live`: first a snapshot, then what changed since, with values that replace the old."""

    type: Literal["snapshot", "changes"]
    at: float = Field(description="The server's clock, epoch seconds.")
    since: int = Field(description="Epoch second with which the window begins; what is older may be forgotten.")
    away: str | None = Field(description="Why the warehouse does not answer; null where it does.")
    cells: list[tuple[int, str, int, int, int, float]] = Field(
        description="Epoch second, source (empty: all but the busiest), negative, neutral, positive, sum of scores."
    )
    messages: list[Message] | None = Field(description="The newest, newest first; null: as before.")
    alerts: list[AlertShown] = Field(description="New or changed, by `id`.")
    normal: dict[str, list[Normal]] | None = Field(description="By source, oldest first; null: as before.")
