"""How well the labeled streams in Gold are predicted, read without Spark."""

import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data.labels import LABEL_IDS, LABELS
from orchestration.layout import Layout
from orchestration.steps.lakehouse import root
from serving.lakehouse.paths import table
from serving.lakehouse.reading import query_gold
from serving.lakehouse.status import open_table

if TYPE_CHECKING:
    import pandas as pd


_QUALITY = """
SELECT true_label, label, negative, neutral, positive, model_version,
       -- The first prediction: the time of a later backfill is not the latency that a reader saw.
       epoch_us(list_min(list_transform(map_values(answers), lambda p: p.predicted_at))) - epoch_us(copy.arrived_at)
           AS waited_us
FROM gold WHERE true_label IS NOT NULL AND label IS NOT NULL
"""


@dataclass(frozen=True)
class StreamQuality:
    """Metrics of the model on labeled rows of Gold."""

    run: str
    """Id of the MLflow run."""
    metrics: dict[str, float]
    params: dict[str, str]


def measure_quality(layout: Layout, name: str) -> StreamQuality | None:
    """Evaluate Gold's predictions against the labels that records arrived with, and log an MLflow run.

    Each table is read at one version, which the run records; reading these versions again gives the same metrics.

    Args:
        layout: Paths of MLflow's store and of the tables.
        name: Name of the run; an existing run of this name is resumed.

    Returns:
        The metrics; None if no labeled row was classified.
    """
    import pyarrow.compute as pc

    gold, silver = open_table(root(layout), "gold"), open_table(root(layout), "silver")
    frame = query_gold(gold.to_pyarrow_dataset(), _QUALITY).to_pandas()
    if not len(frame):
        return None
    labeled = silver.to_pyarrow_dataset().count_rows(filter=pc.field("true_label").is_valid())
    metrics = {**_scores(frame), "rows": len(frame), "rows_not_answered": labeled - len(frame)}
    versions = sorted(frame["model_version"].unique())
    if len(versions) > 1:
        for version, part in frame.groupby("model_version"):
            metrics |= {f"{name}/{version}": value for name, value in _scores(part).items()}
    params = {
        "model_version": ", ".join(versions),
        "delta.root": root(layout),
        **{f"delta.{layer}.version": str(opened.version()) for layer, opened in (("silver", silver), ("gold", gold))},
    }
    run = _log_quality(layout, name, frame, metrics, params)
    return StreamQuality(run, metrics, params)


def _proba(frame: "pd.DataFrame") -> Any:
    """Return the probabilities, shape (N, 3). The label was chosen before they were rounded, so it wins a tie."""
    proba = frame[list(LABELS)].to_numpy(copy=True)
    proba[range(len(frame)), frame["label"].map(LABEL_IDS)] += 1e-6
    return proba


def _scores(frame: "pd.DataFrame") -> dict[str, float]:
    from evaluation.metrics import score

    scores = score(frame["true_label"].map(LABEL_IDS).to_numpy(), _proba(frame), resamples=100)
    waited = (frame["waited_us"] / 1e6).quantile([0.5, 0.95])
    return {name: estimate.value for name, estimate in scores.items()} | {
        "latency_p50_s": float(waited[0.5]),
        "latency_p95_s": float(waited[0.95]),
    }


def _log_quality(layout: Layout, name: str, frame: "pd.DataFrame", metrics: dict[str, float], params: dict[str, str]) -> str:
    from mlflow.data.delta_dataset_source import DeltaDatasetSource
    from mlflow.data.meta_dataset import MetaDataset

    from evaluation.plots import plot_confusion
    from orchestration.steps.tracking import open_tracking

    tracking = open_tracking(layout)
    title = f"lakehouse quality {datetime.now(UTC):%Y-%m-%d %H:%M}, {len(frame):,} labeled rows"
    run = tracking.parent_run(name, title, {"groundswell.report": "lakehouse"})
    with tracking.mlflow.start_run(run_id=run), tempfile.TemporaryDirectory() as folder:
        tracking.log_params(run, params)
        tracking.log_metrics(run, metrics)
        for layer in ("silver", "gold"):
            version = params[f"delta.{layer}.version"]
            source = DeltaDatasetSource(path=table(params["delta.root"], layer), delta_table_version=int(version))
            tracking.mlflow.log_input(MetaDataset(source, name=layer, digest=f"version {version}"), context="quality")
        truth = frame["true_label"].map(LABEL_IDS).to_numpy()
        picture = plot_confusion(truth, {params["model_version"]: _proba(frame)}, Path(folder) / "confusion.png")
        tracking.client.log_artifact(run, str(picture))
    return run
