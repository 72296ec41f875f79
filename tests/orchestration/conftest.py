"""A var folder of its own, with one small dataset, one tiny candidate and a catalog."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import pytest
import yaml

import data.catalog
import evaluation.gates
import training.candidates
from orchestration.jobs import TRAIN_AND_DEPLOY
from orchestration.layout import Layout
from serving.deployment import stop
from tests.make import rows, write_dataset
from tests.mlflow_store import copy_store
from tests.models import write_checkpoint
from tests.serving.running import ROOT, spare_port

CATALOG = {"mine": {"domain": "tweets", "license": "ours", "local": "mine", "train": True, "official_splits": True}}
CANDIDATES = {
    "minilm": {
        "kind": "transformer",
        "title": "Tiny",
        "license": "ours",
        "package": "none",
        "max_length": 32,
        "batch_size": 8,
        "learning_rate": 3e-3,
        "epochs": 14,
    },
}


@dataclass
class Place:
    """The folders of a test, and functions to change their content."""

    root: Path
    layout: Layout

    def write(self, content: list[dict[str, str]]) -> Path:
        """Write the rows of the dataset `mine`."""
        return write_dataset(self.root / "texts", content, "mine")

    def catalog(self, **more: dict) -> None:
        """Add datasets to the catalog, next to `mine`."""
        (self.root / "configs" / "datasets.yaml").write_text(yaml.safe_dump(CATALOG | more))

    def run(self, job: str) -> dg.ExecuteInProcessResult:
        """Run a job of the graph in this process."""
        from orchestration.build import build_defs

        with dg.DagsterInstance.ephemeral() as instance:
            quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
            definition = build_defs().resolve_job_def(job)
            result = definition.execute_in_process(instance=instance, raise_on_error=False, run_config=quiet)
        for event in result.filter_events(lambda event: event.is_step_failure):
            print(event.step_failure_data.error)  # pytest shows it with a failed test
        return result


def _place(root: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    (root / "configs").mkdir(exist_ok=True)
    (root / "configs" / "datasets.yaml").write_text(yaml.safe_dump(CATALOG))
    (root / "configs" / "candidates.yaml").write_text(yaml.safe_dump(CANDIDATES))
    gates = yaml.safe_load((ROOT / "configs" / "gates.yaml").read_text())
    gates["behavior"] = {"margin": 1.0}  # no rule: the tiny vocabulary has neither the behavior texts' words nor names of emoji
    (root / "configs" / "gates.yaml").write_text(yaml.safe_dump(gates))
    monkeypatch.setattr(evaluation.gates, "project_root", lambda: root)
    monkeypatch.setattr(data.catalog, "project_root", lambda: root)
    monkeypatch.setattr(training.candidates, "project_root", lambda: root)
    for name, value in {
        "PATHS__VAR_DIR": root / "var",
        "DATA__DIR": root / "texts",
        "TRAINING__MODELS_DIR": root / "models",
        "TRAINING__BF16": "false",
        "EVALUATION__PRIMARY": "mine",
        "EVALUATION__COST_BULK_TEXTS": 32,
        "EVALUATION__COST_SINGLE_TEXTS": 9,
        "EVALUATION__BOOTSTRAP_RESAMPLES": 200,
        "SERVING__PORT": spare_port(),
        "SERVING__READY_TIMEOUT_S": 600,  # the machine may be busy
    }.items():
        monkeypatch.setenv(f"GROUNDSWELL_{name}", str(value))
    return Place(root, Layout.load())


@pytest.fixture
def place(tmp_path, monkeypatch, empty_store):
    """The texts and the untrained candidate; nothing has run."""
    write_checkpoint(tmp_path / "models" / "minilm")
    made = _place(tmp_path, monkeypatch)
    copy_store(empty_store, made.layout.var)
    made.write(rows(100))
    yield made
    stop(made.layout.deployment)


@pytest.fixture(scope="session")
def _released(tmp_path_factory, empty_store):
    """The folder of a place whose model was trained and deployed; the service is stopped."""
    root = tmp_path_factory.mktemp("released")
    write_checkpoint(root / "models" / "minilm")
    with pytest.MonkeyPatch.context() as monkeypatch:
        made = _place(root, monkeypatch)
        copy_store(empty_store, made.layout.var)
        made.write(rows(100))
        result = made.run(TRAIN_AND_DEPLOY)
        stop(made.layout.deployment)
    assert result.success
    return root, result


@pytest.fixture
def released(tmp_path, monkeypatch, _released):
    """A copy of a place whose model was trained and deployed, with the result of that run; the service is stopped."""
    root, result = _released
    shutil.copytree(root, tmp_path, dirs_exist_ok=True, symlinks=True)
    made = _place(tmp_path, monkeypatch)
    monkeypatch.setenv("GROUNDSWELL_TRAINING__MODELS_DIR", str(root / "models"))  # a model's folder is a part of its key
    yield made, result
    stop(made.layout.deployment)
