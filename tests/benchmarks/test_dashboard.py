"""The dashboard's benchmark: its arithmetic, and each section once, small, on real components."""

import json
import os
import subprocess
import sys

import pytest

from benchmarks.dashboard import panels
from benchmarks.dashboard.load import Load
from benchmarks.dashboard.writer import SOURCE
from tests.models import tiny_bundle
from tests.serving.running import ROOT


def test_delay_runs_from_a_written_block_to_the_first_frame_that_counts_it(tmp_path):
    load = Load(tiny_bundle(tmp_path / "tiny"), tmp_path, 100, lambda *_: None)
    load._read(["7 25 100.0\n", "7 50 100.25\n", "8 25 101.0\n"])
    last = {}
    assert list(load.delays([[7, SOURCE, 5, 10, 10, 0.0], [7, "other", 99, 0, 0, 0.0]], last, 100.1)) == pytest.approx([0.1])
    assert list(load.delays([[7, SOURCE, 10, 20, 20, 0.0], [8, SOURCE, 25, 0, 0, 0.0]], last, 101.5)) == pytest.approx(
        [1.25, 0.5]
    )
    assert list(load.delays([[7, SOURCE, 10, 20, 20, 0.0]], last, 200.0)) == [], "counted before"


@pytest.mark.integration
def test_panels_are_measured_on_rows_written_once(tmp_path):
    shown = []
    for _ in range(2):
        found = panels.measure(tmp_path / "rows", 60_000, 2, lambda what, _: shown.append(what))
    assert {row[0] for row in found.rows} == set(panels.PANELS) and len(found.rows) == 8
    assert all(goal.values[0] > 0 for goal in found.goals)
    assert shown.count("merging") == 1, "the second run uses the rows again"


@pytest.mark.benchmark
@pytest.mark.integration
def test_page_and_viewers_are_measured(tmp_path):
    bundle = tiny_bundle(tmp_path / "tiny")
    command = [
        sys.executable,
        "-m",
        "benchmarks.dashboard",
        "--bundle",
        str(bundle.directory),
        "--only",
        "page",
        "viewers",
    ]
    ran = subprocess.run(
        [*command, "--seconds", "2", "--rounds", "1", "--viewers", "3"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
        env=os.environ | {"GROUNDSWELL_PATHS__VAR_DIR": str(tmp_path / "var")},
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    found = json.loads((tmp_path / "var" / "bench" / "dashboard.json").read_text())["sections"]
    assert found["page"]["raw"][0]["messages"] > 1_000
    assert all(rows[0]["p50_ms"] > 0 and rows[0]["cpu"] > 0 for rows in found["viewers"]["raw"].values())
    assert not (tmp_path / "var" / "bench" / "dashboard-run").exists()
