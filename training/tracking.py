"""Runs in MLflow: one parent run for each Dagster run, one nested run for each candidate."""

import logging
import math
import os
import platform
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from data.settings import Settings, section_config

if TYPE_CHECKING:
    import pandas as pd
    from mlflow import MlflowClient

EXPERIMENT = "sentiment"
MODEL_NAME = "sentiment"


class TrackingSettings(Settings):
    """Where runs are kept."""

    section: ClassVar[str] = "tracking"
    model_config = section_config("tracking")

    uri: str | None = None
    """MLflow tracking address, such as postgresql://… or http://…; none: SQLite under var/mlflow."""


class Tracking:
    """The MLflow store of one `var/` folder. Every call names the store; nothing is global but MLflow's own active run."""

    def __init__(self, var: Path) -> None:
        """Open the store, and make it and the experiment where they are missing.

        Args:
            var: The folder; without `tracking.uri` in the settings, runs lie in `<var>/mlflow`.
        """
        _hush()
        import mlflow

        folder = var / "mlflow"
        folder.mkdir(parents=True, exist_ok=True)
        self.uri = TrackingSettings.load().uri or f"sqlite:///{folder.resolve()}/mlflow.db"
        mlflow.set_tracking_uri(self.uri)
        mlflow.set_registry_uri(self.uri)
        self.mlflow: Any = mlflow
        self.client: MlflowClient = mlflow.MlflowClient(self.uri, self.uri)
        found = self.client.get_experiment_by_name(EXPERIMENT)
        self.experiment_id = (
            found.experiment_id
            if found
            else self.client.create_experiment(EXPERIMENT, artifact_location=(folder / "artifacts").resolve().as_uri())
        )

    def parent_run(self, name: str, tags: Mapping[str, str] | None = None) -> str:
        """The id of the parent run called `name`; made when there is none, so that a resumed run goes on in its own."""
        found = self.client.search_runs(
            [self.experiment_id],
            f"tags.`groundswell.parent` = '{name}'",
            max_results=1,
            order_by=["attributes.start_time DESC"],
        )
        if found:
            return found[0].info.run_id
        made = self.client.create_run(
            self.experiment_id, run_name=name, tags={"groundswell.parent": name, **environment(), **(tags or {})}
        )
        return made.info.run_id

    @contextmanager
    def nested_run(self, parent: str, name: str) -> Iterator[str]:
        """The run `name` below `parent`, made or gone on with; gives its id. It ends as FAILED when the block raises."""
        found = self.client.search_runs(
            [self.experiment_id],
            f"tags.`mlflow.parentRunId` = '{parent}' and tags.`groundswell.candidate` = '{name}'",
            max_results=1,
        )
        if found:
            with self.mlflow.start_run(run_id=found[0].info.run_id) as run:
                yield run.info.run_id
            return
        with self.mlflow.start_run(
            experiment_id=self.experiment_id, run_name=name, parent_run_id=parent, tags={"groundswell.candidate": name}
        ) as run:
            yield run.info.run_id

    def end_parent(self, parent: str, *, failed: bool = False) -> None:
        """Close a parent run."""
        self.client.set_terminated(parent, "FAILED" if failed else "FINISHED")

    def log_curves(self, run_id: str, history: list[dict[str, float]]) -> None:
        """Every number of a training history at its step."""
        from mlflow.entities import Metric

        now = 0
        metrics = [
            Metric(name, float(value), now, int(row.get("step", 0)))
            for row in history
            for name, value in row.items()
            if name not in {"step"} and not math.isnan(value)
        ]
        for start in range(0, len(metrics), 1000):
            self.client.log_batch(run_id, metrics=metrics[start : start + 1000])

    def log_params(self, run_id: str, params: Mapping[str, Any]) -> None:
        """Settings, as text."""
        from mlflow.entities import Param

        self.client.log_batch(run_id, params=[Param(key, str(value)[:6000]) for key, value in params.items()])

    def log_metrics(self, run_id: str, metrics: Mapping[str, float | None]) -> None:
        """Numbers; what is not defined is left out."""
        from mlflow.entities import Metric

        found = [Metric(key, float(v), 0, 0) for key, v in metrics.items() if v is not None and not math.isnan(v)]
        self.client.log_batch(run_id, metrics=found)

    def log_dataset(self, frame: "pd.DataFrame", *, source: Path, name: str, fingerprint: str, context: str) -> None:
        """The rows as a dataset input of the active run: where they lie, name, fingerprint and schema, not the texts."""
        import mlflow.data

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            dataset = mlflow.data.from_pandas(  # type: ignore[attr-defined]
                frame[["text", "label"]].head(1), source=str(source), name=name, digest=fingerprint[:32],
            )  # fmt: skip
            self.mlflow.log_input(dataset, context=context)


def environment() -> dict[str, str]:
    """What the numbers were made with."""
    from importlib.metadata import PackageNotFoundError, version

    found = {
        "env.python": platform.python_version(),
        "env.machine": f"{platform.machine()}, {os.cpu_count()} processors",
    }
    for package in ("torch", "transformers", "onnxruntime", "groundswell"):
        try:
            found[f"env.{package}"] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _hush() -> None:
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("DO_NOT_TRACK", "true")
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "ERROR")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.ERROR)
