"""The lakehouse in Dagster: its tables and checks on real Spark, and the reports on tables written directly."""

import json
from collections import Counter
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from pathlib import Path
from unittest.mock import Mock

import dagster as dg
import pyarrow as pa
import pytest
from deltalake import CommitProperties, DeltaTable, Transaction, write_deltalake

from data.errors import SettingsError
from data.expectations import validate_messages
from data.labels import LABELS
from data.raw_tweets import write_raw_tweets
from orchestration import keys
from orchestration.assets.lakehouse import LAYERS, lakehouse_assets
from orchestration.build import build_defs
from orchestration.layout import Layout
from orchestration.resources import VarDirResource
from orchestration.steps.reconciliation import reconcile_predictions
from serving.lakehouse.maintain import MaintainedTable
from serving.lakehouse.reading import read_sample, rows_written_at
from serving.lakehouse.reconcile import KINDS
from serving.lakehouse.status import FORGOTTEN
from serving.warehouse.blocks import write_block
from serving.warehouse.connect import hold
from tests.make import text_of
from tests.models import tiny_bundle
from tests.serving.lakehouse_harness import QUICK
from training.tracking import Tracking

NOW = datetime.now(UTC).replace(microsecond=0)
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
TIME = pa.timestamp("us", "UTC")
PREDICTION = pa.struct([("label", pa.string()), *((n, pa.float64()) for n in ("confidence", *LABELS)), ("predicted_at", TIME)])
COPY = pa.struct(
    [("stated_at", TIME), ("arrived_at", TIME), ("origin", pa.string()), ("block", pa.int64()), ("line", pa.int64())]
)
SILVER = pa.schema(
    [
        ("id", pa.string()),
        ("text", pa.string()),
        ("cleaned", pa.string()),
        ("source", pa.string()),
        ("event_at", TIME),
        ("event_date", pa.date32()),
        ("mentions", pa.list_(pa.string())),
        ("hashtags", pa.list_(pa.string())),
        ("true_label", pa.string()),
        ("copy", COPY),
    ]
)
GOLD = pa.schema(
    [
        *(field for field in SILVER if field.name != "cleaned"),
        *PREDICTION,
        ("model_version", pa.string()),
        ("answers", pa.map_(pa.string(), PREDICTION)),
    ]
)


def run(job, **config):
    with dg.DagsterInstance.ephemeral() as instance:
        return (
            build_defs()
            .resolve_job_def(job)
            .execute_in_process(instance=instance, raise_on_error=False, run_config={**QUIET, **config})
        )


def run_checks():
    """Run the checks of the three tables without filling them."""
    assets, checks = lakehouse_assets()
    job = dg.define_asset_job("checks", dg.AssetSelection.checks_for_assets(*map(keys.table, LAYERS)))
    defs = dg.Definitions(
        assets=assets, asset_checks=checks, jobs=[job], resources={"var_dir": VarDirResource()}, executor=dg.in_process_executor
    )
    with dg.DagsterInstance.ephemeral() as instance:
        result = defs.resolve_job_def("checks").execute_in_process(instance=instance, raise_on_error=False, run_config=QUIET)
    return check_results(result)


def check_results(result):
    return {(check.asset_key.to_user_string(), check.check_name): check for check in result.get_asset_check_evaluations()}


def made(result):
    """Return the metadata of materialized assets, by asset."""
    return {
        event.asset_key.to_user_string(): {
            name: getattr(value, "value", value) for name, value in event.materialization.metadata.items()
        }
        for event in result.get_asset_materialization_events()
    }


# Tables written directly.


def prediction(label, confidence=0.8, at=NOW):
    """A prediction with this confidence; the other labels share the rest."""
    rest = (1 - confidence) / 2
    proba = {name: confidence if name == label else rest for name in LABELS}
    return {"label": label, "confidence": confidence, **proba, "predicted_at": at}


def message(number, predicted_label="neutral", **changes):
    """A row with the columns of Silver and Gold, which v1 classified ten seconds after it arrived."""
    arrived = NOW - timedelta(hours=3)
    given = prediction(predicted_label, at=arrived + timedelta(seconds=10))
    row = {
        "id": f"m{number:04}",
        "text": f"text {number}",
        "cleaned": f"text {number}",
        "source": "shop",
        "event_at": arrived,
        "mentions": ["ada"],
        "hashtags": [],
        "true_label": None,
        "copy": {"arrived_at": arrived, "origin": "f", "line": number},
        **given,
        "model_version": "v1",
        "answers": {"v1": given},
        **changes,
    }
    return row | {"event_date": row["event_at"].date()}


