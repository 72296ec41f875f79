"""The catalog of datasets, how each is read, and which ones models learn from: configs/datasets.yaml, configs/recipes.yaml."""

from pathlib import Path
from typing import Any, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from data.domains import Domain
from data.errors import SettingsError, SourceUnavailable
from data.labels import LABELS, label_key, own_label
from data.names import malformed_entry, unknown_name
from data.settings import DataSettings, project_root, read_yaml
from data.tables.read_as import ReadAs

_BOOLEANS = {False: ("false", "no", "off"), True: ("true", "yes", "on")}
"""What YAML reads as one key; the file may hold any of these words."""


class HubMapping(BaseModel):
    """Where a dataset is on the Hugging Face hub."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    revision: str | None = Field(default=None, pattern=r"^[0-9a-f]{40}$")
    config: str | None = None
    text: str = "text"
    label: str = "label"
    splits: dict[str, str] = {"train": "train", "validation": "val", "test": "test"}
    """Split on the hub to our split; a split that is not listed is not read."""
    files: dict[str, str] | None = None
    """Split on the hub to the only file fetched for it; none: every file of the repository."""
    max_rows: int | None = Field(default=None, ge=1)
    """Maximum rows of each split, a seeded sample; none: all."""


class OwnFile(ReadAs):
    """A team's own file. How it is read is detected, unless `encoding`, `delimiter`, `quoting` or `names` is set."""

    path: Path
    """CSV, JSON, Parquet or XLSX; relative to the checkout."""
    columns: dict[str, str]
    """Our column to the column in the file. Required: text, label. Optional: id, split, created_at, label_confidence."""

    @model_validator(mode="after")
    def _known_columns(self) -> "OwnFile":
        allowed = {"id", "text", "label", "split", "created_at", "label_confidence"}
        if unknown := set(self.columns) - allowed:
            raise ValueError(f"unknown columns {sorted(unknown)}; known columns: {sorted(allowed)}")
        if missing := {"text", "label"} - set(self.columns):
            raise ValueError(f"no mapping for {sorted(missing)}")
        return self


class Rephrased(BaseModel):
    """Sarcastic texts whose authors also wrote what they meant, in plain words."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    column: str
    """Of the source, with the plain text; null where there is none."""
    held_out: int = Field(ge=1)
    """Pairs that are in no split: they compare what a model takes the two texts for. Chosen by a hash of the id."""


class AboutTarget(BaseModel):
    """Texts of which each row is about one company that the text names, see `data/targets.py`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    column: str
    """Of the source, with the name of the company, which is marked in the text."""
    score: str
    """Column with the sentiment towards it, -1 to 1."""


