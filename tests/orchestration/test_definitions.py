import re

from orchestration.definitions import defs


def test_names_say_group_thing_and_what_it_is():
    names = [key.to_user_string() for key in defs.resolve_asset_graph().get_all_asset_keys()]
    assert len(names) >= 20
    wrong = [name for name in names if not re.fullmatch(r"(raw|core|model|report|registry|service)_[a-z0-9_]+__[a-z]+", name)]
    assert not wrong


def test_every_raw_set_and_the_splits_have_a_blocking_check():
    graph = defs.resolve_asset_graph()
    checked = {key.asset_key.to_user_string() for key in graph.asset_check_keys if graph.get(key).blocking}
    raw = {key.to_user_string() for key in graph.get_all_asset_keys() if key.to_user_string().startswith("raw_")}
    assert raw | {"core_sentiment__splits", "model_sentiment__bundle"} <= checked


def test_jobs_schedules_and_sensors_are_there():
    repository = defs.get_repository_def()
    assert {"train_and_deploy", "retrain"} <= set(repository.job_names)
    assert {schedule.name for schedule in repository.schedule_defs} == {"weekly_retraining", "daily_quality"}
    assert {sensor.name for sensor in repository.sensor_defs} == {"new_labels", "production_quality", "run_failed"}