def rows_as(schema, rows):
    named = [{**row, "answers": list((row["answers"] or {}).items())} for row in rows]
    return pa.Table.from_pylist([{name: row[name] for name in schema.names} for row in named], schema)


def write_tables(root, rows, *, rejected=0, mode="overwrite"):
    records = len(rows) + rejected
    bronze = {"raw": pa.array(["{}"] * records, pa.string()), "arrived_at": pa.array([NOW] * records, TIME)}
    write_deltalake(f"{root}/bronze", pa.table(bronze), mode=mode)
    write_deltalake(f"{root}/silver", rows_as(SILVER, rows), mode=mode)
    write_deltalake(f"{root}/silver_rejected", pa.table({"reason": pa.array(["no id"] * rejected, pa.string())}), mode=mode)
    write_deltalake(f"{root}/gold", rows_as(GOLD, rows), mode=mode, partition_by=["event_date"])


@pytest.fixture
def layout():
    made = Layout.load()
    made.var.mkdir(parents=True)
    return made


@pytest.fixture
def root(layout):
    return layout.var / "lakehouse"


# The tables on real Spark.


@pytest.mark.integration
def test_tables_are_filled_and_checked_and_a_lost_row_fails_the_checks(tmp_path, monkeypatch, layout, root):
    bundle = tiny_bundle(tmp_path / "bundle")
    texts = [(text_of(LABELS[n % 3], n), LABELS[n % 3]) for n in range(300)]
    expected = write_raw_tweets(tmp_path / "raw", texts, count=300, files=2)
    monkeypatch.setenv("GROUNDSWELL_BUNDLE_DIR", str(bundle.directory))
    monkeypatch.setenv("GROUNDSWELL_LAKEHOUSE__MASTER", "local[1]")
    monkeypatch.setenv("GROUNDSWELL_LAKEHOUSE__SPARK", json.dumps(QUICK))
    monkeypatch.setenv("GROUNDSWELL_LAKEHOUSE__SOURCE", str(tmp_path / "raw"))

    result = run("lakehouse")
    assert result.success
    found = made(result)
    rows = {name: facts["rows"] for name, facts in found.items()}
    assert rows == {"lakehouse/bronze": 300, "lakehouse/silver": expected.silver, "lakehouse/gold": expected.silver}
    for layer, name in ((layer, keys.table(layer).to_user_string()) for layer in LAYERS):
        assert found[name]["delta_version"] == DeltaTable(f"{root}/{layer}").version() and found[name]["files"] >= 1
    newest = max(at for _, _, at in expected.truth.values()).timestamp()
    assert found["lakehouse/gold"]["newest"] == pytest.approx(newest, abs=0.001)  # Delta's statistics are in milliseconds
    checks = check_results(result)
    assert {name for name, check in checks.items() if not check.passed} == set() and len(checks) == 7
    assert checks["lakehouse/silver", "every_record_is_accounted_for"].metadata["reasons"].value == expected.rejected

    quality = made(run("lakehouse_reports"))["lakehouse/quality"]
    assert (quality["rows"], quality["model_version"], quality["accuracy"]) == (expected.silver, bundle.manifest.version, 1)

    DeltaTable(f"{root}/silver").delete(f"id = '{next(iter(expected.truth))}'")
    checks = run_checks()
    red = {name for name, check in checks.items() if not check.passed}
    assert red == {("lakehouse/silver", "every_record_is_accounted_for"), ("lakehouse/gold", "every_message_is_classified")}
    assert [checks[name].severity for name in red] == [dg.AssetCheckSeverity.ERROR] * 2
    assert sorted(checks[name].metadata["missing"].value for name in red) == [-1, 1]


def test_without_tables_and_source_nothing_is_materialized_and_nothing_fails(layout):
    for job in ("lakehouse", "lakehouse_maintenance"):
        result = run(job)
        assert result.success and made(result) == {} and check_results(result) == {}
    assert not layout.var.joinpath("lakehouse").exists()


