"""Settings of what this folder runs: the HTTP service, the stream, the warehouse, the dashboard, alerts and the lakehouse."""

from typing import ClassVar, Literal

from pydantic import Field, SecretStr

from data.settings import Settings, section_config


class ServingSettings(Settings):
    """The HTTP service."""

    section: ClassVar[str] = "serving"
    model_config = section_config("serving")

    port: int = Field(default=3000, ge=1, le=65535)
    """On 127.0.0.1; `bentoml serve --host` opens it further, and then keys have to be on."""
    keys: bool = False
    """Whether each request has to show a key. Without them only this machine is answered."""
    hosts: list[str] = Field(default_factory=list)
    """Names under which the service is reached, beside localhost and IP addresses; JSON in the environment. `["*"]`: any."""
    max_connections: int = Field(default=2_000, ge=1)
    """Open at one time; the process raises its limit of open files to fit."""
    min_free_disk: float = Field(default=0.1, ge=0, le=1)
    """Share of the disk under `var/` below which jobs and feedback are refused; classification continues."""
    max_batch_texts: int = Field(default=32, ge=1, le=1024)
    """A batch is closed at this many texts; a request with more is cut into several."""
    window_ms: float = Field(default=3.0, ge=0, le=100)
    """How long a batch waits for company when the one before had company. A caller alone never waits."""
    deadline_ms: int = Field(default=10_000, ge=100)
    """A request whose answer would take longer is refused with 503, at once where that can be foreseen; it is no target."""
    cache_texts: int = Field(default=50_000, ge=1)
    """Answers held in memory, some 300 bytes each."""
    answers: Literal["memory", "sqlite", "redis", "dynamodb"] = "sqlite"
    """Where answers are kept beyond the process: nowhere, in a file under `var/`, on a Redis server, in DynamoDB."""
    answers_ttl_s: int = Field(default=86_400, ge=1)
    """How long they are kept there."""
    redis_url: SecretStr | None = None
    """Such as redis://127.0.0.1:6379/0; may hold a password, so it comes from the environment only."""
    jobs: Literal["sqlite", "sqs"] = "sqlite"
    """Where jobs are kept: in a file under `var/`, or in DynamoDB with a queue of SQS."""
    dynamodb_table: str = "groundswell"
    """Region, credentials and other addresses come as for every AWS program: AWS_REGION, AWS_ENDPOINT_URL_DYNAMODB ..."""
    sqs_queue_url: str | None = None
    ready_timeout_s: float = Field(default=30.0, gt=0)
    """How long a new deployment may take to answer."""
    stop_timeout_s: float = Field(default=15.0, gt=0)


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
    group: str = "groundswell"
    batch_messages: int = Field(default=512, ge=1, le=10_000)
    """Most messages of one micro-batch."""
    batch_tokens: int = Field(default=16_384, ge=1)
    """A micro-batch is closed when it holds about so many tokens (four characters each), or at its age."""
    batch_age_ms: int = Field(default=50, ge=1)
    """A lone message waits at most this long for company."""
    block_rows: int = Field(default=8_192, ge=1, le=100_000)
    """Most rows of one block written to the warehouse."""
    block_age_ms: int = Field(default=250, ge=1, le=1_000)
    """A judged message waits at most this long for its block."""
    threads: int | None = Field(default=None, ge=1)
    """Micro-batches judged at once in one worker, each on one processor; none: the processor quota."""
    max_in_flight: int = Field(default=20_000, ge=1)
    """Messages read and not yet committed; with more the worker waits before it reads on."""
    drain_s: float = Field(default=10.0, gt=0)
    """When partitions are taken away or the worker is told to stop, it finishes what it has read for at most this long."""
    dead_letter_limit: float = Field(default=0.2, gt=0, le=1)
    """The worker stops when more than this share of the last 1,000 messages went to the dead letters."""
    max_ahead_s: float = Field(default=300.0, gt=0, le=86_400)
    """A message dated further than this after its arrival at the broker is a dead letter."""
    transactions: bool = False
    """Whether predictions and offsets are one Kafka transaction: readers of committed messages then see each prediction once."""
    max_workers: int | None = Field(default=None, ge=1)
    """None: the processor quota."""
    drain_limit_s: float = Field(default=30.0, gt=0)
    """A worker is added when the backlog would take longer than this at the measured rate."""
    lag_limit: int = Field(default=1_000, ge=1)
    """Or when the backlog stays above so many messages."""
    metrics_port: int = Field(default=9464, ge=1, le=65535)
    """Of `/metrics` on 127.0.0.1; worker k of a supervisor answers on this + k."""


class WarehouseSettings(Settings):
    """ClickHouse."""

    section: ClassVar[str] = "warehouse"
    model_config = section_config("warehouse")

    url: SecretStr | None = None
    """A server, such as http://user:password@clickhouse:8123/sentiment; none: chDB in `var/warehouse`, held by one process."""
    port: int = Field(default=8124, ge=1, le=65535)
    """Where that process answers the others, on 127.0.0.1."""
    reader: Literal["clickhouse", "lakehouse"] = "clickhouse"
    """Who answers the dashboard's questions: ClickHouse, or Gold of the lakehouse, read with DuckDB."""
    timeout_s: float = Field(default=30.0, gt=0)
    """Of one statement."""


class DashboardSettings(Settings):
    """The pages that the service serves at `/`."""

    section: ClassVar[str] = "dashboard"
    model_config = section_config("dashboard")

    mlflow_url: str = "http://127.0.0.1:5000"
    """Where the dashboard's links to runs and models lead."""
    dagster_url: str = "http://127.0.0.1:3001"


class AlertSettings(Settings):
    """Anomaly alerts."""

    section: ClassVar[str] = "alerts"
    model_config = section_config("alerts")

    alarms_per_week: float = Field(default=1.0, gt=0)
    """False alarms that a quiet source may raise; `groundswell stream calibrate` finds the threshold that keeps to it."""
    threshold: float | None = Field(default=None, gt=0)
    """None: the calibrated one."""
    min_volume: int = Field(default=30, ge=2)
    """Messages that a window needs before it is judged."""
    lateness_s: float = Field(default=2.0, ge=0)
    """How long a second waits for its late messages before it is judged."""
    webhook: SecretStr | None = None
    """Where alerts are posted, in the shape that Slack takes."""


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
    judge: Literal["bundle", "api"] = "bundle"
    """Who judges: the bundle, in Spark's own workers, or the HTTP API at `api_url`."""
    api_url: str = "http://127.0.0.1:3000"
    api_key: SecretStr | None = None
    """From the environment only."""
    keep_raw_days: int | None = Field(default=None, ge=1)
    """How long Bronze keeps records; none: for ever."""
    keep_versions_hours: int = Field(default=168, ge=1)
    """How long old versions of the tables can be read; afterwards their files are removed."""
