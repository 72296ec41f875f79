"""Settings of the HTTP service, the stream, the warehouse, the dashboard, alerts and the lakehouse."""

from typing import ClassVar, Literal

from pydantic import Field, SecretStr

from data.settings import Settings, section_config

MOST_PROCESSES = 64
"""Of the service."""
EngineSetting = Literal["onnxruntime", "openvino", "auto"]


class ServingSettings(Settings):
    """The HTTP service."""

    section: ClassVar[str] = "serving"
    model_config = section_config("serving")

    port: int = Field(default=3000, ge=1, le=65535)
    """Port on 127.0.0.1; `bentoml serve --host` opens other addresses, and then keys have to be on."""
    keys: bool = False
    """Whether each request needs an API key. Without keys only requests from this machine are accepted."""
    hosts: list[str] = Field(default_factory=list)
    """Names under which the service is reached, next to localhost and IP addresses; JSON in the environment. `["*"]`: any."""
    processes: int | None = Field(default=None, ge=1, le=MOST_PROCESSES)
    """Processes of the service, each with a model and an event loop of its own; none: one for each CPU."""
    max_connections: int = Field(default=2_000, ge=1)
    """Most open connections of all processes; each raises its limit of open files to fit."""
    min_free_disk: float = Field(default=0.1, ge=0, le=1)
    """Share of the disk under `var/` below which jobs and feedback are refused; classification continues."""
    max_batch_texts: int = Field(default=32, ge=1, le=1024)
    """A batch is closed at this many texts; a request with more is cut into several."""
    deadline_ms: int = Field(default=10_000, ge=100)
    """A request that would take longer is refused with 503, at once if that is predictable; not a latency target."""
    engine: EngineSetting = "onnxruntime"
    """What runs the model in the service, the stream's workers, `score` and `classify`: ONNX Runtime, OpenVINO (extra
    `openvino`), or the one of both that is measured to be cheapest on this CPU. Spark uses ONNX Runtime, and Lambda's image
    has no other."""
    floor: float | None = Field(default=None, ge=0.5, le=1)
    """Load control: while more texts arrive than `base` can classify, requests that name no tier get cheaper operating points
    of the bundle, of which at least this share of base's macro-recall is expected; none: they get `base`, and wait."""
    cache_texts: int = Field(default=50_000, ge=1)
    """Predictions that each process holds in memory, about 300 bytes each."""
    prediction_store: Literal["memory", "sqlite", "redis", "dynamodb"] = "sqlite"
    """Where predictions are cached outside the process: nowhere, a file under `var/`, a Redis server, DynamoDB."""
    prediction_ttl_s: int = Field(default=86_400, ge=1)
    """How long they stay there, in seconds."""
    redis_url: SecretStr | None = None
    """Such as redis://127.0.0.1:6379/0; may hold a password, so it comes from the environment only."""
    jobs: Literal["sqlite", "sqs"] = "sqlite"
    """Where jobs are stored: a file under `var/`, or DynamoDB with an SQS queue."""
    dynamodb_table: str = "groundswell"
    """Region, credentials and endpoints come from the usual AWS variables: AWS_REGION, AWS_ENDPOINT_URL_DYNAMODB ..."""
    sqs_queue_url: str | None = None
    """The queue of `jobs: sqs`."""
    ready_timeout_s: float = Field(default=120.0, gt=0)
    """How long a new deployment may take to become ready, in seconds; two are usual, a busy machine may need thirty."""
    stop_timeout_s: float = Field(default=15.0, gt=0)
    """How long a process that is replaced or stopped may take to end, in seconds."""


class StreamSettings(Settings):
    """Kafka, the workers and their supervisor."""

    section: ClassVar[str] = "stream"
    model_config = section_config("stream")

    bootstrap: str = "127.0.0.1:9092"
    """Brokers, `host:port`, comma-separated."""
    security: dict[str, SecretStr] = Field(default_factory=dict)
    """What librdkafka needs beyond the address, such as security.protocol, sasl.username, sasl.password; JSON in the
    environment."""
    topic: str = "sentiment.messages"
    """The topic of the messages."""
    group: str = "groundswell"
    """The consumer group of the workers."""
    batch_messages: int = Field(default=512, ge=1, le=10_000)
    """Most messages of one micro-batch."""
    batch_tokens: int = Field(default=16_384, ge=1)
    """A micro-batch is closed at about this many tokens (four characters each), or at `batch_age_ms`."""
    batch_age_ms: int = Field(default=50, ge=1)
    """Longest wait of a message for its micro-batch; it does not wait while a thread and the sink are free."""
    tier: str = "base"
    """The model of the bundle that classifies: `base`, a smaller and faster one, or `auto` (serving/tiers.py)."""
    floor: float | None = Field(default=None, ge=0.5, le=1)
    """Load control: while more messages arrive than `tier` can classify, cheaper operating points of the bundle classify, of
    which at least this share of base's macro-recall is expected; none: `tier` classifies always, and messages wait."""
    cache_texts: int = Field(default=20_000, ge=0)
    """Predictions of the last texts that each worker remembers, so that repeated texts are not classified again; 0: none."""
    deadline_ms: int = Field(default=1_000, ge=100, le=60_000)
    """With a floor: messages that wait are to be classified within this time."""
    block_rows: int = Field(default=8_192, ge=1, le=100_000)
    """Most rows of one block written to the warehouse."""
    block_age_ms: int = Field(default=250, ge=1, le=1_000)
    """Longest wait of a classified message for its row; without load it is inserted at once. Also the time between two counts
    in the rollups, each followed by a commit."""
    threads: int | None = Field(default=None, ge=1)
    """Micro-batches classified at once in one worker, each on one CPU; none: the CPU quota."""
    max_in_flight: int = Field(default=20_000, ge=1)
    """Most messages read and not yet committed; at this number the worker pauses reading."""
    drain_s: float = Field(default=10.0, gt=0)
    """When partitions are revoked or the worker stops, it finishes the messages that it has read, for at most this time."""
    dead_letter_limit: float = Field(default=0.2, gt=0, le=1)
    """The worker stops when more than this share of the last 1,000 messages became dead letters."""
    max_ahead_s: float = Field(default=300.0, gt=0, le=86_400)
    """A message dated further than this after its arrival at the broker is a dead letter."""
    transactions: bool = False
    """Whether predictions and offsets are one Kafka transaction: readers of committed messages then see each prediction once."""
    max_workers: int | None = Field(default=None, ge=1)
    """None: the CPU quota."""
    drain_limit_s: float = Field(default=30.0, gt=0)
    """A worker is added when the backlog would take longer than this at the measured rate."""
    lag_limit: int = Field(default=1_000, ge=1)
    """Or when the backlog stays above this many messages."""
    metrics_port: int = Field(default=9464, ge=1, le=65535)
    """Port of `/metrics` on 127.0.0.1; worker k of a supervisor uses this + k."""