def test_maintenance_reports_its_changes(monkeypatch, root):
    write_tables(root, [message(1)])
    maintained = [MaintainedTable("bronze", 9, 1, 2**20, 7), MaintainedTable("gold", 3, 2, 2**19, 0)]
    # The maintenance itself is tested in test_lakehouse.py; it takes half a minute with Spark.
    monkeypatch.setattr("orchestration.steps.lakehouse.lakehouse", lambda **given: nullcontext(Mock(root=given["root"])))
    monkeypatch.setattr(
        "serving.lakehouse.maintain.maintain", lambda spark, where, settings: maintained if where == str(root) else []
    )
    metadata = made(run("lakehouse_maintenance"))["lakehouse/maintenance"]
    assert (metadata["files_before"], metadata["files_after"], metadata["forgotten"]) == (12, 3, 7)
    assert [row.data for row in metadata["tables"].records][1] == {
        "table": "gold",
        "files_before": 3,
        "files_after": 2,
        "MiB": 0.5,
        "forgotten": 0,
    }


# Checks, without Spark.


def test_missing_rows_fail_the_count_checks(root):
    rows = [message(n) for n in range(20)]
    write_tables(root, rows, rejected=2)
    checks = run_checks()
    assert all(check.passed for check in checks.values())
    assert all(not check.blocking for (_, name), check in checks.items() if name != "sample_suite")

    write_deltalake(f"{root}/gold", rows_as(GOLD, rows[:-3]), mode="overwrite", partition_by=["event_date"])
    classified = run_checks()["lakehouse/gold", "every_message_is_classified"]
    assert not classified.passed and classified.metadata["missing"].value == 3
    bronze = DeltaTable(f"{root}/bronze")
    gone = bronze.delete()["num_deleted_rows"]
    counted = ("lakehouse/silver", "every_record_is_accounted_for")
    assert not run_checks()[counted].passed
    forgotten = CommitProperties(app_transactions=[Transaction(FORGOTTEN, gone)])
    write_deltalake(bronze, bronze.to_pyarrow_table(), mode="append", commit_properties=forgotten)
    assert run_checks()[counted].passed, "records deleted by maintenance are not missing"


def test_maintenance_does_not_make_a_table_fresh(monkeypatch, layout, root):
    rows = [message(n) for n in range(4)]
    write_tables(root, rows[:2])
    write_tables(root, rows[2:], mode="append")
    opened = DeltaTable(f"{root}/gold")
    opened.optimize.compact()
    history = opened.history()
    assert history[0]["operation"] == "OPTIMIZE"
    assert rows_written_at(str(root), "gold") == datetime.fromtimestamp(history[1]["timestamp"] / 1000, UTC)
    monkeypatch.setattr("orchestration.assets.lakehouse.FRESH_WITHIN", timedelta(0))
    stale = run_checks()["lakehouse/gold", "is_fresh"]
    assert not stale.passed and stale.severity == dg.AssetCheckSeverity.WARN


def frame(rows, schema=GOLD):
    return rows_as(schema, rows).to_pandas()


def test_sound_rows_pass_their_suite():
    rows = [message(n, LABELS[n % 3], hashtags=["rain", "日本"] if n % 2 else []) for n in range(50)]
    assert validate_messages(frame(rows), classified=True).success
    assert validate_messages(frame(rows, SILVER), classified=False).success


FAULTS = [
    ({"id": None}, "not_be_null", "id"),
    ({"text": None}, "not_be_null", "text"),
    ({"text": ""}, "lengths_to_be_between", "text"),
    ({"text": "x" * 10_001}, "lengths_to_be_between", "text"),
    ({"text": "a\x00b"}, "not_match_regex", "text"),
    ({"true_label": "angry"}, "be_in_set", "true_label"),
    ({"hashtags": ["rain", "#goal"]}, "not_match_regex", "hashtags_joined"),
    ({"mentions": ["@ada"]}, "not_match_regex", "mentions_joined"),
    ({"label": "angry"}, "be_in_set", "label"),
    ({"label": None}, "not_be_null", "label"),
    ({"confidence": 1.2}, "be_between", "confidence"),
    ({"negative": -0.1, "positive": 0.3}, "be_between", "negative"),
    ({"negative": 0.1012}, "be_between", "probabilities_sum"),
    ({"predicted_at": None}, "not_be_null", "predicted_at"),
]


