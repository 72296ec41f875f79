"""Where everything fetched or produced lies under `var/`. The only module that knows."""

from dataclasses import dataclass
from pathlib import Path

from data.settings import PathSettings


@dataclass(frozen=True)
class Layout:
    """Paths below one folder."""

    var: Path

    @classmethod
    def load(cls) -> "Layout":
        """The folder of the settings (`GROUNDSWELL_PATHS__VAR_DIR`, default `var`)."""
        return cls(PathSettings.load().var)

    @property
    def raw(self) -> Path:
        """One folder a data set: `texts.parquet`, `source.json`."""
        return self.var / "data" / "raw"

    @property
    def origin(self) -> Path:
        """Which texts the last run found where no setting says so: `sets`, `text`."""
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
    def judged(self) -> Path:
        """One folder a candidate: its probabilities on the frozen split and its quality report."""
        return self.var / "judged"

    @property
    def leaderboard(self) -> Path:
        """`leaderboard.json`, `.md`, `.html` and the plots."""
        return self.var / "leaderboard"

    @property
    def export(self) -> Path:
        """One bundle a step of the ladder, and `ladder.json`."""
        return self.var / "export"

    @property
    def bundles(self) -> Path:
        """Bundles by version: what the registry and the deployments point to."""
        return self.var / "bundles"

    @property
    def gate(self) -> Path:
        """The last verdict: `verdict.json`, `verdict.md`."""
        return self.var / "gate"

    @property
    def quality(self) -> Path:
        """What the production model measured last."""
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
