"""Data of messages, stream and API for the dashboard: the responses of `/v1/panels/...` and the frames of `WS /v1/live`.

The dashboard's TypeScript types are generated from these, through the OpenAPI document. Times are ISO 8601 in UTC unless they are
epoch seconds. `points` run from 0 (all negative) to 100 (all positive).
"""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from data.contracts import Alert

Label = Literal["negative", "neutral", "positive"]


class Counts(BaseModel):
    """Message counts by label."""

    negative: int
    neutral: int
    positive: int
    messages: int
    points: float


class TrendRow(Counts):
    """A time bucket; `source` is empty where all sources are counted together."""

    bucket: datetime
    source: str
    normal_low: float | None = Field(
        default=None,
        description="Normal range of points at that time, for this number of messages of one source; null: unknown.",
    )
    normal_high: float | None = None


class VolumeRow(BaseModel):
    """A time bucket."""

    bucket: datetime
    messages: int


class SourceRow(Counts):
    """A source, the busiest first."""

    source: str


class Message(BaseModel):
    """A classified message. `topic`, `partition` and `offset` are its identity."""

    model_config = ConfigDict(protected_namespaces=())

    event_at: datetime
    source: str
    label: Label
    confidence: float
    sarcasm: float | None = Field(description="Probability; null where the model does not predict it.")
    domain: str | None = Field(description="The domain whose head decided, or `general`; null where it is not stored.")
    tier: str
    model_version: str
    text: str
    id: str
    topic: str
    partition: int
    offset: int


class NegativeRow(BaseModel):
    """A negative message."""

    event_at: datetime
    source: str
    confidence: float
    text: str
    id: str


class TierRow(BaseModel):
    """The messages of a tier in one bucket."""

    bucket: datetime
    tier: str
    messages: int


class VersionRow(BaseModel):
    """A model version that classified messages."""

    model_config = ConfigDict(protected_namespaces=())

    model_version: str
    tier: str
    messages: int
    first_at: datetime
    last_at: datetime


class LatencyRow(BaseModel):
    """Latency from the broker's timestamp to the write in the warehouse, in seconds."""

    topic: str
    messages: int
    p50_s: float
    p95_s: float
    p99_s: float
    newest_s: float = Field(description="Time since the newest message arrived.")


class Panel(BaseModel):
    """The result of a warehouse query."""

    since: datetime
    until: datetime | None = Field(description="Null: now.")
    every: Literal["second", "minute", "hour"] = Field(description="Bucket size, of panels with buckets.")


class Distribution(Panel):
    """All messages of the time span together: one row."""

    rows: list[Counts]


class Trend(Panel):
    """Sentiment over time."""

    rows: list[TrendRow]


class Volume(Panel):
    """Messages over time."""

    rows: list[VolumeRow]


class Sources(Panel):
    """Sources and their sentiment."""

    rows: list[SourceRow]


class Messages(Panel):
    """The newest messages, newest first."""

    rows: list[Message]


class TopNegative(Panel):
    """The most negative messages, newer ones first."""

    rows: list[NegativeRow]


class AlertShown(Alert):
    """An alert, with its acknowledgement and the mute of its source."""

    acknowledged_by: str | None = None
    acknowledged_at: datetime | None = None
    muted_until: datetime | None = Field(default=None, description="End of the mute of its source; null: not muted.")
    muted_by: str | None = None


class Alerts(Panel):
    """Alerts, newest first; one that is open is returned however old it is."""

    rows: list[AlertShown]


class Versions(Panel):
    """Model versions that classified messages, the latest first."""

    rows: list[VersionRow]


class TierShares(Panel):
    """Messages over time by the tier whose prediction counts."""

    rows: list[TierRow]


class Latency(Panel):
    """Latency by topic."""

    rows: list[LatencyRow]


class Worker(BaseModel):
    """A stream worker, as its heartbeat and its supervisor describe it."""

    name: str
    state: str
    detail: str
    version: str
    point: str = Field(
        description="Operating point that classifies now: a tier, and with @ the confidence below which base does."
    )
    partitions: list[int]
    messages: int
    dead_letters: int
    messages_per_s: float
    in_flight: int
    p50_ms: float | None = Field(description="From the broker's timestamp to written, of the last 60 s; null: no message.")
    p99_ms: float | None
    restarts: int
    last_exit: str | None
    silent_s: float | None
    cpu: float | None = Field(description="Cores, over the last second.")
    rss_bytes: int | None


