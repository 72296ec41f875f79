"""The lakehouse's benchmark: its estimates, and a small run of Gold with its peers on real Spark."""

import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest

from benchmarks.lakehouse.__main__ import BATCHES, EVERY_S, QUICK, RATE, ROUNDS, ROWS, SECONDS, SECTIONS, minutes
from benchmarks.lakehouse.bench import write_silver_rows
from benchmarks.lakehouse.overview_plot import plot
from benchmarks.lakehouse.sections.age import commits
from benchmarks.lakehouse.sections.gold import BULK, MLFLOW, MLFLOW_TRANSFORMERS, OURS, PIPELINE, STUB
from tests.models import tiny_bundle, write_checkpoint
from tests.serving.lakehouse_harness import QUICK as SPARK
from tests.serving.running import ROOT


def test_age_of_a_row_ends_with_the_first_version_that_has_it(tmp_path):
    import pyarrow as pa
    from deltalake import DeltaTable, write_deltalake

    gold, born = tmp_path / "gold", datetime.now(UTC) - timedelta(minutes=2)

    def write(ids):
        created = pa.array([born + timedelta(seconds=int(one)) for one in ids], pa.timestamp("us", "UTC"))
        rows = pa.table({"id": ids, "created_at": created, "event_date": [f"{born:%Y-%m-%d}"] * len(ids)})
        write_deltalake(gold, rows, mode="append", partition_by=["event_date"])

    write(["0", "30"])
    write(["60"])
    DeltaTable(gold).optimize.compact()  # moves rows, adds none
    write(["30", "90"])  # like a merge that rewrites the file of a row
    for version, at in enumerate((100, 101, 102, 103)):
        log = gold / "_delta_log" / f"{version:020}.json"
        os.utime(log, (born.timestamp() + at, born.timestamp() + at))
    measured = commits(gold)
    assert [one.version for one in measured] == [0, 1, 3]
    assert [sorted(one.ages.tolist()) for one in measured] == [pytest.approx([70, 100]), pytest.approx([41]), pytest.approx([13])]


def test_rows_have_the_columns_of_silver(tmp_path):
    import pyarrow.parquet as pq

    from serving.lakehouse.tables import COLUMNS

    rows = pq.read_table(write_silver_rows(tmp_path / "rows.parquet", ["Thanks @Ada! #Rain", "https://x.y no"]))
    assert all(f"{name} " in COLUMNS["silver"] for name in rows.column_names)
    first, second = rows.to_pylist()
    assert first["mentions"] == ["ada"] and first["hashtags"] == ["rain"] and first["cleaned"] == "Thanks @user! #Rain"
    assert first["event_date"] == second["event_date"], "one day, one partition"
    assert first["id"] != second["id"]


def test_ages_and_rates_are_plotted(tmp_path):
    ages = {"shares": [0, 0.25, 0.5, 0.75, 0.95, 0.99, 1], "seconds": [1, 20, 40, 60, 80, 90, 95]}
    rates = {OURS: [200.0, 210.0, 190.0], BULK: [240.0, 245.0, 250.0]}
    for number, (some_ages, some_rates) in enumerate([(ages, rates), (ages, None), (None, rates)]):
        assert plot(some_ages, some_rates, tmp_path / f"{number}.png").read_bytes().startswith(b"\x89PNG")


def test_default_run_is_estimated_at_little_more_than_half_an_hour():
    sizes = {"rows": ROWS, "rounds": ROUNDS, "rate": RATE, "seconds": SECONDS, "every_s": EVERY_S, "batches": BATCHES}
    assert 10 < minutes(list(SECTIONS), **sizes) < 40
    assert minutes(list(SECTIONS), **QUICK) < 8


@pytest.mark.benchmark
def test_gold_is_measured_with_its_peers(tmp_path):
    """Every system writes each row once, and those with the bundle predict the same labels as bulk."""
    bundle = tiny_bundle(tmp_path / "tiny")
    given = ["--bundle", str(bundle.directory), "--checkpoint", str(write_checkpoint(tmp_path / "checkpoint"))]
    ran = subprocess.run(
        [sys.executable, "-m", "benchmarks.lakehouse", *given, "--only", "gold", "--quick"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=270,
        check=False,
        env=os.environ | {"GROUNDSWELL_PATHS__VAR_DIR": str(tmp_path / "var"), "GROUNDSWELL_LAKEHOUSE__SPARK": json.dumps(SPARK)},
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    gold = json.loads((tmp_path / "var" / "bench" / "lakehouse.json").read_text())["sections"]["gold"]["raw"]
    assert set(gold["rates"]) == {BULK, OURS, STUB, MLFLOW, MLFLOW_TRANSFORMERS, PIPELINE}
    assert gold["agreeing"][OURS] == gold["agreeing"][MLFLOW] == 1
    assert gold["asked"] == 50, "each text is classified once, even if the merge reads it several times"
    assert all(spent[0]["python_s"] > 0 for spent in gold["spent"].values())
    assert all(gold["spent"][side][0]["jvm_s"] > 0 for side in (OURS, MLFLOW, MLFLOW_TRANSFORMERS, PIPELINE))
    assert not (tmp_path / "var" / "bench" / "lakehouse-run").exists()
