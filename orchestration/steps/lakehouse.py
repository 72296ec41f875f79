"""Steps of the lakehouse's assets. Filling and maintaining the tables start Spark; all others read them without it."""

import tempfile
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data.errors import LakehouseError, SettingsError
from data.expectations import ValidationReport, validate_messages
from data.labels import LABEL_IDS, LABELS
from orchestration.layout import Layout
from orchestration.local.spark import lakehouse, require_source
from orchestration.progress import report
from serving.bundle import served_bundle
from serving.lakehouse.locks import exclusive_run
from serving.lakehouse.paths import Layer, for_deltalake, lakehouse_root, storage_options, table
from serving.lakehouse.reconcile import Reconciliation, reconcile
from serving.lakehouse.run import run_once
from serving.lakehouse.status import LakehouseStatus, open_table, read_status
from serving.settings import LakehouseSettings, WarehouseSettings
from serving.warehouse.connect import connect, first_line, server_file

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from serving.lakehouse.maintain import MaintainedTable

SAMPLE = 5_000
"""Maximum number of rows of a table that a suite checks."""
SETTLED = timedelta(hours=2)
"""Newer events are not reconciled by default: Gold may be filled once an hour, and its run takes a while."""
_TIMES: dict[Layer, str] = {"bronze": "arrived_at", "silver": "event_at", "gold": "event_at"}
_BRING_ROWS = {"WRITE", "MERGE"}
_COMMITS = 50
"""Number of newest commits that are searched for one that added rows; some of them are maintenance."""


@dataclass(frozen=True)
class Filled:
    """A filled table of the lakehouse."""

    layer: Layer
    rows: int
    files: int
    bytes: int
    version: int
    newest: datetime | None
    """Time of the newest event; for Bronze, which parses no dates, of the newest arrival."""


def root(layout: Layout) -> str:
    """Return the folder or URI of the tables."""
    return lakehouse_root(layout.var)


def table_uri(layout: Layout, layer: Layer) -> str:
    """Return the URI of a table."""
    path = table(root(layout), layer)
    return path if "://" in path else Path(path).resolve().as_uri()


def lakehouse_exists(layout: Layout) -> bool:
    """Return whether the tables exist.

    Raises:
        LakehouseError: The location is not reachable.
    """
    from deltalake import DeltaTable

    path = table(root(layout), "bronze")
    try:
        return DeltaTable.is_deltatable(for_deltalake(path), storage_options(path))
    except Exception as error:  # deltalake raises unrelated classes
        raise LakehouseError(
            f"The lakehouse {root(layout)} is not reachable.",
            found=first_line(error),
            remedy="Check GROUNDSWELL_LAKEHOUSE__ROOT, and for S3 AWS_REGION, AWS_ENDPOINT_URL_S3 and the credentials.",
        ) from error


def fill_tables(layout: Layout) -> list[Filled] | None:
    """Process all current records of the source into all three tables. Blocks; needs Java.

    Returns:
        Bronze, Silver and Gold; None if there are neither tables nor a source.

    Raises:
        LakehouseError: Spark failed, or another driver writes to the tables.
        BundleError: No bundle is served.
    """
    settings = LakehouseSettings.load()
    if settings.source is None and not lakehouse_exists(layout):
        return None
    source = require_source(settings) if settings.source else None
    if settings.classify_with == "bundle":
        served_bundle()  # reports a missing or damaged bundle before Spark starts
    with exclusive_run(root(layout)), lakehouse(root=root(layout)) as lake:
        run_once(replace(lake, on_batch=lambda stage, batch: report(f"{stage}: batch {batch['batchId']}")), source)
    status = read_status(root(layout))
    return [
        Filled(table.layer, table.rows, table.files, table.bytes, table.version, _newest(layout, table.layer))
        for table in status.tables
        if table.layer in _TIMES
    ]


