import re
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from orchestration import keys
from orchestration.definitions import defs
from orchestration.jobs import TARGETS, TRAIN_BY_NAME, selection

ROOT = Path(__file__).parents[2]
GRAPH = defs.resolve_asset_graph()
ASSETS = sorted(GRAPH.get_all_asset_keys(), key=lambda key: key.path)
REPOSITORY = defs.get_repository_def()


def test_asset_keys_are_a_folder_and_a_thing():
    assert len(ASSETS) >= 20
    folders = {"data", "training", "evaluation", "serving", "lakehouse"}
    wrong = [key for key in ASSETS if key.path[0] not in folders or not 2 <= len(key.path) <= 3]
    wrong += [key for key in ASSETS if not all(re.fullmatch(r"[a-z0-9_]+", part) for part in key.path)]
    assert not wrong


@pytest.mark.parametrize("key", ASSETS, ids=dg.AssetKey.to_user_string)
def test_assets_have_owner_kind_description_and_code_reference(key):
    spec = GRAPH.get(key)
    assert list(spec.owners) == ["team:ml-platform"]
    assert spec.kinds and spec.group_name != "default"
    assert re.match(r"[A-Z].{20,}\.", spec.description or ""), spec.description
    [reference] = spec.metadata["dagster/code_references"].code_references
    assert Path(reference.file_path).is_relative_to(ROOT / "orchestration" / "assets")


@pytest.mark.parametrize("key", ASSETS, ids=dg.AssetKey.to_user_string)
def test_tables_have_a_column_schema(key):
    is_table = (key.path[0] == "data" and key != keys.ORIGIN) or key.path[-1] in {"bronze", "silver", "gold"}
    columns = GRAPH.get(key).metadata.get("dagster/column_schema")
    assert (columns is not None) == is_table
    if key == keys.table("gold"):
        assert {column.name: column.type for column in columns.columns}["mentions"] == "ARRAY<STRING>"


def test_jobs_schedules_sensors_and_checks_have_a_description():
    assert {target.job for target in TARGETS.values()} <= set(REPOSITORY.job_names)
    jobs = [REPOSITORY.get_job(name) for name in REPOSITORY.job_names if not name.startswith("__")]
    for described in [*jobs, *REPOSITORY.schedule_defs, *REPOSITORY.sensor_defs]:
        assert described.description, described.name
    for schedule in REPOSITORY.schedule_defs:
        assert f"`groundswell automation on {schedule.name}`" in (schedule.description or "")
    for check in GRAPH.asset_check_keys:
        assert GRAPH.get(check).description, check
    assert not [name for name in REPOSITORY.job_names if name.startswith("command_")]


def test_candidates_on_request_are_trained_only_by_name():
    def trained(job):
        return {key.path[1] for key in REPOSITORY.get_job(job).asset_layer.executable_asset_keys if key.path[-1] == "checkpoint"}

    usual = trained("train_candidates")
    assert {"minilm", "minilm_1"} <= usual and "mpnet" not in usual
    for target in TARGETS.values():
        assert trained(target.job) <= usual
    job = REPOSITORY.get_job(TRAIN_BY_NAME)
    students = {"minilm_distilled", "minilm_4", "minilm_2", "table"}
    assert trained(TRAIN_BY_NAME) == usual | students | {"tfidf", "static", "mpnet", "twitter_roberta_2020"}
    chosen = selection("train", ["mpnet"]).resolve(job.asset_layer.asset_graph)
    assert {key.path[1] for key in chosen if key.path[-1] == "checkpoint"} == {"mpnet"} and keys.SPLITS in chosen


def test_student_is_trained_after_its_teacher():
    job = REPOSITORY.get_job(TRAIN_BY_NAME)
    chosen = selection("train", ["minilm-2"]).resolve(job.asset_layer.asset_graph)
    assert {key.path[1] for key in chosen if key.path[-1] == "checkpoint"} == {"minilm", "minilm_2"}


def test_every_dataset_has_a_suite_and_checks_before_training_and_serving_block():
    checked = {check.asset_key: check for check in GRAPH.asset_check_keys if check.name == "raw_suite"}
    assert set(checked) == {key for key in ASSETS if key.path[-1] == "validated"}
    blocking = {check.asset_key for check in GRAPH.asset_check_keys if GRAPH.get(check).blocking}
    assert {keys.SPLITS, keys.BUNDLE, keys.table("silver"), keys.table("gold")} <= blocking


def test_schedules_and_sensors_are_there_and_off():
    assert {schedule.name: schedule.default_status.value for schedule in REPOSITORY.schedule_defs} == dict.fromkeys(
        ("weekly_retraining", "daily_quality", "hourly_lakehouse", "daily_lakehouse_reports", "weekly_lakehouse_maintenance"),
        "STOPPED",
    )
    assert {sensor.name: sensor.default_status.value for sensor in REPOSITORY.sensor_defs} == dict.fromkeys(
        ("new_labels", "production_quality", "run_failed"), "STOPPED"
    )


def test_the_lakehouse_has_its_tables_reports_and_checks():
    lake = {key.to_user_string() for key in ASSETS if GRAPH.get(key).group_name == "lakehouse"}
    assert lake == {f"lakehouse/{name}" for name in ("bronze", "silver", "gold", "maintenance", "quality", "reconciliation")}
    checks = {
        (key.asset_key.to_user_string(), key.name) for key in GRAPH.asset_check_keys if key.asset_key.to_user_string() in lake
    }
    assert checks == {
        ("lakehouse/silver", "every_record_is_accounted_for"),
        ("lakehouse/gold", "every_message_is_classified"),
        ("lakehouse/silver", "sample_suite"),
        ("lakehouse/gold", "sample_suite"),
        ("lakehouse/bronze", "is_fresh"),
        ("lakehouse/silver", "is_fresh"),
        ("lakehouse/gold", "is_fresh"),
    }


def test_loading_the_graph_imports_no_heavy_library():
    heavy = ("pyspark", "deltalake", "duckdb", "mlflow", "great_expectations", "torch", "chdb", "matplotlib")
    code = f"import sys, orchestration.definitions; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