class WarehouseSettings(Settings):
    """ClickHouse."""

    section: ClassVar[str] = "warehouse"
    model_config = section_config("warehouse")

    url: SecretStr | None = None
    """A server, such as http://user:password@clickhouse:8123/sentiment; none: chDB in `var/warehouse`, held by one process."""
    port: int = Field(default=8124, ge=1, le=65535)
    """Port of that process on 127.0.0.1."""
    reader: Literal["clickhouse", "lakehouse"] = "clickhouse"
    """Source of the dashboard's panels: ClickHouse, or Gold of the lakehouse, read with DuckDB."""
    timeout_s: float = Field(default=30.0, gt=0)
    """Time-out of one statement."""


class DashboardSettings(Settings):
    """The pages that the service serves at `/`."""

    section: ClassVar[str] = "dashboard"
    model_config = section_config("dashboard")

    mlflow_url: str = "http://127.0.0.1:5000"
    """Target of the dashboard's links to runs and models."""
    dagster_url: str = "http://127.0.0.1:3001"
    """Target of its links to the graph and its runs."""


class AlertSettings(Settings):
    """Anomaly alerts."""

    section: ClassVar[str] = "alerts"
    model_config = section_config("alerts")

    alarms_per_week: float = Field(default=1.0, gt=0)
    """False alarms that a quiet source may raise; `groundswell stream calibrate` finds the threshold for it."""
    threshold: float | None = Field(default=None, gt=0)
    """None: the calibrated one."""
    min_volume: int = Field(default=30, ge=2)
    """Messages that a window needs before it is evaluated."""
    lateness_s: float = Field(default=2.0, ge=0)
    """How long a second waits for its late messages before it is evaluated."""
    webhook: SecretStr | None = None
    """URL to which alerts are posted, in Slack's format."""


class LakehouseSettings(Settings):
    """Spark and the Delta tables."""

    section: ClassVar[str] = "lakehouse"
    model_config = section_config("lakehouse")

    root: str | None = None
    """Where the tables and checkpoints are: a folder or s3a://bucket/path; none: `var/lakehouse`. One driver writes at a time."""
    source: str | None = None
    """Where records come from: a folder or s3a://bucket/path with files of JSON lines, or `kafka`: the topic of the stream."""
    master: str | None = "local[*]"
    """Spark's master; `spark-submit` names its own."""
    spark: dict[str, str] = Field(default_factory=dict)
    """More settings of Spark, such as {"spark.driver.memory": "4g"}; JSON in the environment."""
    files_per_batch: int = Field(default=100, ge=1)
    """Most files of one micro-batch."""
    messages_per_batch: int = Field(default=100_000, ge=1)
    """Most messages of one micro-batch from Kafka."""
    classify_with: Literal["bundle", "api"] = "bundle"
    """What classifies: the bundle, in Spark's own workers, or the HTTP API at `api_url`."""
    tier: str = "base"
    """The model of the bundle that classifies: `base`, a smaller and faster one, or `auto` (serving/tiers.py)."""
    api_url: str = "http://127.0.0.1:3000"
    """The HTTP API of `classify_with: api`."""
    api_key: SecretStr | None = None
    """From the environment only."""
    keep_raw_days: int | None = Field(default=None, ge=1)
    """How long Bronze keeps records; none: forever."""
    keep_versions_hours: int = Field(default=168, ge=1)
    """How long old versions of the tables can be read; then their files are removed."""


class DocumentSettings(Settings):
    """Documents that are classified by their URL."""

    section: ClassVar[str] = "documents"
    model_config = section_config("documents")

    user_agent: str | None = Field(default=None, min_length=1, max_length=200, pattern=r"^[\x20-\x7e]+$")
    """The `User-Agent` of the requests; sec.gov requires a name and a mail address, such as
    `Example Inc. filings@example.com`."""
