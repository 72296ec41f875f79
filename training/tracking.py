"""Runs in MLflow: a parent run for each benchmark, one nested run for each candidate, one for the exported bundle."""

import math
import os
import platform
import time
import warnings
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from data.library_settings import quiet_mlflow
from data.settings import Settings, section_config

if TYPE_CHECKING:
    from collections.abc import Callable

    import pandas as pd
    from mlflow import MlflowClient

EXPERIMENT = "sentiment"
MODEL_NAME = "sentiment"
PARENT_TAG = "groundswell.parent"
PROCESS_TAG = "groundswell.process"
"""Tag of a parent run: the machine and process that work on it."""
EXPERIMENT_TAGS = {
    # Without it MLflow opens the page of traces for language models.
    "mlflow.experimentKind": "custom_model_development",
    "mlflow.experiment.primaryMetric.name": "macro_recall",
    "mlflow.experiment.primaryMetric.greaterIsBetter": "True",
    "mlflow.note.content": (
        "Sentiment of short texts. One parent run per benchmark, with the numbers of the best candidate; a nested run per "
        "candidate, and one for the exported bundle. `macro_recall` and the other numbers without a prefix are of the frozen "
        "test split; `training/` and `validation/` are training curves."
    ),
}
Ended = Literal["FINISHED", "FAILED", "KILLED"]


class TrackingSettings(Settings):
    """Where runs are stored."""

    section: ClassVar[str] = "tracking"
    model_config = section_config("tracking")

    uri: str | None = None
    """MLflow tracking address, such as postgresql://… or http://…; none: SQLite under var/mlflow."""


