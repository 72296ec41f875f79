"""`groundswell reconcile` over real services, a real worker, the Lambda handler, a packed MLflow model and real Spark."""

import json
import os
import subprocess
import sys
from dataclasses import replace

import pytest

from orchestration import keys
from orchestration.build import build_defs
from orchestration.jobs import RECONCILE_PATHS
from orchestration.layout import Layout
from orchestration.steps.serving_paths import run
from orchestration.steps.serving_paths.in_processes import call_lambda, classify_here
from serving.service.build import build_bento
from tests.models import headed_bundle, tiny_bundle
from tests.orchestration.test_serving_paths import write_splits
from tests.serving.lakehouse_harness import QUICK
from tests.serving.running import ROOT

pytestmark = pytest.mark.integration


@pytest.fixture
def layout():
    made = Layout.load()
    write_splits(made)
    return made


@pytest.fixture
def bundle(layout):
    return headed_bundle(layout.var / "bundles" / "headed")


def states(result):
    return {path.name: (path.state, path.note if path.state == "failed" else path.differences) for path in result.paths}


def test_every_path_predicts_and_refuses_the_same(layout, bundle):
    build_bento(bundle.directory, layout.bentoml)
    names = ("classify", "http", "job", "stream", "lambda", "mlflow", "bento")
    result = run.reconcile_paths(layout, bundle, rows=80, paths=names)
    assert states(result) == {"classify": ("reference", {})} | dict.fromkeys(names[1:], ("equal", {}))
    assert {(path.rows, path.refused) for path in result.paths} == {(80, 3)}
    for path in result.paths:
        # MLflow's model reports neither, and a line of a job's results no version.
        assert path.tiers == (() if path.name == "mlflow" else ("base",))
        assert path.heads == (() if path.name == "mlflow" else ("finance", "general"))
        assert path.models == (() if path.name in ("mlflow", "job") else (bundle.manifest.version,))


@pytest.mark.lakehouse
def test_spark_predicts_and_refuses_the_same(layout, bundle, monkeypatch):
    monkeypatch.setenv("GROUNDSWELL_LAKEHOUSE__SPARK", json.dumps(QUICK))
    monkeypatch.setenv("GROUNDSWELL_LAKEHOUSE__MASTER", "local[2]")
    result = run.reconcile_paths(layout, bundle, rows=80, paths=("classify", "spark"))
    assert states(result) == {"classify": ("reference", {}), "spark": ("equal", {})}


def test_command_is_red_where_a_path_has_another_bundle_and_lists_the_differences(layout, bundle):
    """The function's own process loads the other bundle, as an image would that was built too early."""
    other = tiny_bundle(layout.var / "bundles" / "other")
    code = (
        "import sys; from dataclasses import replace; from pathlib import Path; from serving.bundle import read_bundle\n"
        "from orchestration.steps.serving_paths import run; from orchestration.cli.main import main\n"
        "real, other = run.PATHS['lambda'], read_bundle(Path(sys.argv.pop()))\n"
        "run.PATHS['lambda'] = lambda request: real(replace(request, bundle=other))\n"
        "main()"
    )
    asked = ["reconcile", "--rows", "60", "--paths", "classify,lambda", "--bundle", str(bundle.directory), "--json"]
    command = [sys.executable, "-c", code, *asked, str(other.directory)]
    done = subprocess.run(command, cwd=ROOT, env=os.environ, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 1, done.stderr
    result = json.loads(done.stdout)
    path = result["paths"][1]
    assert (result["equal"], path["state"], path["models"]) == (False, "different", [other.manifest.version])
    assert path["differences"]["label"] > 0 and path["listed"][0]["of_reference"] != path["listed"][0]["of_path"]
    assert json.loads((layout.reconciliation / "report.json").read_text())["paths"] == result["paths"]


def test_asset_check_is_red_with_the_differences(layout, bundle, monkeypatch):
    import dagster as dg

    def materialize():
        with dg.DagsterInstance.ephemeral() as instance:
            settings = {
                "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
                "ops": {"serving__path_reconciliation": {"config": {"rows": 30, "paths": "classify,lambda"}}},
            }
            job = build_defs().resolve_job_def(RECONCILE_PATHS)
            return job.execute_in_process(instance=instance, run_config=settings)

    nothing = materialize()
    assert nothing.success and not nothing.asset_materializations_for_node("serving__path_reconciliation")
    monkeypatch.setattr("orchestration.assets.serving_paths.production_bundle", lambda var: bundle)
    other = tiny_bundle(layout.var / "bundles" / "other")
    for served, passed in ((bundle, True), (other, False)):
        changed = {
            "classify": classify_here,
            "lambda": lambda request, served=served: call_lambda(replace(request, bundle=served)),
        }
        monkeypatch.setattr(run, "PATHS", changed)
        result = materialize()
        (check,) = result.get_asset_check_evaluations()
        assert (check.asset_key, check.passed) == (keys.PATH_RECONCILIATION, passed)
        assert ("differences" in check.metadata) != passed