class Partition(BaseModel):
    """A partition of the message topic."""

    partition: int
    committed: int
    end: int
    lag: int
    worker: str | None
    stalled: bool


class Process(BaseModel):
    """A process that the supervisor runs next to the workers."""

    model_config = ConfigDict(extra="ignore")

    name: str
    state: str
    restarts: int
    last_exit: str | None
    cpu: float | None = None
    rss_bytes: int | None = None


class StreamStatus(BaseModel):
    """Status of the stream. Unknown counts are null; `broker` and `warehouse` then have the reason."""

    at: float = Field(description="Epoch seconds.")
    topic: str
    group: str
    broker: str
    warehouse: str
    state: str = Field(description="State of the supervisor; `not supervised` where none runs.")
    detail: str
    target: int | None
    reason: str
    lag: int | None
    rate: float | None = Field(description="Messages a second.")
    arriving: float | None
    drain_s: float | None = Field(description="Time to process the lag at this rate.")
    lag_limit: int = Field(description="With a higher lag, or `drain_s` over `drain_limit_s`, the stream is catching up.")
    drain_limit_s: float
    cores: float | None = Field(description="Of the supervisor's machine.")
    memory_bytes: int | None
    dead_letters: int | None
    open_alerts: int | None
    notices: dict[str, int] | None = Field(description="Deletion and edit notices that the stream followed, by kind.")
    partitions: list[Partition]
    workers: list[Worker]
    others: list[Process]


class HistoryRow(BaseModel):
    """A step of the stream's history."""

    at: float = Field(description="Epoch seconds, when the step begins.")
    lag: int | None = Field(description="The highest; null while the broker was unavailable.")
    rate: float | None = Field(description="Messages a second, mean.")
    arriving: float | None
    workers: int | None
    target: int | None
    cpu: dict[str, float] = Field(description="Cores, mean, by process.")
    rss_bytes: dict[str, int] = Field(description="Memory, the highest, by process.")
    dead_letters: int = Field(description="Written in this step.")
    restarts: int


class StreamHistory(BaseModel):
    """Measurements of the supervisor; there are no rows for times in which none ran."""

    since: datetime
    until: datetime
    step_s: int
    rows: list[HistoryRow]


class BucketEdge(BaseModel):
    """A quantile from a histogram: the upper edge of its bucket, or the last edge if it is `beyond` that."""

    ms: float
    beyond: bool


class ApiUseRow(BaseModel):
    """A step of the API's use, up to a time."""

    at: float = Field(description="Epoch seconds, when the step ends.")
    requests_per_s: float
    texts_per_s: float
    failed: int
    rejected: int


class ApiUse(BaseModel):
    """Use of this service within a time span, or since its start if that is shorter."""

    seconds: float = Field(description="Length of the time span.")
    requests: int
    failed: int = Field(description="Responses with status 5xx.")
    rejected: int = Field(description="Overload, missing key, rate limit.")
    texts: int = Field(description="Classified.")
    cached: int = Field(description="Served from the cache.")
    batches: int
    texts_per_batch: float | None
    p50: BucketEdge | None = Field(description="Of requests to /v1/classify.")
    p99: BucketEdge | None
    cpu_us_per_text: float | None
    rows: list[ApiUseRow]


class Normal(BaseModel):
    """Normal range of a source: the mean of n messages is within mean ± threshold · sqrt(variance / n + drift).

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
    since: int = Field(description="First epoch second of the window; older data may be discarded.")
    away: str | None = Field(description="Reason why the warehouse is unavailable; null: it is available.")
    cells: list[tuple[int, str, int, int, int, float]] = Field(
        description="Epoch second, source (empty: all but the busiest), negative, neutral, positive, sum of scores."
    )
    messages: list[Message] | None = Field(description="The newest, newest first; null: as before.")
    alerts: list[AlertShown] = Field(description="New or changed, by `id`.")
    normal: dict[str, list[Normal]] | None = Field(description="By source, oldest first; null: as before.")
