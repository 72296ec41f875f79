"""Which sets of labeled text there are, and how each is read: configs/datasets.yaml."""

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from data.errors import SettingsError, SourceUnavailable
from data.labels import LABELS
from data.settings import nearest, project_root, read_yaml


class HubMapping(BaseModel):
    """Where a dataset is on the Hugging Face hub."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    revision: str | None = Field(default=None, pattern=r"^[0-9a-f]{40}$")
    config: str | None = None
    text: str = "text"
    label: str = "label"
    splits: dict[str, str] = {"train": "train", "validation": "val", "test": "test"}
    """Their split to ours; a split that is not named is not read."""
    files: dict[str, str] | None = None
    """Their split to the only file that is fetched of it; none: every file of the repository."""
    max_rows: int | None = Field(default=None, ge=1)
    """At most this many rows of each split, a seeded choice; none: all."""


class OwnFile(BaseModel):
    """A team's own file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: Path
    """CSV, JSONL or Parquet; relative to the checkout."""
    columns: dict[str, str]
    """Our column to theirs: text and label are needed, id, split, created_at and label_confidence may be."""

    @model_validator(mode="after")
    def _known_columns(self) -> "OwnFile":
        allowed = {"id", "text", "label", "split", "created_at", "label_confidence"}
        if unknown := set(self.columns) - allowed:
            raise ValueError(f"unknown columns {sorted(unknown)}; there are {sorted(allowed)}")
        if missing := {"text", "label"} - set(self.columns):
            raise ValueError(f"no mapping for {sorted(missing)}")
        return self


class DatasetSpec(BaseModel):
    """One set of labeled text."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    domain: Literal["tweets", "reviews", "support", "finance", "news"]
    license: str
    hub: HubMapping | None = None
    no_hub: str | None = None
    """Why it is not fetched from the hub."""
    local: str | None = None
    """Folder in the local data folder, holding `data.csv` or `data.csv.gz`."""
    sha256: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")
    """Of the local file; another sum is refused."""
    file: OwnFile | None = None
    feedback: bool = False
    """What callers of the service corrected (`data/feedback.py`); each row may name a domain of its own."""
    sample: str | None = None
    """File in data/samples/; serves only where no other set can be had."""
    label_mapping: dict[str, str | None] = {label: label for label in LABELS}
    """Their label to ours; to null where the set says nothing of sentiment."""
    sarcasm_mapping: dict[str, bool] = {}
    """Their label to whether the text is sarcastic, for sets that label that."""
    confidence_column: str | None = None
    confidence_scale: float = 1.0
    """The column is divided by this to lie in 0..1."""
    rows: dict[str, int] = {}
    """Expected rows of each split in the local layout."""
    train: bool = False
    """Whether models learn from it; a dataset that lacks a class is for evaluation only."""
    official_splits: bool = False
    """Whether its test split is the published one, which is never touched."""

    @property
    def hub_id(self) -> str | None:
        """Its name on the hub."""
        return self.hub.id if self.hub else None

    @model_validator(mode="after")
    def _known_labels(self) -> "DatasetSpec":
        if wrong := {label for label in self.label_mapping.values() if label is not None and label not in LABELS}:
            raise ValueError(f"label_mapping leads to {sorted(wrong)}; there are {list(LABELS)}")
        return self


def load_catalog(raw: dict[str, Any] | None = None) -> dict[str, DatasetSpec]:
    """Every set, whether or not it can be had.

    Args:
        raw: The mapping to read; none: configs/datasets.yaml.

    Raises:
        SettingsError: An entry is malformed.
    """
    catalog = {}
    for name, entry in (raw or read_yaml(project_root() / "configs" / "datasets.yaml")).items():
        try:
            catalog[name] = DatasetSpec(name=name, **(entry or {}))
        except ValidationError as error:
            # A wrong name first: it is why another is missing.
            first = min(error.errors(), key=lambda one: one["type"] != "extra_forbidden")
            key = ".".join(map(str, first["loc"]))
            close = nearest(key, list(DatasetSpec.model_fields)) if first["type"] == "extra_forbidden" else None
            raise SettingsError(
                f"The set {name!r} in configs/datasets.yaml cannot be used: {key}.",
                found=repr(first["input"]),
                expected=first["msg"],
                remedy=f"Did you mean {close!r}?" if close else None,
            ) from None
    return catalog


def chosen(catalog: dict[str, DatasetSpec], names: list[str] | None) -> list[DatasetSpec]:
    """The named sets; all of them when no names are given.

    Raises:
        SourceUnavailable: A name is unknown; says the nearest.
    """
    for name in names or []:
        if name not in catalog:
            close = nearest(name, list(catalog))
            raise SourceUnavailable(
                f"There is no data set {name!r}.",
                expected=", ".join(catalog),
                remedy=f"Did you mean {close!r}?" if close else "See configs/datasets.yaml.",
            )
    return [spec for name, spec in catalog.items() if names is None or name in names]
