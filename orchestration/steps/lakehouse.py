"""What the lakehouse's assets do. Filling the tables and keeping them tidy start Spark; all else reads them without."""

import tempfile
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data.errors import LakehouseError, SettingsError
from data.expectations import ValidationReport, validate_messages
from data.labels import LABEL_IDS, LABELS
from orchestration.lakehouse import lakehouse, need_source
from orchestration.layout import Layout
from orchestration.progress import report
from serving.bundle import served_bundle
from serving.lakehouse.locks import alone
from serving.lakehouse.paths import Layer, for_deltalake, root_of, storage_options, table
from serving.lakehouse.reconcile import Reconciliation, reconcile
from serving.lakehouse.run import run_once
from serving.lakehouse.status import LakehouseStatus, open_table, read_status
from serving.settings import LakehouseSettings, WarehouseSettings
from serving.warehouse.connect import connect, first_line, owner_file

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from serving.lakehouse.maintain import Kept

SAMPLE = 5_000
"""Rows of a table that a suite looks at."""
SETTLED = timedelta(hours=2)
"""What is younger is not reconciled unless asked for: Gold may be filled by the hour, and its run takes its time."""
_TIMES: dict[Layer, str] = {"bronze": "arrived_at", "silver": "event_at", "gold": "event_at"}
_BRING_ROWS = {"WRITE", "MERGE"}
_COMMITS = 50
"""Newest commits that are looked through for one that brought rows; between two such come a few of housekeeping."""


@dataclass(frozen=True)
class Filled:
    """A table of the lakehouse."""

    layer: Layer
    rows: int
    files: int
    bytes: int
    version: int
    newest: datetime | None
    """The newest event, or for Bronze, which reads no dates, the newest arrival."""


def root(layout: Layout) -> str:
    """Where the tables are."""
    return root_of(layout.var)


def table_uri(layout: Layout, layer: Layer) -> str:
    """Where a table is, as a URI."""
    path = table(root(layout), layer)
    return path if "://" in path else Path(path).resolve().as_uri()


def is_there(layout: Layout) -> bool:
    """Whether a lakehouse has been made.

    Raises:
        LakehouseError: The place cannot be reached.
    """
    from deltalake import DeltaTable

    path = table(root(layout), "bronze")
    try:
        return DeltaTable.is_deltatable(for_deltalake(path), storage_options(path))
    except Exception as error:  # deltalake raises unrelated classes
        raise LakehouseError(
            f"The lakehouse {root(layout)} cannot be reached.",
            found=first_line(error),
            remedy="Look at GROUNDSWELL_LAKEHOUSE__ROOT, and for S3 at AWS_REGION, AWS_ENDPOINT_URL_S3 and the credentials.",
        ) from error


def fill_tables(layout: Layout) -> list[Filled] | None:
    """Bring all three tables up to what the source has now. Blocks; needs Java.

    Returns:
        Bronze, Silver and Gold; none where neither tables nor a source are there.

    Raises:
        LakehouseError: Spark cannot go on, or another driver writes to the tables.
        BundleError: There is no model to judge with.
    """
    settings = LakehouseSettings.load()
    if settings.source is None and not is_there(layout):
        return None
    source = need_source(settings) if settings.source else None
    if settings.judge == "bundle":
        served_bundle()  # what is wrong with it is said before Spark starts
    with alone(root(layout)), lakehouse(root=root(layout)) as lake:
        run_once(replace(lake, seen=lambda stage, batch: report(f"{stage}: batch {batch['batchId']}")), source)
    status = read_status(root(layout))
    return [
        Filled(found.layer, found.rows, found.files, found.bytes, found.version, _newest(layout, found.layer))
        for found in status.tables
        if found.layer in _TIMES
    ]


def _newest(layout: Layout, layer: Layer) -> datetime | None:
    """From what Delta's log knows of each file: no rows are read."""
    import pyarrow as pa

    opened = open_table(root(layout), layer)
    files = pa.table(opened.get_add_actions(flatten=True)).to_pydict() if opened.file_uris() else {}
    return max((time for time in files.get(f"max.{_TIMES[layer]}", []) if time is not None), default=None)


def keep_tidy(layout: Layout) -> "list[Kept] | None":
    """Merge small files, remove old versions and what Bronze need not keep. Streams may go on. None where there is no lakehouse.

    Raises:
        LakehouseError: Spark cannot go on; what was done stays done.
    """
    if not is_there(layout):
        return None
    from serving.lakehouse.maintain import maintain

    with lakehouse(root=root(layout)) as lake:
        return maintain(lake.spark, lake.root, lake.settings)


def count_tables(layout: Layout) -> LakehouseStatus:
    """How the tables stand; see `read_status`."""
    return read_status(root(layout))


def rows_came_at(layout: Layout, layer: Layer) -> datetime | None:
    """When rows were last written to a table; housekeeping is none. None where that is longer ago than the log tells."""
    commits = open_table(root(layout), layer).history(_COMMITS)
    written = (commit["timestamp"] for commit in commits if commit["operation"] in _BRING_ROWS)
    return next((datetime.fromtimestamp(ms / 1000, UTC) for ms in written), None)


def check_sample(layout: Layout, layer: Layer) -> ValidationReport | None:
    """The suite of Silver or Gold on the rows written last; none where there are none."""
    sample = read_sample(layout, layer)
    return validate_messages(sample, judged=layer == "gold") if len(sample) else None


def read_sample(layout: Layout, layer: Layer, rows: int = SAMPLE) -> "pd.DataFrame":
    """At most so many rows, those of the newest files first: what was just written is what can have gone wrong."""
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