def _newest(layout: Layout, layer: Layer) -> datetime | None:
    """Read the newest time from the file statistics in Delta's log, without reading rows."""
    import pyarrow as pa

    opened = open_table(root(layout), layer)
    files = pa.table(opened.get_add_actions(flatten=True)).to_pydict() if opened.file_uris() else {}
    return max((time for time in files.get(f"max.{_TIMES[layer]}", []) if time is not None), default=None)


def maintain_tables(layout: Layout) -> "list[MaintainedTable] | None":
    """Merge small files, remove old versions and old Bronze records; streams may continue. None if there is no lakehouse.

    Raises:
        LakehouseError: Spark failed; finished tables stay maintained.
    """
    if not lakehouse_exists(layout):
        return None
    from serving.lakehouse.maintain import maintain

    with lakehouse(root=root(layout)) as lake:
        return maintain(lake.spark, lake.root, lake.settings)


def count_tables(layout: Layout) -> LakehouseStatus:
    """Return the state of the tables; see `read_status`."""
    return read_status(root(layout))


def rows_written_at(layout: Layout, layer: Layer) -> datetime | None:
    """Return when rows were last written to a table, not counting maintenance. None if the log does not go back that far."""
    commits = open_table(root(layout), layer).history(_COMMITS)
    written = (commit["timestamp"] for commit in commits if commit["operation"] in _BRING_ROWS)
    return next((datetime.fromtimestamp(ms / 1000, UTC) for ms in written), None)


def check_sample(layout: Layout, layer: Layer) -> ValidationReport | None:
    """Validate the newest rows of Silver or Gold with their suite; None without rows."""
    sample = read_sample(layout, layer)
    return validate_messages(sample, classified=layer == "gold") if len(sample) else None


def read_sample(layout: Layout, layer: Layer, rows: int = SAMPLE) -> "pd.DataFrame":
    """Read at most `rows` rows from the newest files, since new faults are in the rows written last."""
    import pyarrow as pa

    opened = open_table(root(layout), layer)
    dataset = opened.to_pyarrow_dataset()
    files = pa.table(opened.get_add_actions(flatten=True)).to_pydict() if opened.file_uris() else {}
    written = dict(zip(files.get("path", []), files.get("modification_time", []), strict=True))
    columns = [name for name in dataset.schema.names if name not in {"copy", "answers"}]
    parts, lacking = [], rows
    for file in sorted(dataset.get_fragments(), key=lambda file: written.get(file.path, 0), reverse=True):
        part = file.scanner(schema=dataset.schema, columns=columns).head(lacking)
        parts.append(part)
        lacking -= len(part)
        if not lacking:
            break
    return pa.concat_tables(parts).to_pandas() if parts else dataset.schema.empty_table().to_pandas()


# Quality of labeled streams.

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
    frame = _arrow(gold.to_pyarrow_dataset(), _QUALITY).to_pandas()
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


_LABELED = """
SELECT event_at AS at, true_label, label FROM gold
WHERE true_label IS NOT NULL AND label IS NOT NULL AND model_version = $version AND event_at >= $since
ORDER BY event_at DESC LIMIT $rows
"""


def labeled_predictions(layout: Layout, version: str, since: datetime, rows: int) -> "pd.DataFrame":
    """Read rows of Gold with a true label and the predictions of one model version: `at`, `true_label`, `label`, newest first.

    Args:
        layout: Paths of the tables.
        version: The model version.
        since: Event time of the oldest row.
        rows: Maximum number of rows.

    Raises:
        LakehouseError: Gold does not exist or cannot be read.
    """
    import duckdb

    gold = open_table(root(layout), "gold").to_pyarrow_dataset()
    with duckdb.connect(config={"autoinstall_known_extensions": False}) as database:
        database.register("gold", gold)
        return database.execute(_LABELED, {"version": version, "since": since, "rows": rows}).df()


def _arrow(gold: Any, sql: str) -> "pa.Table":
    import duckdb

    with duckdb.connect(config={"autoinstall_known_extensions": False}) as database:
        database.register("gold", gold)
        return database.sql(sql).to_arrow_table()


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


