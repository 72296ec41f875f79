"""Settings: read from a profile's YAML, then the environment, then arguments. Nothing is read at import."""

import os
from pathlib import Path
from typing import Any, ClassVar, Literal, Self, cast

import yaml
from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from data.errors import SettingsError
from data.names import nearest

ENV_PREFIX = "GROUNDSWELL_"


def project_root() -> Path:
    """Return the checkout: the folder that holds `configs/`."""
    return Path(__file__).resolve().parent.parent


def profile_name() -> str:
    """Return `offline`, `hub` or `production`, from `GROUNDSWELL_PROFILE`; `offline` when unset."""
    return os.environ.get("GROUNDSWELL_PROFILE", "offline")


class _UniqueKeys(yaml.SafeLoader):
    """Refuse a key that is written twice: YAML keeps the last one, and takes `0`, `no` and `false` for the same key."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        written: dict[Any, str] = {}
        for key_node, _ in node.value:
            key: Any = key_node
            if isinstance(key_node, yaml.ScalarNode):
                key = self.construct_object(key_node, deep=True)  # pyright: ignore[reportUnknownMemberType]  # the stubs lack a type
            if key in written:
                found = f"the keys {written[key]!r} and {key_node.value!r} are the same"
                raise yaml.constructor.ConstructorError(None, None, found, key_node.start_mark)
            written[key] = str(key_node.value)
        return super().construct_mapping(node, deep)


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML mapping from a file.

    Raises:
        SettingsError: The file is missing, is not YAML, has a key twice, or has no mapping.
    """
    try:
        loaded = yaml.load(path.read_text(encoding="utf-8"), Loader=_UniqueKeys)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise SettingsError(f"The configuration {path} cannot be read.", found=error) from error
    if not isinstance(loaded, dict):
        raise SettingsError(f"The configuration {path} has no mapping.", found=type(loaded).__name__)
    return cast("dict[str, Any]", loaded)


def profiles() -> list[str]:
    """Return the valid values of `GROUNDSWELL_PROFILE`."""
    return sorted(path.stem for path in (project_root() / "configs" / "profiles").glob("*.yaml"))


def read_profile() -> dict[str, dict[str, Any]]:
    """Return the sections of the active profile."""
    folder = project_root() / "configs" / "profiles"
    path = folder / f"{profile_name()}.yaml"
    if not path.is_file():
        if "GROUNDSWELL_PROFILE" not in os.environ and not folder.is_dir():
            return {}  # installed without the checkout, as on a Spark worker: field defaults and the environment apply
        known = profiles()
        close = nearest(profile_name(), known)
        raise SettingsError(
            f"There is no profile {profile_name()!r}.",
            found=f"GROUNDSWELL_PROFILE={profile_name()}",
            expected=f"one of {', '.join(known)}",
            remedy=f"Set GROUNDSWELL_PROFILE to one of them{f', such as {close}' if close else ''}; the default is offline.",
        )
    return read_yaml(path)


class _Profile(PydanticBaseSettingsSource):
    def get_field_value(self, field: Any, field_name: str) -> tuple[Any, str, bool]:
        raise AssertionError("unused: __call__ returns the section")

    def __call__(self) -> dict[str, Any]:
        assert issubclass(self.settings_cls, Settings)
        return read_profile().get(self.settings_cls.section) or {}


