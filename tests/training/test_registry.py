import json
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlparse

import pytest

from data.errors import BundleError, RegistryError
from serving.bundle import production_bundle
from serving.ledger import append_move, current_moves, ledger_path, read_ledger
from tests.mlflow_store import copy_store
from tests.models import tiny_bundle
from tests.serving.running import ROOT
from training.registry import Registry
from training.tracking import MODEL_NAME, Tracking

pytestmark = pytest.mark.integration


@pytest.fixture
def var(tmp_path):
    return tmp_path / "var"


@pytest.fixture
def registry(var, empty_store):
    copy_store(empty_store, var)
    return Registry(var, Tracking(var))


def staged(registry, strength):
    bundle = tiny_bundle(registry.var / "bundles" / f"s{strength}", strength=strength)
    version = registry.register(bundle, parent_run=lambda: registry.tracking.parent_run("run"), tags={"gate": "passed"})
    registry.move("staging", version, str(bundle.directory.relative_to(registry.var)), reason="passed the gate", gate="passed")
    return bundle, version


_IMPORTED = """
import sys, serving.pyfunc_model, serving.classifier, serving.engines.onnxruntime_engine
print(*(module.__file__ for name, module in sys.modules.items() if name.partition(".")[0] in ("data", "serving")))
"""


def in_mlflow(registry, alias):
    return str(registry.client.get_model_version_by_alias(MODEL_NAME, alias).version)


def test_from_staging_to_production_and_back(registry, var):
    first, one = staged(registry, 2.0)
    assert registry.promote(reason="deployed") == one
    with pytest.raises(RegistryError, match="no version to go back to"):
        registry.rollback(reason="too early")
    second, two = staged(registry, 3.0)
    assert one != two
    registry.promote(reason="deployed")
    assert production_bundle(var).manifest.version == second.manifest.version
    assert in_mlflow(registry, "production") == two and in_mlflow(registry, "previous") == one
    assert registry.rollback(reason="it is worse") == one
    assert production_bundle(var).manifest.version == first.manifest.version
    assert in_mlflow(registry, "production") == one and in_mlflow(registry, "previous") == two
    moves = [(move["alias"], move["to"]) for move in read_ledger(var)]
    assert moves[-2:] == [("production", one), ("previous", two)]
    assert {"at", "alias", "from", "to", "reason", "gate", "data_fingerprint"} <= set(read_ledger(var)[0])


def test_the_same_bundle_is_registered_once_and_mlflow_runs_it(registry):
    import mlflow
    import pandas as pd

    bundle, version = staged(registry, 2.0)
    assert registry.register(bundle, parent_run=lambda: registry.tracking.parent_run("run"), tags={"gate": "refused"}) == version
    found = registry.client.get_model_version(MODEL_NAME, version)
    assert found.tags["gate"] == "refused" and found.tags["fingerprint"] == bundle.fingerprint
    assert found.description.startswith("# tiny")
    model = mlflow.pyfunc.load_model(f"models:/{MODEL_NAME}/{version}")
    assert model.metadata.signature is not None and model.input_example is not None
    predictions = model.predict(pd.DataFrame({"text": ["a great film", "an awful soup"]}))
    assert predictions["label"].tolist() == ["positive", "negative"]
    # As in the description of the model and in docs/runs.md.
    registry.move("production", version, "bundles/s2.0", reason="a test")
    served = mlflow.pyfunc.load_model(f"models:/{MODEL_NAME}@production")
    assert served.predict([{"text": "a great film"}])["label"].tolist() == ["positive"]
    described = registry.client.get_registered_model(MODEL_NAME)
    assert "models:/sentiment@production" in described.description and described.tags["task"] == "text-classification"


