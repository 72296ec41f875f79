"""The candidates: configs/candidates.yaml, read for the active profile."""

from pathlib import Path
from typing import Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from data.errors import SettingsError
from data.labels import LABELS
from data.names import malformed_entry, unknown_name
from data.settings import PathSettings, profile_name, project_root, read_yaml
from training.settings import TrainingSettings

LINEAR = ("tfidf", "static")
"""Kinds of peers with logistic regression, see training/linear_peers.py."""


class Scratch(BaseModel):
    """A small transformer with random weights."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    architecture: Literal["distilbert", "roberta"]
    layers: int = Field(ge=1, le=12)
    hidden: int = Field(ge=16, le=1024)
    heads: int = Field(ge=1, le=16)


class Parts(BaseModel):
    """A base model in numbered packages of the Python index, `<package>-001` and so on: joined, they are one ZIP archive."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    package: str
    count: int = Field(ge=1, le=99)
    version: str


class Table(BaseModel):
    """The shape of a table student: no encoder, only tables of vectors. See training/table_student.py."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    width: int = Field(default=64, ge=8, le=1024)
    """Numbers per vector."""
    buckets: int = Field(default=1 << 16, ge=1 << 8, le=1 << 22)
    """Rows of the table of pairs, and of that of triples, of neighboring tokens."""


class LargeModel(BaseModel):
    """A large language model behind an OpenAI-compatible chat endpoint. See training/llm_peer.py."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    base_url: str | None = None
    """Such as `https://api.openai.com/v1`; requests go to `<base_url>/chat/completions`. None: the candidate is skipped."""
    model: str = Field(min_length=1)
    """The name that the endpoint knows it by."""
    prompt: Literal["zero-shot", "few-shot"] = "zero-shot"
    rows: int | None = Field(default=None, ge=1)
    """Maximum test rows, a seeded sample; none: all."""
    usd_per_million_input: float | None = Field(default=None, ge=0)
    """Price of a million input tokens; none: no price is shown."""
    usd_per_million_output: float | None = Field(default=None, ge=0)
    budget_usd: float | None = Field(default=None, gt=0)
    """Maximum cost of all requests for this model and prompt, those of earlier runs included."""
    concurrency: int = Field(default=4, ge=1, le=64)
    """Requests at the same time."""
    retries: int = Field(default=5, ge=0, le=20)
    """Further requests for a text after a rate limit, an error of the server or a time-out."""
    timeout_s: float = Field(default=30.0, gt=0, le=600)
    """Of one request, from its start to the last byte of the reply."""

    @field_validator("base_url")
    @classmethod
    def _plain_url(cls, url: str | None) -> str | None:
        parts = urlsplit(url or "http://none")
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.query or parts.fragment:
            raise ValueError("an http or https address without user, password, query and fragment")
        return url.rstrip("/") if url else None

    @model_validator(mode="after")
    def _budget_has_prices(self) -> Self:
        if (self.usd_per_million_input is None) != (self.usd_per_million_output is None):
            raise ValueError("usd_per_million_input and usd_per_million_output together, or neither")
        if self.budget_usd is not None and self.usd_per_million_input is None:
            raise ValueError("budget_usd only with usd_per_million_input and usd_per_million_output")
        return self

    @property
    def usd_per_token(self) -> tuple[float, float] | None:
        """Prices of one input and one output token in USD; None where they are not known."""
        if self.usd_per_million_input is None or self.usd_per_million_output is None:
            return None
        return self.usd_per_million_input / 1e6, self.usd_per_million_output / 1e6