class Settings(BaseSettings):
    """One section of settings. A subclass sets `section` and `model_config = section_config(section)`.

    Precedence, lowest first: field default, `configs/profiles/<profile>.yaml`, `GROUNDSWELL_<SECTION>__<FIELD>`, arguments.
    """

    section: ClassVar[str]

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: Any,
        env_settings: Any,
        dotenv_settings: Any,
        file_secret_settings: Any,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Return the sources of pydantic-settings, in the precedence that `Settings` documents."""
        return init_settings, env_settings, _Profile(settings_cls)

    @classmethod
    def load(cls, **overrides: Any) -> Self:
        """Read this section; arguments that are None do not override.

        Raises:
            SettingsError: An unknown key (the error suggests the nearest valid one) or an invalid value.
        """
        known = list(cls.model_fields)
        prefix = f"{ENV_PREFIX}{cls.section}__".upper()
        for variable in os.environ:
            if variable.upper().startswith(prefix):
                field = variable[len(prefix) :].lower().split("__")[0]
                if field not in known:
                    raise _unknown(variable, nearest(field, known), known, prefix)
        try:
            return cls(**{key: value for key, value in overrides.items() if value is not None})
        except ValidationError as error:
            first = error.errors()[0]
            name = ".".join(map(str, first["loc"]))
            if first["type"] == "extra_forbidden":
                raise _unknown(f"{cls.section}.{name}", nearest(name, known), known) from None
            raise SettingsError(
                f"The setting {cls.section}.{name} is invalid.",
                found=repr(first["input"]) if "secret" not in name and "key" not in name else "(not shown)",
                expected=first["msg"],
                remedy=f"Correct configs/profiles/{profile_name()}.yaml or {prefix}{name.upper().replace('.', '__')}.",
            ) from None


def _unknown(name: str, close: str | None, known: list[str], prefix: str = "") -> SettingsError:
    hint = f"Did you mean {prefix}{close.upper() if prefix else close}?" if close else None
    return SettingsError(f"Unknown setting {name}.", expected=f"one of {', '.join(known)}", remedy=hint)


def section_config(section: str) -> SettingsConfigDict:
    """Return the pydantic configuration of a settings section."""
    return SettingsConfigDict(
        env_prefix=f"{ENV_PREFIX}{section.upper()}__",
        env_nested_delimiter="__",
        env_ignore_empty=True,
        extra="forbid",
        frozen=True,
        protected_namespaces=(),
    )


class PathSettings(Settings):
    """Where fetched and produced files are stored."""

    section: ClassVar[str] = "paths"
    model_config = section_config("paths")

    var_dir: Path = Path("var")
    """A relative folder is relative to the checkout."""

    @property
    def var(self) -> Path:
        """The absolute folder; a relative `var_dir` is relative to the checkout."""
        return self.var_dir if self.var_dir.is_absolute() else project_root() / self.var_dir


class CostSettings(Settings):
    """The price of CPU time, from which the cost of predictions is computed."""

    section: ClassVar[str] = "cost"
    model_config = section_config("cost")

    cpu_hour_usd: float = Field(default=0.0446, ge=0)
    """Price of one CPU for one hour. The default: half an EC2 c7i.large (2 vCPU, $0.08925 an hour on demand, us-east-1)."""

    def per_million(self, cpu_us_per_text: float) -> float:
        """Return USD per million texts: one microsecond per text is one second per million."""
        return cpu_us_per_text / 3600 * self.cpu_hour_usd


class LanguageSettings(Settings):
    """Texts in a language that the model was not measured on, in API, jobs, Lambda, stream, Silver, `score` and `classify`."""

    section: ClassVar[str] = "languages"
    model_config = section_config("languages")

    other: Literal["warn", "reject"] = "warn"
    """Whether such a text is classified with a warning, or rejected with the reason. A text whose language is not certain is
    classified."""

    @property
    def reject(self) -> bool:
        """Whether such texts are rejected."""
        return self.other == "reject"


class DataSettings(Settings):
    """Where labeled text comes from."""

    section: ClassVar[str] = "data"
    model_config = section_config("data")

    origin: Literal["local", "hub"] = "local"
    """Where to fetch a dataset that is not in the data folder: nowhere (local), or the Hugging Face hub (hub)."""
    dir: Path | None = None
    """Folder in the layout `<name>/data.csv[.gz]`. None, and origin local: the primary dataset from the hub if it is reachable,
    else the project's own small sample."""
    datasets: list[str] | None = None
    """Names from configs/datasets.yaml, all of which must be available; none: every available dataset."""
    recipe: str | None = None
    """Name from configs/recipes.yaml: which published datasets models learn from; none: those with `train: true`."""
