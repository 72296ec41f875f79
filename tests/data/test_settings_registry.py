"""Every section of settings is in the registry, and every program checks every name when it starts."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

import data.settings_registry
from data.errors import SettingsError
from data.settings import profiles
from data.settings_registry import SECTIONS, VARIABLES, check_settings, settings_classes

ROOT = Path(__file__).parents[2]
FOLDERS = ("data", "training", "evaluation", "serving", "orchestration", "benchmarks")
SOURCES = [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py")) if "node_modules" not in path.parts]


def test_every_settings_class_of_the_source_is_in_the_registry():
    found = {}
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef) and "Settings" in [base.id for base in node.bases if isinstance(base, ast.Name)]:
                section = next(s.value for s in node.body if isinstance(s, ast.AnnAssign) and s.target.id == "section")  # type: ignore[union-attr]
                module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
                found[section.value] = f"{module}:{node.name}"  # type: ignore[union-attr]
    assert found == SECTIONS
    assert [one.section for one in settings_classes()] == list(SECTIONS)


@pytest.mark.parametrize(
    ("name", "right"),
    [
        ("GROUNDSWELL_SERVNG__PORT", "GROUNDSWELL_SERVING__PORT"),
        ("GROUNDSWELL_SERVING__PROT", "GROUNDSWELL_SERVING__PORT"),
        ("GROUNDSWELL_SERVING_PORT", "GROUNDSWELL_SERVING__PORT"),
        ("GROUNDSWELL_DATA__DIRS", "GROUNDSWELL_DATA__DIR"),
        ("groundswell_data__dirs", "GROUNDSWELL_DATA__DIR"),
        ("GROUNDSWELL_RETRAINNG__MIN_NEW_ROWS", "GROUNDSWELL_RETRAINING__MIN_NEW_ROWS"),
        ("GROUNDSWELL_TRACKING__URL", "GROUNDSWELL_TRACKING__URI"),
        ("GROUNDSWELL_PROFIL", "GROUNDSWELL_PROFILE"),
        ("GROUNDSWELL_BUNDLE_DIRECTORY", "GROUNDSWELL_BUNDLE_DIR"),
    ],
)
def test_a_wrong_name_is_refused_with_the_right_one(name, right, monkeypatch):
    monkeypatch.setenv(name, "1")
    with pytest.raises(SettingsError, match=f"Unknown setting {name}") as caught:
        check_settings()
    assert caught.value.remedy is not None and right in caught.value.remedy


def test_an_unknown_name_lists_the_sections_and_all_unknown_names(monkeypatch):
    monkeypatch.setenv("GROUNDSWELL_QQQQ", "1")
    monkeypatch.setenv("GROUNDSWELL_ZZZZ__X", "1")
    with pytest.raises(SettingsError) as caught:
        check_settings()
    assert "training" in caught.value.expected and "GROUNDSWELL_ZZZZ__X" in caught.value.found


def test_right_names_pass_in_any_case_and_nested(monkeypatch):
    for section in settings_classes():
        for field in section.model_fields:
            monkeypatch.setenv(f"GROUNDSWELL_{section.section}__{field}".upper(), "")
    for name in (*VARIABLES[1:], "groundswell_serving__port", "GROUNDSWELL_STREAM__SECURITY__SASL_USERNAME"):
        monkeypatch.setenv(name, "")
    check_settings()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("GROUNDSWELL_PORT", "tcp://10.0.0.1:3000"),
        ("GROUNDSWELL_SERVICE_HOST", "10.0.0.1"),
        ("GROUNDSWELL_SERVICE_PORT", "3000"),
        ("GROUNDSWELL_SERVICE_PORT_HTTP", "3000"),
        ("GROUNDSWELL_PORT_3000_TCP", "tcp://10.0.0.1:3000"),
        ("GROUNDSWELL_PORT_3000_TCP_ADDR", "10.0.0.1"),
        ("GROUNDSWELL_STREAM_PORT_9464_TCP_PROTO", "tcp"),
    ],
)
def test_service_variables_of_kubernetes_are_not_settings(name, value, monkeypatch):
    monkeypatch.setenv(name, value)
    check_settings()


def test_a_wrong_profile_lists_the_profiles_and_suggests_the_nearest(monkeypatch):
    monkeypatch.setenv("GROUNDSWELL_PROFILE", "prod")
    with pytest.raises(SettingsError, match="no profile 'prod'") as caught:
        check_settings()
    assert caught.value.expected == "one of hub, offline, production" and "production" in caught.value.remedy
    assert profiles() == ["hub", "offline", "production"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("trainng: {seed: 7}", "GROUNDSWELL_TRAINING__SEED"),
        ("training: {sed: 7}", "GROUNDSWELL_TRAINING__SEED"),
        ("trainng:", "trainng"),
    ],
)
def test_a_wrong_name_in_a_profile_is_refused_in_every_section(content, message, tmp_path, monkeypatch):
    import yaml

    monkeypatch.setattr(data.settings_registry, "read_profile", lambda: yaml.safe_load(content))
    with pytest.raises(SettingsError) as caught:
        check_settings()
    assert "configs/profiles/offline.yaml: train" in caught.value.found
    assert message in str(caught.value)


def test_a_section_of_a_missing_folder_is_known_by_name(monkeypatch):
    monkeypatch.setitem(SECTIONS, "retraining", "nowhere.retraining:RetrainingSettings")
    monkeypatch.setenv("GROUNDSWELL_RETRAINING__ANYTHING", "1")
    check_settings()


def run(*arguments, **environment):
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=600,
        env=os.environ | environment,
        check=False,
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ("-m", "orchestration.cli", "stop"),  # loads only `paths`
        ("-m", "orchestration.cli", "keys", "list"),
        ("-m", "orchestration.cli", "doctor"),
        ("-m", "benchmarks.models"),
        ("-m", "serving.lakehouse.job", "run", "--once", "--source", "x"),
        ("-c", "import orchestration.definitions"),
        ("-c", "import serving.service.service"),
    ],
    ids=" ".join,
)
@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("GROUNDSWELL_TRAINING__EPOCS", "3", "GROUNDSWELL_TRAINING__EPOCHS"),
        ("GROUNDSWELL_PROFILE", "prod", "one of hub, offline, production"),
    ],
)
def test_every_kind_of_program_checks_when_it_starts(arguments, name, value, message):
    run_result = run(*arguments, **{name: value})
    assert run_result.returncode != 0 and message in run_result.stdout + run_result.stderr
    assert ("Traceback" in run_result.stderr) is ("import orchestration.definitions" in arguments), "Dagster shows its own"


def test_help_works_with_a_wrong_name():
    found = run("-m", "orchestration.cli", "train", "--help", GROUNDSWELL_NO="1")
    assert found.returncode == 0 and "Usage" in found.stdout


def test_every_main_module_checks_its_settings():
    """A module with `if __name__ == "__main__"` calls the check, or its parent process has called it."""
    children = {
        "orchestration/cli/__main__.py",  # in the callback of the command
        "data/settings_page.py",  # reads no setting
        "orchestration/steps/serving_paths/child.py",  # a child of `groundswell reconcile`
        "orchestration/steps/serving_paths/mlflow_script.py",  # reads no setting
        "serving/engines/measure.py",  # a child of the process that opens the bundle
        "serving/documents/child.py",  # reads no setting
        "serving/service/docs/openapi.py",  # reads no setting
        *(
            f"benchmarks/{name}.py"
            for name in (
                "dashboard/writer",
                "lakehouse/program",
                "stream/consumers",
                "stream/naive",
                "api/lambda_program",
                "api/peers/litserve_peer",
                "api/generator",
            )
        ),
    }
    programs = {path for path in SOURCES if "\nif __name__ ==" in path.read_text(encoding="utf-8")}
    checks = ("check_settings()", "run(main)")  # benchmarks.harness.arguments.run checks
    unchecked = {str(p.relative_to(ROOT)) for p in programs if not any(c in p.read_text(encoding="utf-8") for c in checks)}
    assert unchecked == children
