"""The README's commands, run in order on the project's own sample, and its addresses."""

import os
import re
import shlex
import signal
import subprocess
from pathlib import Path

import httpx
import pytest

from tests.serving.running import spare_port
from tests.waiting import until_passes

pytestmark = pytest.mark.integration
ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def commands(program: str) -> list[str]:
    """Lines of the README's shell blocks that start with a program, without their comments."""
    blocks = re.findall(r"```sh\n(.*?)```", README, flags=re.DOTALL)
    lines = [re.sub(r"\s+#.*", "", line) for block in blocks for line in block.splitlines()]
    return [line for line in lines if line.split(" ")[0] == program]


def test_every_command_of_the_readme(trained):
    lines = commands("groundswell")
    assert len(lines) >= 8
    for line in lines:
        found = trained.run(line)
        assert found.returncode == 0, f"{line}\n{(found.stdout + found.stderr)[-3000:]}"
        assert found.stdout.strip(), line


def test_the_make_targets_it_names_are_there():
    listed = subprocess.run("make", cwd=ROOT, capture_output=True, text=True, timeout=600, check=False).stdout
    named = {word.rstrip("`.,") for word in re.findall(r"make ([a-z-]+)", README)} - {"lists"}
    assert {"demo", "test", "dagster", "mlflow", "serve"} <= named
    for target in named:
        assert f"make {target} " in listed, target


def get_from(command, url, environment, cwd=ROOT):
    process = subprocess.Popen(
        shlex.split(command),
        cwd=cwd,
        env=environment,
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )

    def look():
        response = httpx.get(url, timeout=5, follow_redirects=True)
        assert response.status_code == 200
        return response

    try:
        return until_passes(look, retry=(httpx.HTTPError, AssertionError), every_s=0.5)
    finally:
        os.killpg(process.pid, signal.SIGINT)
        try:
            process.wait(150)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)


def test_the_pages_open(trained):
    """The pages of `make dagster`, `make mlflow` and `make serve`, on free ports."""
    port, environment = spare_port(), trained.environment
    quiet = environment | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    page = get_from(f"groundswell dagster --port {port}", f"http://127.0.0.1:{port}/server_info", environment)
    assert "dagster_version" in page.text
    store = f"sqlite:///{environment['GROUNDSWELL_PATHS__VAR_DIR']}/mlflow/mlflow.db"
    page = get_from(
        f"mlflow ui --host 127.0.0.1 --port {port} --backend-store-uri {store}", f"http://127.0.0.1:{port}/health", quiet
    )
    assert page.text == "OK"
    serving = environment | {"GROUNDSWELL_SERVING__PORT": str(port)}
    assert "Groundswell" in get_from("groundswell serve", f"http://127.0.0.1:{port}/docs", serving).text