class Tracking:
    """The MLflow store of one `var/` folder. Every call is bound to the store; only the active run of MLflow is global."""

    def __init__(self, var: Path) -> None:
        """Open the store; create it and the experiment if they do not exist.

        Args:
            var: The folder; without `tracking.uri` in the settings, runs are stored in `<var>/mlflow`.
        """
        quiet_mlflow()
        import mlflow

        folder = var / "mlflow"
        folder.mkdir(parents=True, exist_ok=True)
        self.uri = TrackingSettings.load().uri or f"sqlite:///{folder.resolve()}/mlflow.db"
        mlflow.set_tracking_uri(self.uri)
        mlflow.set_registry_uri(self.uri)
        self.mlflow: Any = mlflow
        self.client: MlflowClient = mlflow.MlflowClient(self.uri, self.uri)
        self.experiment_id = self._experiment(folder)

    def _experiment(self, folder: Path) -> str:
        experiment = self.client.get_experiment_by_name(EXPERIMENT)
        if experiment is None:
            place = (folder / "artifacts").resolve().as_uri()
            return self.client.create_experiment(EXPERIMENT, artifact_location=place, tags=EXPERIMENT_TAGS)
        for name, value in EXPERIMENT_TAGS.items():  # a store of an older version lacks them; users may change them
            if name not in experiment.tags:
                self.client.set_experiment_tag(experiment.experiment_id, name, value)
        return experiment.experiment_id

    def page(self, port: int = 5000) -> str:
        """Return the URL of the runs in `make mlflow`, in the view for models rather than the one for language models."""
        return f"http://127.0.0.1:{port}/#/experiments/{self.experiment_id}/runs?workflowType=machine_learning"

    def find_parent(self, key: str) -> str | None:
        """Return the id of the parent run of this key, if there is one."""
        runs = self.client.search_runs([self.experiment_id], f"tags.`{PARENT_TAG}` = '{key}'", max_results=1)
        return runs[0].info.run_id if runs else None

    def parent_run(self, key: str, name: str | None = None, tags: Mapping[str, str] | None = None) -> str:
        """Return the id of the parent run of this key; create the run if there is none.

        Args:
            key: Identity of the run, such as the id of a Dagster run.
            name: Display name; none: the key.
            tags: Additional tags of a new run.
        """
        from mlflow.tracking.context.registry import resolve_tags  # pyright: ignore[reportUnknownVariableType]

        if run_id := self.find_parent(key):
            return run_id
        made = self.client.create_run(
            self.experiment_id,
            run_name=name or key,
            tags={**resolve_tags(), PARENT_TAG: key, **environment(), **(tags or {})},
        )
        return made.info.run_id

    @contextmanager
    def nested_run(self, parent: str, name: str) -> Generator[str]:
        """Create or resume the run `name` below `parent`, and yield its id. It ends as FAILED if the block raises."""
        runs = self.client.search_runs(
            [self.experiment_id],
            f"tags.`mlflow.parentRunId` = '{parent}' and tags.`groundswell.candidate` = '{name}'",
            max_results=1,
        )
        if runs:
            with self.mlflow.start_run(run_id=runs[0].info.run_id) as run:
                yield run.info.run_id
            return
        with self.mlflow.start_run(
            experiment_id=self.experiment_id, run_name=name, parent_run_id=parent, tags={"groundswell.candidate": name}
        ) as run:
            yield run.info.run_id

    def has_run(self, run_id: str) -> bool:
        """Return whether a run exists and is not deleted."""
        from mlflow.exceptions import MlflowException

        try:
            return self.client.get_run(run_id).info.lifecycle_stage == "active"
        except MlflowException:
            return False

    def end(self, run_id: str, status: Ended) -> None:
        """End a run and its nested runs, if they are running."""
        below = f"tags.`mlflow.parentRunId` = '{run_id}' and attributes.status = 'RUNNING'"
        for run in self.client.search_runs([self.experiment_id], below):
            self.client.set_terminated(run.info.run_id, status)
        if self.client.get_run(run_id).info.status == "RUNNING":
            self.client.set_terminated(run_id, status)

    def end_left_behind(self, is_left: "Callable[[str | None], bool]") -> None:
        """End the parent runs without a live process, so that none is shown as running for ever.

        Args:
            is_left: Returns whether the process in a `PROCESS_TAG` is gone. The tag is None for runs of an older version, which
                ended no parent run.
        """
        for run in self.client.search_runs([self.experiment_id], "attributes.status = 'RUNNING'"):
            process = run.data.tags.get(PROCESS_TAG)
            if PARENT_TAG not in run.data.tags or not is_left(process):
                continue
            nested = self.client.search_runs([self.experiment_id], f"tags.`mlflow.parentRunId` = '{run.info.run_id}'")
            complete = process is None and nested and all(one.info.status == "FINISHED" for one in nested)
            self.end(run.info.run_id, "FINISHED" if complete else "FAILED")

    def log_curves(self, run_id: str, history: list[dict[str, float]]) -> None:
        """Log every value of a training history at its step, as `training/…` or `validation/…`."""
        from mlflow.entities import Metric

        now = _now_ms()
        metrics = [
            Metric(_curve(name), float(value), now, int(row.get("step", 0)))
            for row in history
            for name, value in row.items()
            if name not in {"step"} and not math.isnan(value)
        ]
        for start in range(0, len(metrics), 1000):
            self.client.log_batch(run_id, metrics=metrics[start : start + 1000])

    def log_params(self, run_id: str, params: Mapping[str, Any]) -> None:
        """Log settings as text."""
        from mlflow.entities import Param

        self.client.log_batch(run_id, params=[Param(key, str(value)[:6000]) for key, value in params.items()])

    def log_metrics(self, run_id: str, metrics: Mapping[str, float | None], *, model_id: str | None = None) -> None:
        """Log metrics; undefined ones are left out.

        Args:
            run_id: The run.
            metrics: Values by name.
            model_id: A logged model that the metrics also belong to.
        """
        from mlflow.entities import Metric

        now = _now_ms()
        entries = [
            Metric(key, float(value), now, 0, model_id=model_id)
            for key, value in metrics.items()
            if value is not None and not math.isnan(value)
        ]
        self.client.log_batch(run_id, metrics=entries)

    def log_dataset(self, run_id: str, frame: "pd.DataFrame", *, source: Path, name: str, context: str) -> None:
        """Log the rows as a dataset input of a run: location, name, fingerprint, schema and row count, without the texts."""
        import mlflow.data
        from mlflow.entities import DatasetInput, InputTag

        from data.fingerprint import fingerprint

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            dataset = mlflow.data.from_pandas(  # type: ignore[attr-defined]
                frame[["text", "label"]], source=str(source), targets="label", name=name, digest=fingerprint(frame)[:32]
            )
        tags = [InputTag(key="mlflow.data.context", value=context)]
        entity = dataset._to_mlflow_entity()  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
        self.client.log_inputs(run_id, [DatasetInput(entity, tags)])  # pyright: ignore[reportUnknownArgumentType]

    def log_pictures(self, run_id: str, pictures: Mapping[str, Path]) -> None:
        """Log PNG files, which MLflow shows side by side in the comparison of runs."""
        import mlflow

        for key, path in pictures.items():
            image = mlflow.Image(str(path))
            self.client.log_image(run_id, image, key=key, step=0)  # pyright: ignore[reportUnknownMemberType]


def _curve(name: str) -> str:
    kind, bare = ("validation", name.removeprefix("eval_")) if name.startswith("eval_") else ("training", name)
    return f"{kind}/{bare.removeprefix('train_')}"


def _now_ms() -> int:
    return int(time.time() * 1000)


def environment() -> dict[str, str]:
    """Return the versions and the machine that a run used."""
    from importlib.metadata import PackageNotFoundError, version

    versions = {
        "env.python": platform.python_version(),
        "env.machine": f"{platform.machine()}, {os.cpu_count()} cores",
    }
    for package in ("torch", "transformers", "onnxruntime", "groundswell"):
        try:
            versions[f"env.{package}"] = version(package)
        except PackageNotFoundError:
            continue
    return versions