def test_each_faulty_row_is_reported():
    rows = [message(n) for n in range(20)] + [message(20 + n, **changes) for n, (changes, _, _) in enumerate(FAULTS)]
    rows += [message(50, negative=0.1002), message(60), message(60)]  # rounded; the same id twice
    report = validate_messages(frame(rows), classified=True)
    found = {(one.expectation.partition("values_to_")[2] or one.expectation, one.column): one for one in report.failures}
    counted = Counter((expectation, column) for _, expectation, column in FAULTS) | Counter({("be_unique", "id"): 2})
    names = {(next(e for e, c in counted if c == column and e in name), column): one for (name, column), one in found.items()}
    assert {name: one.unexpected_count for name, one in names.items()} == counted
    assert names["be_between", "confidence"].sample == ["m0030: 1.2"]


def test_missing_event_time_and_empty_cleaned_text_are_reported():
    rows = frame([message(n) for n in range(9)], SILVER)
    rows["event_at"] = rows["event_at"].where(rows["id"] != "m0003")
    rows.loc[4, "cleaned"] = ""
    assert {outcome.column for outcome in validate_messages(rows, classified=False).failures} == {"event_at", "cleaned"}


def test_newest_rows_are_checked_first(layout, root):
    for day in range(3):
        rows = [message(100 * day + n, event_at=NOW - timedelta(days=day)) for n in range(10)]
        write_tables(root, rows, mode="append")
    ids = [list(read_sample(str(root), layer, 15)["id"]) for layer in ("silver", "gold")]
    assert all(set(found[:10]) == {f"m{200 + n:04}" for n in range(10)} and len(set(found)) == 15 for found in ids)
    write_deltalake(f"{root}/gold", rows_as(GOLD, [message(999, confidence=7.0)]), mode="append", partition_by=["event_date"])
    checks = run_checks()
    assert checks["lakehouse/silver", "sample_suite"].passed and not checks["lakehouse/gold", "sample_suite"].passed


# Quality.


def mlflow_runs(layout):
    tracking = Tracking(layout.var)
    return tracking, tracking.client.search_runs([tracking.experiment_id])


def test_stream_without_labels_logs_no_run(layout, root):
    write_tables(root, [message(n) for n in range(5)])
    result = run("lakehouse_reports")
    assert result.success and made(result) == {}
    assert not (layout.var / "mlflow").exists()


def test_labeled_stream_is_evaluated_in_a_run_that_names_its_table_versions(layout, root):
    # 4 of 6 negatives, 3 of 3 neutrals and 1 of 1 positives are correct; two rows have no label, one no prediction.
    pairs = [("negative", "negative")] * 4 + [("negative", "positive")] * 2 + [("neutral",) * 2] * 3 + [("positive",) * 2]
    rows = [message(n, given, true_label=truth) for n, (truth, given) in enumerate(pairs)]
    rows += [message(20), message(21), message(22, true_label="neutral", label=None, model_version=None, answers=None)]
    rows[0] |= {"model_version": "v2", "answers": rows[0]["answers"] | {"v2": prediction("negative", at=NOW)}}  # a later backfill
    write_tables(root, [])
    write_tables(root, rows)
    facts = made(run("lakehouse_reports"))["lakehouse/quality"]
    tracking, (logged,) = mlflow_runs(layout)
    assert logged.info.run_id == facts["mlflow_run"] and logged.info.status == "FINISHED"
    found = logged.data.metrics
    assert (found["accuracy"], found["rows"], found["rows_not_answered"]) == (pytest.approx(0.8), 10, 1)
    assert found["macro_recall"] == pytest.approx((4 / 6 + 1 + 1) / 3)
    assert found["macro_f1"] == pytest.approx((8 / 10 + 1 + 2 / 4) / 3)
    assert (found["latency_p50_s"], found["latency_p95_s"]) == (10, 10), "the first prediction counts"
    assert (found["accuracy/v2"], found["accuracy/v1"]) == (1, pytest.approx(7 / 9))
    assert logged.data.params["model_version"] == "v1, v2"
    versions = {layer: DeltaTable(f"{root}/{layer}").version() for layer in ("silver", "gold")}
    assert {layer: int(logged.data.params[f"delta.{layer}.version"]) for layer in versions} == versions
    sources = {one.dataset.name: json.loads(one.dataset.source) for one in logged.inputs.dataset_inputs}
    assert {layer: source["delta_table_version"] for layer, source in sources.items()} == versions
    picture = Path(tracking.client.download_artifacts(logged.info.run_id, "confusion.png"))
    assert picture.stat().st_size > 10_000

    # The table version of the run gives the same metrics after newer writes.
    write_tables(root, [message(30 + n, "neutral", true_label="positive") for n in range(10)], mode="append")
    again = made(run("lakehouse_reports"))["lakehouse/quality"]
    assert (again["accuracy"], int(again["delta.gold.version"])) == (pytest.approx(0.4), versions["gold"] + 1)
    as_then = DeltaTable(f"{root}/gold", version=versions["gold"]).to_pyarrow_table(columns=["label", "true_label"]).to_pandas()
    as_then = as_then.dropna()
    assert (as_then["label"] == as_then["true_label"]).mean() == pytest.approx(found["accuracy"])