def test_the_registered_model_contains_its_own_code_and_nothing_else(registry):
    """Half a gigabyte of the dashboard's packages was in each version."""
    _, version = staged(registry, 2.0)
    model = registry.client.get_logged_model(
        registry.client.get_model_version(MODEL_NAME, version).source.removeprefix("models:/")
    )
    code = Path(urlparse(model.artifact_location).path) / "code"
    copied = {str(file.relative_to(code)) for file in code.rglob("*") if file.is_file() and file.suffix != ".pyc"}
    assert {Path(name).suffix for name in copied} == {".py"} and not any("dashboard" in name for name in copied)
    files = subprocess.run([sys.executable, "-c", _IMPORTED], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    needed = {str(Path(file).relative_to(ROOT)) for file in files}
    assert "serving/classifier.py" in needed and needed <= copied


def test_reconcile_repairs_a_crash_between_ledger_and_mlflow(registry, monkeypatch):
    staged(registry, 2.0)
    registry.promote(reason="first")
    _, two = staged(registry, 3.0)

    def crash(*_):
        raise ConnectionError("MLflow is unavailable")

    monkeypatch.setattr(registry.client, "set_registered_model_alias", crash)
    with pytest.raises(ConnectionError):
        registry.move("production", two, "bundles/s3.0", reason="crashes half-way")
    monkeypatch.undo()
    assert in_mlflow(registry, "production") != two
    assert registry.reconcile() == ["production"]
    assert in_mlflow(registry, "production") == two
    assert registry.reconcile() == []


def test_an_incomplete_last_line_is_ignored_and_removed_by_the_next_move(registry, var):
    staged(registry, 2.0)
    before = read_ledger(var)
    with ledger_path(var).open("ab") as file:
        file.write(b'{"at": "20')
    assert read_ledger(var) == before
    registry.promote(reason="resumed")
    lines = ledger_path(var).read_text().splitlines()
    assert [json.loads(line)["alias"] for line in lines] == ["staging", "production"]


def test_a_corrupt_line_before_the_last_is_refused_by_number(var):
    ledger_path(var).parent.mkdir(parents=True)
    ledger_path(var).write_text('{"broken\n{"alias": "staging"}\n')
    with pytest.raises(BundleError, match="line 1"):
        read_ledger(var)


def test_current_moves_are_the_last_of_each_alias_and_leave_out_one_that_points_nowhere(var):
    for alias, to in (("staging", "1"), ("production", "1"), ("staging", "2"), ("previous", "1"), ("previous", None)):
        append_move(var, {"alias": alias, "to": to})
    assert {alias: move["to"] for alias, move in current_moves(var).items()} == {"staging": "2", "production": "1"}


def test_a_rollback_to_a_missing_bundle_is_refused(registry, var):
    first, _ = staged(registry, 2.0)
    registry.promote(reason="first")
    _, two = staged(registry, 3.0)
    registry.promote(reason="second")
    shutil.rmtree(first.directory)
    with pytest.raises(BundleError, match="No bundle in"):
        registry.rollback(reason="cannot")
    assert (registry.alias("production") or {})["to"] == two


def test_an_unknown_alias_is_refused(registry):
    with pytest.raises(RegistryError, match="staging, production, previous"):
        registry.move("prod", "1", "x", reason="")


def test_nested_runs_log_below_their_parent(registry):
    tracking = registry.tracking
    parent = tracking.parent_run("a run")
    assert tracking.parent_run("a run") == parent, "a resumed run uses its own parent"
    with tracking.nested_run(parent, "candidate") as run:
        tracking.log_params(run, {"learning_rate": 0.1})
        tracking.log_metrics(run, {"macro_recall": 0.7, "nothing": None, "nan": float("nan")})
        tracking.log_curves(run, [{"step": 1, "loss": 2.0}, {"step": 2, "loss": 1.0, "eval_loss": 1.5}])
    data = registry.client.get_run(run).data
    assert data.params["learning_rate"] == "0.1"
    assert data.metrics == {"macro_recall": 0.7, "training/loss": 1.0, "validation/loss": 1.5}
    assert data.tags["mlflow.parentRunId"] == parent
    assert len(registry.client.get_metric_history(run, "training/loss")) == 2