# Reconciliation of the stream's predictions with Gold.

_STREAM = """
SELECT id, event_at, lower(hex(MD5(text))) AS text_md5, toString(label) AS label, toFloat64(score) AS score,
       toString(model_version) AS model_version
FROM predictions FINAL
WHERE event_at >= {since:DateTime64(3, 'UTC')} AND event_at < {until:DateTime64(3, 'UTC')}
  AND produced_at >= {since:DateTime64(3, 'UTC')} - INTERVAL 1 DAY
-- The copy of an id that would win in Silver.
ORDER BY id, created_at DESC NULLS LAST, produced_at DESC, topic DESC, partition DESC, offset DESC
LIMIT 1 BY id
SETTINGS use_skip_indexes_if_final_exact_mode = 0
"""
_COLUMNS = ["id", "event_at", "text", "label", "positive", "negative", "model_version", "answers"]
_GOLD = "SELECT * EXCLUDE (text, positive, negative), md5(text) AS text_md5, positive - negative AS score FROM gold"


@dataclass(frozen=True)
class Reconciled:
    """The comparison of two lists of predictions for a time range."""

    since: datetime
    until: datetime
    gold_version: int
    """Version of the Delta table that was read."""
    found: Reconciliation


def reconcile_predictions(layout: Layout, since: str = "", until: str = "") -> Reconciled | str:
    """Compare the warehouse's predictions, which the stream's workers wrote, with Gold.

    Args:
        layout: Paths of both.
        since: First event time, ISO 8601, UTC if it has no zone; empty: one day before `until`.
        until: End of the event times (exclusive); empty: `SETTLED` ago.

    Returns:
        The comparison, or the reason why there is nothing to compare.

    Raises:
        SettingsError: A time cannot be parsed, or the range is empty.
        WarehouseError: The warehouse is not reachable.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    first, last = _time_range(since, until)
    if not _has_warehouse(layout):
        return "There is no warehouse yet; `groundswell stream up` creates it."
    if not lakehouse_exists(layout):
        return "There is no lakehouse yet; `groundswell lakehouse run` creates it."
    with connect(layout.var) as client:
        report("reading the warehouse")
        result = client.query(_STREAM, parameters={"since": first, "until": last})
        text, number, time = pa.string(), pa.float64(), pa.timestamp("ms", "UTC")
        types = {"id": text, "event_at": time, "text_md5": text, "label": text, "score": number, "model_version": text}
        columns = result.result_columns or [[]] * len(types)
        stream = pa.table([pa.array(c, t) for c, t in zip(columns, types.values(), strict=True)], names=list(types))
    report("reading Gold")
    opened = open_table(root(layout), "gold")
    in_range = (
        # Gold is partitioned by date, so other days are not read.
        (pc.field("event_date") >= first.date())
        & (pc.field("event_date") <= last.date())
        & (pc.field("event_at") >= first)
        & (pc.field("event_at") < last)
    )
    read = opened.to_pyarrow_dataset().scanner(filter=in_range, columns=_COLUMNS)
    gold = _arrow(read.to_reader(), _GOLD)
    return Reconciled(first, last, opened.version(), reconcile(stream, gold))


def _has_warehouse(layout: Layout) -> bool:
    return WarehouseSettings.load().url is not None or server_file(layout.var).exists() or layout.warehouse.is_dir()


def _time_range(since: str, until: str) -> tuple[datetime, datetime]:
    last = _time(until) if until else datetime.now(UTC) - SETTLED
    first = _time(since) if since else last - timedelta(days=1)
    if first >= last:
        raise SettingsError("The time range is empty.", found=f"since {first}, until {last}", expected="since < until")
    return first, last


def _time(text: str) -> datetime:
    try:
        time = datetime.fromisoformat(text)
    except ValueError as error:
        raise SettingsError("Invalid time.", found=text, expected="ISO 8601, such as 2026-03-01T12:00:00") from error
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