def test_label_chosen_before_rounding_wins_a_tie(layout, root):
    tie = {"label": "positive", "confidence": 0.4, "negative": 0.4, "neutral": 0.2, "positive": 0.4}
    write_tables(root, [message(n, true_label="positive", **tie) for n in range(5)])
    assert made(run("lakehouse_reports"))["lakehouse/quality"]["accuracy"] == 1


def predicted(number, label="neutral", offset=None, **changes):
    """A row as a worker writes it, with the same event and prediction as `message`."""
    values = prediction(label)
    at = NOW - timedelta(hours=3)
    return {
        "topic": "t",
        "partition": 0,
        "offset": number if offset is None else offset,
        "id": f"m{number:04}",
        "source": "shop",
        "text": f"text {number}",
        "created_at": None,
        "produced_at": at,
        "predicted_at": at,
        "label": label,
        "confidence": values["confidence"],
        "probabilities": [values[name] for name in LABELS],
        "sarcasm": None,
        "tier": "base",
        "model_version": "v1",
        **changes,
    }


@pytest.mark.integration
@pytest.mark.lakehouse
def test_differences_of_warehouse_and_gold_are_listed(layout, root):
    assert made(run("lakehouse_reports")) == {}, "there is neither"
    old = NOW - timedelta(days=3)
    rows = [message(n, LABELS[n % 3]) for n in range(40)] + [message(90, event_at=old), message(91)]
    write_tables(root, rows)
    stream = [predicted(n, LABELS[n % 3]) for n in range(40) if n != 5]
    stream[0]["label"] = "positive"
    stream[1]["text"] = "a text that was corrected – später"
    # One row written twice, and an older copy of another id: the newest one counts.
    stream += [predicted(7, LABELS[7 % 3]), predicted(8, "negative", offset=1000, produced_at=NOW - timedelta(hours=4))]
    stream += [predicted(92), predicted(93, produced_at=old), predicted(94, produced_at=NOW - timedelta(minutes=5))]
    with hold(layout.var) as client:
        offsets = {0: (min(row["offset"] for row in stream), max(row["offset"] for row in stream))}
        write_block(client, "t", [json.dumps(row, default=datetime.isoformat).encode() for row in stream], offsets)
    facts = made(run("lakehouse_reports"))["lakehouse/reconciliation"]
    assert {kind: facts[kind] for kind in KINDS if facts[kind]} == {
        "agree": 37,
        "label": 1,
        "text": 1,
        "only in the stream": 1,
        "only in Gold": 2,
    }
    assert (facts["differences"], facts["gold_delta_version"]) == (5, 0)
    examples = {row.data["id"]: row.data["kind"] for row in facts["examples"].records}
    assert examples == dict.fromkeys(("m0005", "m0091"), "only in Gold") | {
        "m0000": "label",
        "m0001": "text",
        "m0092": "only in the stream",
    }
    # Another range, which contains the newer event too.
    asked = {"since": (NOW - timedelta(minutes=10)).isoformat(), "until": NOW.isoformat()}
    facts = made(run("lakehouse_reports", ops={"lakehouse__reconciliation": {"config": asked}}))["lakehouse/reconciliation"]
    assert (facts["only in the stream"], facts["differences"]) == (1, 1)


@pytest.mark.parametrize(("since", "until"), [("yesterday", ""), ("2026-03-02", "2026-03-01T12:00:00Z")])
def test_invalid_range_is_rejected(since, until, layout):
    with pytest.raises(SettingsError):
        reconcile_predictions(layout, since, until)