_ANSWERED = """
SELECT true_label, label, negative, neutral, positive, model_version,
       -- The first answer, as a version that judges anew later says nothing of how long a reader waited.
       epoch_us(list_min(list_transform(map_values(answers), lambda answer: answer.predicted_at))) - epoch_us(copy.arrived_at)
           AS waited_us
FROM gold WHERE true_label IS NOT NULL AND label IS NOT NULL
"""


@dataclass(frozen=True)
class StreamQuality:
    """What labeled rows of Gold say of the model."""

    run: str
    """The MLflow run that holds it all."""
    metrics: dict[str, float]
    params: dict[str, str]


def measure_quality(layout: Layout, name: str) -> StreamQuality | None:
    """Judge the answers of Gold by the labels that records came with, and log an MLflow run.

    Both tables are read at one version each, which the run names: read at them again, they give the same numbers.

    Args:
        layout: Where MLflow's store is, and the tables.
        name: Of the run; one of this name that is there is gone on with.

    Returns:
        None where no labeled row has been answered.
    """
    import pyarrow.compute as pc

    gold, silver = open_table(root(layout), "gold"), open_table(root(layout), "silver")
    frame = _arrow(gold.to_pyarrow_dataset(), _ANSWERED).to_pandas()
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
    """Rows of Gold that came with a label, as one model version predicted them: `at`, `true_label`, `label`, newest first.

    Args:
        layout: Where the tables are.
        version: Of the model.
        since: Event time of the oldest row.
        rows: At most this many.

    Raises:
        LakehouseError: Gold is not there or cannot be read.
    """
    import duckdb

    gold = open_table(root(layout), "gold").to_pyarrow_dataset()
    with duckdb.connect(config={"autoinstall_known_extensions": False}) as database:
        database.register("gold", gold)
        found = database.execute(_LABELED, {"version": version, "since": since, "rows": rows}).df()
    return found


def _arrow(gold: Any, sql: str) -> "pa.Table":
    import duckdb

    with duckdb.connect(config={"autoinstall_known_extensions": False}) as database:
        database.register("gold", gold)
        return database.sql(sql).to_arrow_table()


def _proba(frame: "pd.DataFrame") -> Any:
    """Probabilities, shape (N, 3). The label was chosen before they were rounded, so it wins a tie."""
    proba = frame[list(LABELS)].to_numpy(copy=True)
    proba[range(len(frame)), frame["label"].map(LABEL_IDS)] += 1e-6
    return proba


def _scores(frame: "pd.DataFrame") -> dict[str, float]:
    from evaluation.metrics import score

    found = score(frame["true_label"].map(LABEL_IDS).to_numpy(), _proba(frame), resamples=100)
    waited = (frame["waited_us"] / 1e6).quantile([0.5, 0.95])
    return {name: estimate.value for name, estimate in found.items()} | {
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


# The two lists of answers.

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
    """Two lists of answers to the events of a time range."""

    since: datetime
    until: datetime
    gold_version: int
    """Of the Delta table that was read."""
    found: Reconciliation


def reconcile_answers(layout: Layout, since: str = "", until: str = "") -> Reconciled | str:
    """Compare what the stream's workers wrote to the warehouse with Gold.

    Args:
        layout: Where both are.
        since: From this event time on, ISO 8601, UTC where it says nothing else; empty: a day before `until`.
        until: Before this one; empty: `SETTLED` ago.

    Returns:
        What was found; or why there is nothing to compare.

    Raises:
        SettingsError: A time cannot be read, or the range is empty.
        WarehouseError: The warehouse does not answer.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    first, last = _time_range(since, until)
    if not _has_warehouse(layout):
        return "There is no warehouse yet: `groundswell stream up` makes one."
    if not is_there(layout):
        return "There is no lakehouse yet: `groundswell lakehouse run` makes one."
    with connect(layout.var) as client:
        report("reading the warehouse")
        answer = client.query(_STREAM, parameters={"since": first, "until": last})
        text, number, time = pa.string(), pa.float64(), pa.timestamp("ms", "UTC")
        types = {"id": text, "event_at": time, "text_md5": text, "label": text, "score": number, "model_version": text}
        columns = answer.result_columns or [[]] * len(types)
        stream = pa.table([pa.array(c, t) for c, t in zip(columns, types.values(), strict=True)], names=list(types))
    report("reading Gold")
    opened = open_table(root(layout), "gold")
    asked = (
        # Gold is partitioned by the date: other days are not read.
        (pc.field("event_date") >= first.date())
        & (pc.field("event_date") <= last.date())
        & (pc.field("event_at") >= first)
        & (pc.field("event_at") < last)
    )
    read = opened.to_pyarrow_dataset().scanner(filter=asked, columns=_COLUMNS)
    gold = _arrow(read.to_reader(), _GOLD)
    return Reconciled(first, last, opened.version(), reconcile(stream, gold))


def _has_warehouse(layout: Layout) -> bool:
    return WarehouseSettings.load().url is not None or owner_file(layout.var).exists() or layout.warehouse.is_dir()


def _time_range(since: str, until: str) -> tuple[datetime, datetime]:
    last = _time(until) if until else datetime.now(UTC) - SETTLED
    first = _time(since) if since else last - timedelta(days=1)
    if first >= last:
        raise SettingsError("There is no time between these two.", found=f"since {first}, until {last}", expected="since < until")
    return first, last


def _time(text: str) -> datetime:
    try:
        time = datetime.fromisoformat(text)
    except ValueError as error:
        raise SettingsError("That is no time.", found=text, expected="ISO 8601, such as 2026-03-01T12:00:00") from error
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
