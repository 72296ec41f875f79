"""The commands of docs/stream.md, on a real Kafka started by the documented command."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.models import tiny_bundle
from tests.serving.running import ROOT, spare_port
from tests.serving.stream_harness import end
from tests.waiting import until_passes

pytestmark = pytest.mark.integration
PAGE = (ROOT / "docs" / "stream.md").read_text(encoding="utf-8")
BIN = Path(sys.executable).parent


def commands() -> list[str]:
    blocks = re.findall(r"```sh\n(.*?)```", PAGE, flags=re.DOTALL)
    return [re.sub(r"\s+#.*", "", line) for block in blocks for line in block.splitlines()]


def test_documented_commands_run_the_stream(tmp_path):
    port = spare_port()
    environment = {key: value for key, value in os.environ.items() if not key.startswith("GROUNDSWELL_")} | {
        "GROUNDSWELL_PATHS__VAR_DIR": str(tmp_path / "var"),
        "GROUNDSWELL_STREAM__BOOTSTRAP": f"127.0.0.1:{port}",
        "GROUNDSWELL_WAREHOUSE__PORT": str(spare_port()),
        "GROUNDSWELL_STREAM__METRICS_PORT": str(spare_port()),
        "GROUNDSWELL_BUNDLE_DIR": str(tiny_bundle(tmp_path / "tiny").directory),
        "PATH": f"{BIN}:{os.environ['PATH']}",
        "COLUMNS": "150",
    }
    up, *others = commands()
    assert up == "groundswell stream up" and len(others) == 6
    running = []

    def run(command):
        return subprocess.run(
            shlex.split(command), cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600, check=False
        )

    def until_printed(command, *words):
        def look():
            found = run(command)
            assert found.returncode == 0 and all(word in found.stdout for word in words), found.stdout + found.stderr

        until_passes(look, every_s=0.5)

    try:
        for command in (f"groundswell stream kafka --port {port}", up):
            with (tmp_path / f"{command.split()[2]}.log").open("wb") as log:
                running.append(
                    subprocess.Popen(
                        shlex.split(command), cwd=ROOT, env=environment, stdout=log, stderr=log, stdin=subprocess.PIPE
                    )
                )
            if "kafka" in command:
                until_printed("groundswell stream init", "All four topics are there")
        until_printed(others[0], "2,000 of 2,000 messages arrived")
        until_printed("groundswell warehouse ask distribution --hours 9", "2,000")
        until_printed(others[1], "warehouse     reachable", "w1", "running")
        for command in others[2:]:
            found = run(command)
            assert found.returncode == 0 and found.stdout.strip() and "Traceback" not in found.stderr, found.stderr
    finally:
        ended = [end(process) for process in reversed(running)]
    assert ended == [0, 0], (tmp_path / "up.log").read_text()[-2000:]
