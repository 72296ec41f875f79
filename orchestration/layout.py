"""Paths of everything fetched or produced under `var/`. No other module spells them."""

from dataclasses import dataclass
from pathlib import Path

from data.settings import PathSettings


@dataclass(frozen=True)
class Layout:
    """Paths below one folder."""

    var: Path

    @classmethod
    def load(cls) -> "Layout":
        """Return the folder of the settings (`GROUNDSWELL_PATHS__VAR_DIR`, default `var`)."""
        return cls(PathSettings.load().var)

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
    def candidates(self) -> Path:
        """One folder a trained candidate: `checkpoint/`, `report.json`."""
        return self.var / "candidates"

    @property
    def evaluations(self) -> Path:
        """One folder for each candidate or bundle: its probabilities on the frozen rows and its quality report."""
        return self.var / "evaluations"

    @property
    def leaderboard(self) -> Path:
        """`leaderboard.json`, `.md`, `.html` and the plots."""
        return self.var / "leaderboard"

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
    def dagster(self) -> Path:
        """Runs, events and logs of Dagster."""
        return self.var / "dagster"
