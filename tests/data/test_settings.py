import subprocess
import sys
from pathlib import Path

import pytest

from data.errors import SettingsError
from data.settings import DataSettings, PathSettings
from training.settings import TrainingSettings


def test_an_unknown_name_suggests_the_nearest(monkeypatch):
    monkeypatch.setenv("GROUNDSWELL_TRAINING__EPOCS", "3")
    with pytest.raises(SettingsError, match="EPOCHS"):
        TrainingSettings.load()


def test_an_invalid_value_is_reported(monkeypatch):
    monkeypatch.setenv("GROUNDSWELL_TRAINING__EPOCHS", "many")
    with pytest.raises(SettingsError, match="many"):
        TrainingSettings.load()


def test_an_unknown_profile_is_named(monkeypatch):
    monkeypatch.setenv("GROUNDSWELL_PROFILE", "ofline")
    with pytest.raises(SettingsError, match="offline"):
        TrainingSettings.load()


def test_precedence_profile_environment_argument(monkeypatch):
    assert TrainingSettings.load().quantization == "exact"
    monkeypatch.setenv("GROUNDSWELL_TRAINING__SEED", "11")
    assert TrainingSettings.load().seed == 11
    assert TrainingSettings.load(seed=12).seed == 12
    assert TrainingSettings.load(seed=None).seed == 11


def test_an_empty_variable_is_ignored(monkeypatch):
    monkeypatch.setenv("GROUNDSWELL_DATA__DIR", "")
    assert DataSettings.load().dir is None


def test_relative_paths_are_relative_to_the_checkout(monkeypatch):
    monkeypatch.setenv("GROUNDSWELL_PATHS__VAR_DIR", "elsewhere")
    assert PathSettings.load().var == Path(__file__).parents[2] / "elsewhere"


def test_data_imports_no_machine_learning():
    code = "import sys, data.cleaning, data.settings, data.catalog, data.sources; print([m for m in ('torch', 'transformers', 'pandas', 'great_expectations') if m in sys.modules])"  # noqa: E501
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
