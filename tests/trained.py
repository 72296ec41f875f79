"""The state after `groundswell demo --once` on the project's own sample: created once a session, and copied for each module."""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from filelock import FileLock

from data.settings import read_yaml
from orchestration.demo.tour import SAMPLE_EPOCHS
from tests.serving.running import ROOT, spare_port

BIN = Path(sys.executable).parent


@dataclass(frozen=True)
class Trained:
    """A copy of the trained state, with the output of the demo that created it."""

    var: Path
    environment: dict[str, str]
    stdout: str
    stderr: str

    def run(self, command: str, timeout_s: float = 1500) -> subprocess.CompletedProcess[str]:
        """Run a shell command at the root of the checkout."""
        return _run(command, self.environment, timeout_s)


def _run(command: str, environment: dict[str, str], timeout_s: float = 1500) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=timeout_s, check=False, shell=True
    )


def _environment(folder: Path) -> dict[str, str]:
    clean = {key: value for key, value in os.environ.items() if not key.startswith("GROUNDSWELL_")}
    dagster, mlflow = spare_port(), spare_port()
    demo = read_yaml(ROOT / "configs" / "demo.yaml")
    settings = {
        f"GROUNDSWELL_{section}__{name}".upper(): str(demo[section][name])
        for section in ("training", "evaluation")
        for name in demo[section]
    }
    ours = {
        "GROUNDSWELL_TRAINING__EPOCHS": str(SAMPLE_EPOCHS),  # so that other commands find what the demo trained unchanged
        "GROUNDSWELL_PATHS__VAR_DIR": str(folder / "var"),
        "BENTOML_HOME": str(folder / "var" / "bentoml"),
        "GROUNDSWELL_SERVING__PORT": str(spare_port()),
        "GROUNDSWELL_SERVING__READY_TIMEOUT_S": "600",  # the machine may be busy
        "GROUNDSWELL_SERVING__MIN_FREE_DISK": "0",  # and its disk nearly full
        "GROUNDSWELL_DASHBOARD__DAGSTER_URL": f"http://127.0.0.1:{dagster}",
        "GROUNDSWELL_DASHBOARD__MLFLOW_URL": f"http://127.0.0.1:{mlflow}",
        "HF_HUB_OFFLINE": "1",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "PATH": f"{BIN}:{os.environ['PATH']}",
    }
    return clean | settings | ours


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """The trained state, in a folder of the module's own."""
    base = tmp_path_factory.getbasetemp()
    shared = (base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base) / "trained"
    with FileLock(f"{shared}.lock"):
        if not (shared / "stdout").is_file():
            done = _run("groundswell demo --once", _environment(shared))
            assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
            (shared / "stderr").write_text(done.stderr)
            (shared / "stdout").write_text(done.stdout)
    mine = tmp_path_factory.mktemp("mine")
    shutil.copytree(shared / "var", mine / "var", symlinks=True)
    return Trained(mine / "var", _environment(mine), (shared / "stdout").read_text(), (shared / "stderr").read_text())
