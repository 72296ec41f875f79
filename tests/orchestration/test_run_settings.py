"""Flags of a command are settings of its run; they change no other run, and not the environment."""

import os

import dagster as dg
import pytest

from data.errors import SettingsError
from evaluation.settings import EvaluationSettings
from orchestration.demo.tour import _demo_settings
from orchestration.layout import Layout
from orchestration.resources import VarDirResource
from orchestration.runs import _run_config
from serving.settings import StreamSettings
from training.settings import TrainingSettings

seen: list[tuple[int | None, int]] = []


@dg.asset
def reads_settings(var_dir: VarDirResource) -> None:
    layout = var_dir.layout()
    seen.append((layout.settings(TrainingSettings).epochs, layout.settings(EvaluationSettings).seed))


def test_a_run_reads_its_flags_above_the_environment_and_another_run_does_not(monkeypatch):
    monkeypatch.setenv("GROUNDSWELL_TRAINING__EPOCHS", "7")
    monkeypatch.setenv("GROUNDSWELL_EVALUATION__SEED", "3")
    defs = dg.Definitions([reads_settings], resources={"var_dir": VarDirResource()}, executor=dg.in_process_executor)
    job = defs.resolve_implicit_global_asset_job_def()
    before = dict(os.environ)
    flags = _run_config({"training": {"epochs": 2, "max_train_rows": None}, "serving": {"port": None}})
    for config in (flags, _run_config({})):
        with dg.DagsterInstance.ephemeral() as instance:
            assert job.execute_in_process(instance=instance, run_config=config).success
    assert seen == [(2, 3), (7, 3)]
    assert dict(os.environ) == before


def test_a_process_that_is_started_gets_the_overrides_as_variables(monkeypatch):
    environment = Layout(Layout.load().var, {"training": {"epochs": 2}, "stream": {"topic": "mine"}}).environment()
    assert environment == {"GROUNDSWELL_TRAINING__EPOCHS": "2", "GROUNDSWELL_STREAM__TOPIC": "mine"}
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert TrainingSettings.load().epochs == 2 and StreamSettings.load().topic == "mine"


def test_an_override_is_checked_as_any_setting():
    with pytest.raises(SettingsError, match=r"training\.epochs"):
        Layout(Layout.load().var, {"training": {"epochs": 0}}).settings(TrainingSettings)
    with pytest.raises(SettingsError, match="Did you mean epochs"):
        Layout(Layout.load().var, {"training": {"epocs": 1}}).settings(TrainingSettings)


def test_the_demo_sets_what_the_environment_does_not_and_its_flag_is_above_both(monkeypatch):
    for name in ("MAX_TRAIN_ROWS", "EPOCHS"):
        monkeypatch.delenv(f"GROUNDSWELL_TRAINING__{name}", raising=False)
    assert _demo_settings(None)["training"]["max_train_rows"] == 6000
    assert _demo_settings(500)["training"]["max_train_rows"] == 500
    monkeypatch.setenv("GROUNDSWELL_TRAINING__MAX_TRAIN_ROWS", "900")
    monkeypatch.setenv("GROUNDSWELL_TRAINING__EPOCHS", "")  # empty: not set
    given = _demo_settings(None)["training"]
    assert "max_train_rows" not in given and given["epochs"] == 1
    assert _demo_settings(500)["training"]["max_train_rows"] == 500
