import re
import subprocess
import sys
from pathlib import Path

from orchestration.definitions import defs


def test_names_say_group_thing_and_what_it_is():
    names = [key.to_user_string() for key in defs.resolve_asset_graph().get_all_asset_keys()]
    assert len(names) >= 20
    wrong = [
        name for name in names if not re.fullmatch(r"(raw|core|model|report|registry|service|lake)_[a-z0-9_]+__[a-z]+", name)
    ]
    assert not wrong


def test_every_raw_set_and_the_splits_have_a_blocking_check():
    graph = defs.resolve_asset_graph()
    checked = {key.asset_key.to_user_string() for key in graph.asset_check_keys if graph.get(key).blocking}
    raw = {key.to_user_string() for key in graph.get_all_asset_keys() if key.to_user_string().startswith("raw_")}
    assert raw | {"core_sentiment__splits", "model_sentiment__bundle"} <= checked


def test_jobs_schedules_and_sensors_are_there():
    repository = defs.get_repository_def()
    jobs = {"train_and_deploy", "retrain", "lakehouse", "lakehouse_reports", "lakehouse_maintenance"}
    assert jobs <= set(repository.job_names)
    assert {schedule.name: schedule.default_status.value for schedule in repository.schedule_defs} == dict.fromkeys(
        ("weekly_retraining", "daily_quality", "hourly_lakehouse", "daily_lakehouse_reports", "weekly_lakehouse_maintenance"),
        "STOPPED",
    )
    assert {sensor.name for sensor in repository.sensor_defs} == {"new_labels", "production_quality", "run_failed"}


def test_the_lakehouse_has_its_tables_reports_and_checks():
    graph = defs.resolve_asset_graph()
    lake = {key.to_user_string() for key in graph.get_all_asset_keys() if graph.get(key).group_name == "lakehouse"}
    assert lake == {
        "lake_bronze__records", "lake_silver__messages", "lake_gold__predictions", "lake_tables__maintenance",
        "report_lake__quality", "report_lake__reconciliation",
    }  # fmt: skip
    checks = {
        (key.asset_key.to_user_string(), key.name) for key in graph.asset_check_keys if key.asset_key.to_user_string() in lake
    }
    assert checks == {
        ("lake_silver__messages", "every_record_is_accounted_for"), ("lake_gold__predictions", "every_message_is_judged"),
        ("lake_silver__messages", "sample_suite"), ("lake_gold__predictions", "sample_suite"),
        ("lake_bronze__records", "is_fresh"), ("lake_silver__messages", "is_fresh"), ("lake_gold__predictions", "is_fresh"),
    }  # fmt: skip


def test_loading_the_graph_loads_nothing_that_its_steps_load():
    heavy = ("pyspark", "deltalake", "duckdb", "mlflow", "great_expectations", "torch", "chdb", "matplotlib")
    code = f"import sys, orchestration.definitions; print([m for m in {heavy} if m in sys.modules])"
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