class Candidate(BaseModel):
    """One candidate in the active profile."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    title: str
    kind: Literal["vader", "tfidf", "static", "transformer", "student", "as_is", "llm"]
    license: str
    package: str | None = None
    hub: str | None = None
    revision: str | None = Field(default=None, pattern=r"^[0-9a-f]{40}$")
    parts: Parts | None = None
    """Where `groundswell models fetch` finds it without a hub."""
    sha256: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")
    """Of `model.safetensors`, the same in the parts and on the hub; others are refused when it is fetched."""
    bytes: int | None = Field(default=None, gt=0)
    """Size of that file."""
    on_request: bool = False
    """Trained only when it is named: it takes long."""
    teacher_only: bool = False
    """Never the winner: it is too slow to serve."""
    layers: int | None = Field(default=None, ge=1, le=24)
    """Of a student: the first layers of its base model that it has; none: all."""
    table: Table | None = None
    """Of a student without an encoder."""
    labels: tuple[str, str, str] | None = None
    """Of an `as_is` model that names its outputs LABEL_0 to LABEL_2: what they are, in this order."""
    scratch: Scratch | None = None
    llm: LargeModel | None = Field(default=None, exclude=True)
    """Of the kind `llm`. Not dumped: what a checkpoint depends on has no part in it."""
    local: str | None = None
    """A folder with the base model; `load_candidates` sets it when `training.models_dir` has one."""
    from_scratch: bool = False
    """Whether it starts from random weights instead of the published ones. Set by `load_candidates`, never in the file."""
    max_length: int = Field(default=96, ge=8, le=512)
    learning_rate: float = Field(default=5e-5, gt=0, lt=1)
    scratch_learning_rate: float | None = Field(default=None, gt=0, lt=1)
    batch_size: int = Field(default=32, ge=1)
    epochs: int = Field(default=2, ge=1, le=50)
    warmup_ratio: float = Field(default=0.06, ge=0, lt=1)
    weight_decay: float = Field(default=0.01, ge=0)

    @field_validator("labels")
    @classmethod
    def _each_once(cls, labels: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if labels is not None and sorted(labels) != sorted(LABELS):
            raise ValueError(f"each of {', '.join(LABELS)} once")
        return labels

    @model_validator(mode="after")
    def _llm_on_request(self) -> Self:
        if (self.kind == "llm") != (self.llm is not None):
            raise ValueError("the key llm with the kind llm, and with no other")
        if self.kind == "llm" and not self.on_request:
            raise ValueError("on_request: true, since requests to a large model cost money")
        return self

    @property
    def exportable(self) -> bool:
        """Whether it is a neural network that can be exported to ONNX."""
        return self.kind not in ("vader", "llm", *LINEAR)

    @property
    def is_trained_here(self) -> bool:
        """Whether there is something to train, or to fetch: a lexicon and a large model have no checkpoint."""
        return self.kind not in ("vader", "llm")


def load_candidates(raw: dict[str, Any] | None = None) -> dict[str, Candidate]:
    """Return every candidate of the active profile by name, available or not.

    Args:
        raw: The mapping to read; none: configs/candidates.yaml.

    Raises:
        SettingsError: An entry is malformed; the error gives the entry, the key and the nearest valid key.
    """
    models_dir = models_folder()
    offline = profile_name() == "offline"
    candidates: dict[str, Candidate] = {}
    for name, entry in (raw or read_yaml(project_root() / "configs" / "candidates.yaml")).items():
        try:
            candidate = Candidate(name=name, **entry)
        except TypeError:
            raise SettingsError(f"The candidate {name!r} in configs/candidates.yaml is not a mapping.") from None
        except ValidationError as error:
            raise malformed_entry("candidate", name, "configs/candidates.yaml", error, Candidate.model_fields) from None
        local = models_dir / name
        if (local / "config.json").is_file():
            candidate = candidate.model_copy(update={"local": str(local)})
        elif offline and candidate.hub and candidate.scratch:
            candidate = candidate.model_copy(
                update={
                    "from_scratch": True,
                    "title": f"{candidate.title} (from scratch)",
                    "learning_rate": candidate.scratch_learning_rate or candidate.learning_rate,
                }
            )
        candidates[name] = candidate
    return candidates


def trainable(name: str) -> Candidate:
    """Return a candidate that can be trained.

    Raises:
        SettingsError: There is none of this name; the error gives the nearest. Or it is a large model.
    """
    candidates = load_candidates()
    found = {one.name: one for one in candidates.values() if one.is_trained_here}
    if name in candidates and candidates[name].kind == "llm":
        remedy = f"Run `groundswell benchmark --candidate {name}`."
        raise SettingsError(f"{name} is a large model, which is evaluated only and never trained.", remedy=remedy)
    if name not in found:
        raise unknown_name(SettingsError, "candidate", name, found, where=" in configs/candidates.yaml")
    return found[name]


def large_models() -> list[Candidate]:
    """Return the candidates of the kind `llm`."""
    return [one for one in load_candidates().values() if one.kind == "llm"]


def large_model(name: str) -> Candidate:
    """Return a candidate of the kind `llm`.

    Raises:
        SettingsError: There is none of this name; the error gives the nearest, or how the candidate is evaluated instead.
    """
    found = {one.name: one for one in large_models()}
    if name in found:
        return found[name]
    other = load_candidates().get(name)
    if other is None:
        raise unknown_name(SettingsError, "large model", name, found, where=" in configs/candidates.yaml")
    first = f"Run `groundswell train --candidate {name}`, then" if other.is_trained_here else "Run"
    raise SettingsError(
        f"{name} is no large model.",
        found=f"kind: {other.kind}",
        expected="kind: llm",
        remedy=f"{first} `groundswell benchmark`, which evaluates every trained candidate.",
    )


def models_folder() -> Path:
    """Return the folder with base models: `training.models_dir`, or `var/models`."""
    return TrainingSettings.load().models_dir or PathSettings.load().var / "models"
