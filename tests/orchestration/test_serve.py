"""`groundswell serve` as a process manager sees it."""

import json
import os
import subprocess
import sys

import httpx
import psutil
import pytest

from tests.models import tiny_bundle
from tests.serving.running import ROOT, spare_port
from tests.waiting import until_passes


@pytest.mark.integration
def test_sigterm_ends_the_service_too(tmp_path):
    var, port = tmp_path / "var", spare_port()
    bundle = tiny_bundle(var / "bundles" / "b")
    (var / "registry").mkdir(parents=True)
    move = {"alias": "production", "to": "1", "bundle": f"bundles/{bundle.directory.name}"}
    (var / "registry" / "ledger.jsonl").write_text(json.dumps(move) + "\n")
    process = subprocess.Popen(
        [sys.executable, "-m", "orchestration.cli", "serve", "--port", str(port)],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=os.environ | {"GROUNDSWELL_PATHS__VAR_DIR": str(var), "BENTOML_HOME": str(tmp_path / "bentoml")},
    )
    try:
        until_passes(lambda: httpx.get(f"http://127.0.0.1:{port}/readyz", timeout=2).raise_for_status(), retry=httpx.HTTPError)
        family = psutil.Process(process.pid).children(recursive=True)
        assert family
        process.terminate()
        process.wait(150)
        _, alive = psutil.wait_procs(family, timeout=120)
        assert not alive
    finally:
        process.kill()