class DatasetSpec(BaseModel):
    """One dataset of labeled text."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    domain: Domain
    license: str
    language: str = Field(default="en", pattern=r"^[a-z]{2,3}$")
    """Language of its texts; the bundle of a model names those of the datasets that it was trained on."""
    hub: HubMapping | None = None
    no_hub: str | None = None
    """Why it is not fetched from the hub."""
    local: str | None = None
    """Folder in the local data folder, holding `data.csv` or `data.csv.gz`."""
    sha256: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")
    """Of the local file; a file with another checksum is refused."""
    file: OwnFile | None = None
    feedback: bool = False
    """Whether its rows are the corrections of API callers (`data/feedback.py`); each row may have its own domain."""
    sample: str | None = None
    """File in data/samples/; used only where no other dataset is available."""
    label_mapping: dict[str, str | None] = {label: label for label in LABELS}
    """Label of the source, as `label_key` writes it, to our label; null where it carries no sentiment."""
    sarcasm_mapping: dict[str, bool] = {}
    """Label of the source, as `label_key` writes it, to whether the text is sarcastic, for datasets that label sarcasm."""
    sarcasm_only: bool = False
    """Whether its sarcastic texts teach nothing about sentiment. Those of other datasets teach that they are not positive."""
    rephrased: Rephrased | None = None
    about: AboutTarget | None = None
    confidence_column: str | None = None
    confidence_scale: float = 1.0
    """The column is divided by this, which gives 0 to 1."""
    rows: dict[str, int] = {}
    """Expected rows of each split in the local layout."""
    train: bool = False
    """Whether models are trained on it. Where a recipe is set, it decides instead about published datasets."""
    official_splits: bool = False
    """Whether its test split is the published one, which is never touched."""

    @property
    def hub_id(self) -> str | None:
        """Repository id on the hub."""
        return self.hub.id if self.hub else None

    @field_validator("label_mapping", "sarcasm_mapping", mode="before")
    @classmethod
    def _comparable(cls, mapping: Any) -> Any:
        """Write the keys as labels are compared: YAML reads `0` as a number and `no` as a boolean."""
        if not isinstance(mapping, dict):
            return mapping
        by_key: dict[str, Any] = {}
        for written, stated in cast("dict[object, object]", mapping).items():
            ours = own_label(stated) or stated
            for key in _BOOLEANS[written] if isinstance(written, bool) else (label_key(written),):
                if key is None or (key in by_key and by_key[key] != ours):
                    raise ValueError(f"{written!r} and another key are the same label" if key else "a label that is blank")
                by_key[key] = ours
        return by_key

    @model_validator(mode="after")
    def _known_labels(self) -> "DatasetSpec":
        if wrong := {label for label in self.label_mapping.values() if label is not None and label not in LABELS}:
            raise ValueError(f"label_mapping leads to {sorted(wrong)}; labels are {list(LABELS)}")
        return self


class Recipe(BaseModel):
    """A mix of datasets that models learn from."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    train: tuple[str, ...] = Field(min_length=1)
    """Names in the catalog."""
    missing: str | None = None
    """What a mix of this name has elsewhere and not here."""


def load_catalog(raw: dict[str, Any] | None = None) -> dict[str, DatasetSpec]:
    """Return every dataset by name, available or not.

    Args:
        raw: The mapping to read; none: configs/datasets.yaml, with the recipe of the settings.

    Raises:
        SettingsError: An entry is malformed, or there is no recipe of that name.
    """
    catalog = _read_catalog(raw or read_yaml(project_root() / "configs" / "datasets.yaml"))
    recipe = None if raw else load_recipe(catalog)
    if recipe is None:
        return catalog
    return {
        name: spec if spec.file or spec.feedback or spec.sample else spec.model_copy(update={"train": name in recipe.train})
        for name, spec in catalog.items()
    }


def load_recipe(catalog: dict[str, DatasetSpec]) -> Recipe | None:
    """Return the recipe that `data.recipe` names; None if it names none.

    Raises:
        SettingsError: There is none of this name, it is malformed, or it names a dataset that is not in the catalog.
    """
    name = DataSettings.load().recipe
    if name is None:
        return None
    file = "configs/recipes.yaml"
    recipes = read_yaml(project_root() / file)
    if name not in recipes:
        raise unknown_name(SettingsError, "recipe", name, recipes, where=f" in {file}")
    try:
        recipe = Recipe.model_validate(recipes[name])
    except ValidationError as error:
        raise malformed_entry("recipe", name, file, error, Recipe.model_fields) from None
    for one in recipe.train:
        if one not in catalog:
            raise unknown_name(SettingsError, "dataset", one, catalog, where=f" in configs/datasets.yaml (recipe {name!r})")
    return recipe


def _read_catalog(raw: dict[str, Any]) -> dict[str, DatasetSpec]:
    catalog: dict[str, DatasetSpec] = {}
    for name, entry in raw.items():
        try:
            fields: dict[str, Any] = entry or {}
            catalog[name] = DatasetSpec(name=name, **fields)
        except ValidationError as error:
            raise malformed_entry("dataset", name, "configs/datasets.yaml", error, DatasetSpec.model_fields) from None
    return catalog


def select_datasets(catalog: dict[str, DatasetSpec], names: list[str] | None) -> list[DatasetSpec]:
    """Return the named datasets, or all of them when no names are given.

    Raises:
        SourceUnavailable: A name is unknown; the error suggests the nearest.
    """
    for name in names or []:
        if name not in catalog:
            raise unknown_name(SourceUnavailable, "dataset", name, catalog, otherwise="See configs/datasets.yaml.")
    return [spec for name, spec in catalog.items() if names is None or name in names]
