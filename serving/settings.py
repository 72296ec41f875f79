"""Settings of serving and of the stream."""

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
    """The stream worker."""

    section: ClassVar[str] = "stream"
    model_config = section_config("stream")

    batch_messages: int = Field(default=512, ge=1, le=10_000)
    """Most messages of one micro-batch."""
    batch_age_ms: int = Field(default=50, ge=1)
    """A lone message waits at most this long for company."""
