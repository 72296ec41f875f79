"""Paths of everything fetched or produced under `var/`, and the settings of a run. No other module spells the paths."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from data.settings import ENV_PREFIX, PathSettings, Settings

Section = TypeVar("Section", bound=Settings)
Overrides = Mapping[str, Mapping[str, Any]]
"""Settings by section and field, above profile and environment; None does not override."""


def variable(section: str, name: str) -> str:
    """Return the environment variable of a setting."""
    return f"{ENV_PREFIX}{section}__{name}".upper()


@dataclass(frozen=True)
class Layout:
    """Paths below one folder, and the settings of the run that works in it."""

    var: Path
    overrides: Overrides = field(default_factory=dict, hash=False)
    """From the flags of a command, or from the run's configuration."""

    @classmethod
    def load(cls) -> "Layout":
        """Return the folder of the settings (`GROUNDSWELL_PATHS__VAR_DIR`, default `var`)."""
        return cls(PathSettings.load().var)

    def settings(self, section: type[Section]) -> Section:
        """Read a section of settings, such as `TrainingSettings`, with the overrides of this run.

        Raises:
            SettingsError: An unknown key or an invalid value.
        """
        return section.load(**self.overrides.get(section.section, {}))

    def environment(self) -> dict[str, str]:
        """Return the overrides as variables, for a process that is started."""
        return {
            variable(section, name): str(value)
            for section, of in self.overrides.items()
            for name, value in of.items()
            if value is not None
        }

    @property
    def raw(self) -> Path:
        """One folder a dataset: `texts.parquet`, `source.json`."""
        return self.var / "data" / "raw"

    @property
    def origin(self) -> Path:
        """The last decision on the texts of a run, where no setting decides: `sets`, `text`."""
        return self.var / "data" / "origin.json"

    @property
    def splits(self) -> Path:
        """`texts.parquet`, `removed.parquet`, `report.json`."""
        return self.var / "data" / "splits"

    @property
    def soft_labels(self) -> Path:
        """Probabilities of teachers, by teacher and text."""
        return self.var / "soft_labels"

    @property
    def candidates(self) -> Path:
        """One folder a trained candidate: `checkpoint/`, `report.json`."""
        return self.var / "candidates"

    @property
    def evaluations(self) -> Path:
        """One folder for each candidate or bundle: its probabilities on the frozen rows and its quality report."""
        return self.var / "evaluations"

    @property
    def large_models(self) -> Path:
        """One log of requests for each large model and prompt: what it predicted, by the digest of the text."""
        return self.var / "large_models"

    @property
    def leaderboard(self) -> Path:
        """`leaderboard.json`, `published.json`, `.md`, `.html` and the plots."""
        return self.var / "leaderboard"

    @property
    def transfer(self) -> Path:
        """The domain-transfer matrix: `transfer.json`, `.md`, `.png`."""
        return self.var / "transfer"

    @property
    def export(self) -> Path:
        """One bundle for each export variant, with report and plot."""
        return self.var / "export"

    @property
    def export_report(self) -> Path:
        """Every export variant compared with torch, and the one that was chosen."""
        return self.export / "export_variants.json"

    @property
    def export_plot(self) -> Path:
        """CPU time and changed labels of every export variant."""
        return self.export / "export_variants.png"

    @property
    def bundles(self) -> Path:
        """Bundles by version: what the registry and the deployments point to."""
        return self.var / "bundles"

    @property
    def gate(self) -> Path:
        """Decisions of the promotion gate."""
        return self.var / "gate"

    @property
    def gate_decision(self) -> Path:
        """The last gate decision."""
        return self.gate / "decision.json"

    @property
    def gate_page(self) -> Path:
        """The last gate decision as Markdown."""
        return self.gate / "decision.md"

    @property
    def quality(self) -> Path:
        """The last measurement of the production model."""
        return self.var / "quality" / "report.json"

    @property
    def reconciliation(self) -> Path:
        """The last reconciliation of the serving paths: `report.json`, `report.md`."""
        return self.var / "reconciliation"

    @property
    def deployment(self) -> Path:
        """State and logs of the local deployment."""
        return self.var / "deployment"

    @property
    def bentoml(self) -> Path:
        """The Bento store."""
        return self.var / "bentoml"

    @property
    def warehouse(self) -> Path:
        """The embedded ClickHouse."""
        return self.var / "warehouse"

    @property
    def feeds(self) -> Path:
        """How far each feed was read, and hashes of what was sent."""
        return self.var / "feeds"

    @property
    def dagster(self) -> Path:
        """Runs, events and logs of Dagster."""
        return self.var / "dagster"
