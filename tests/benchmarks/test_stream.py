"""The stream benchmark: its arithmetic, its parsers, and one of its sides on a real broker."""

import json
import math
import subprocess
import sys

import pytest

from benchmarks.harness.figures import Goal, figure
from benchmarks.harness.report import Outcome, markdown
from benchmarks.stream import metrics
from benchmarks.stream.__main__ import BURST, ROUNDS, SECONDS, USUAL, minutes
from benchmarks.stream.burst_plot import Line, plot_burst
from benchmarks.stream.schedule import (
    DOWN_AFTER_S,
    Threshold,
    changes,
    drained_at,
    slope,
    steady_rate,
    wanted_by_lag,
    worker_seconds,
)
from benchmarks.stream.sections.latency import first_seen
from benchmarks.stream.sections.rates import _macro_recall
from tests.models import tiny_bundle
from tests.serving.running import ROOT


def test_rate_is_measured_from_commit_to_commit():
    # 1,000 per second, a block of 500 committed every half second; the window begins and ends between two commits.
    samples = [(at / 10, 500 * (at // 5)) for at in range(3, 48)]
    assert steady_rate(samples) == pytest.approx(1000)
    naive = (samples[-1][1] - samples[0][1]) / (samples[-1][0] - samples[0][0])
    assert naive != pytest.approx(1000, rel=0.01)
    assert math.isnan(steady_rate([(0, 5), (1, 5), (2, 9)]))
    assert math.isnan(steady_rate([]))


def test_slope_is_that_of_the_line_through_the_samples():
    assert slope([(1e9 + at, 5 + 3 * at + (-1) ** at) for at in range(0, 40)]) == pytest.approx(3, abs=0.01)
    assert math.isnan(slope([(1, 2)])) and math.isnan(slope([]))


def test_macro_recall_of_rows_that_the_warehouse_counted():
    counts = [("negative", "negative", 3), ("negative", "positive", 1), ("neutral", "neutral", 2), ("positive", "neutral", 5)]
    assert _macro_recall(counts) == pytest.approx((0.75 + 1 + 0) / 3)
    assert math.isnan(_macro_recall([]))


@pytest.mark.parametrize(("lag", "wanted"), [(0, 1), (1, 1), (1000, 1), (1001, 2), (7_001, 8), (50_000, 8)])
def test_threshold_asks_for_one_worker_per_thousand_messages(lag, wanted):
    assert wanted_by_lag(lag, per_worker=1000, most=8) == wanted


def test_threshold_scales_up_at_once_and_down_late():
    threshold = Threshold()
    assert threshold.workers(0, 100) == 1
    assert threshold.workers(1, 6_500) == 7
    assert threshold.workers(1 + DOWN_AFTER_S - 0.1, 0) == 7
    assert threshold.workers(1 + DOWN_AFTER_S, 0) == 1


def test_burst_is_drained_when_the_backlog_is_as_small_as_before():
    assert drained_at([(-1, 3), (0, 4), (0.5, 900), (1, 1000), (5, 40), (6, 10), (7, 2)], calm=10) == 6
    assert math.isnan(drained_at([(0, 100), (1, 90)], calm=10))
    assert math.isnan(drained_at([], calm=10))


def test_worker_seconds_run_from_the_burst_to_its_end():
    assert worker_seconds([(-2, 1), (0, 1), (4, 2)], until=10) == 4 + 12
    assert worker_seconds([(-2, 1), (4, 2), (12, 5)], until=10) == 4 + 12


def test_assignment_changes_are_counted():
    assert changes([]) == 0
    assert changes([{"a": (0, 1)}, {"a": (0, 1)}, {"a": (0,), "b": (1,)}, {"b": (0, 1)}]) == 2


def test_stages_are_computed_from_the_workers_own_counters():
    text = """# HELP groundswell_stream_messages_total Messages.
# TYPE groundswell_stream_messages_total counter
groundswell_stream_messages_total 1000.0
groundswell_stream_stage_cpu_seconds_total{stage="decode"} 0.01
groundswell_stream_stage_cpu_seconds_total{stage="model"} 2.0
"""
    before = metrics.total([metrics.parse(text), metrics.parse(text)])
    assert before["groundswell_stream_messages_total"] == 2000
    after = dict(before)
    after["groundswell_stream_messages_total"] += 500
    after['groundswell_stream_stage_cpu_seconds_total{stage="decode"}'] += 0.005
    assert metrics.stage_us(before, after) == {"decode": pytest.approx(10), "model": 0}
    assert metrics.stage_us(before, before) == {}


def test_stages_are_those_that_the_worker_measures():
    from serving.streaming.worker.metrics import MESSAGES, STAGE_CPU

    assert all(f" {stage}" in STAGE_CPU._documentation for stage in metrics.STAGES)
    assert STAGE_CPU._name + "_total" == "groundswell_stream_stage_cpu_seconds_total"
    assert MESSAGES._name + "_total" == "groundswell_stream_messages_total"


def test_message_is_seen_in_the_first_query_result_that_contains_it():
    seen = [(10.0, {0: 4}), (10.1, {0: 4, 1: 2}), (10.2, {0: 9, 1: 2})]
    assert first_seen([(0, 0), (0, 4), (0, 5), (1, 2), (1, 3), (2, 0)], seen) == [10.0, 10.0, 10.2, 10.1, None, None]


def test_markdown_has_every_section_with_its_goals():
    goal = Goal("times the naive", [5.5, 6.0, 7.0], 5)
    outcome = Outcome(["", "messages/s"], [["ours | two", figure([300.0, 310.0, 305.0])]], [goal], ["A note."])
    page = markdown("The stream", {"sustained": outcome}, {"cores": 2})
    assert "## sustained" in page
    assert "| ours \\| two | 305 [300, 310] |" in page
    assert "| times the naive | 6 [5.5, 7] | ≥ 5 | reached |" in page
    assert "A note." in page
    assert figure([1234.5]) == "1,234"


def test_burst_plot_is_written(tmp_path):
    lines = [Line("ours", [(-1, 0), (0, 500), (5, 0)], [(-1, 1), (0, 1), (5, 2)]), Line("fixed", [(0, 500)], [(0, 1)])]
    assert plot_burst(lines, tmp_path / "burst.png").read_bytes().startswith(b"\x89PNG")
    plot_burst([], tmp_path / "none.png")


def test_default_run_takes_less_than_half_an_hour():
    assert minutes(USUAL, SECONDS, ROUNDS, BURST) < 30
    assert minutes(["burst"], 12, 3, 50_000) > minutes(["burst"], 12, 3, 10_000)


@pytest.mark.benchmark
@pytest.mark.integration
def test_pipeline_is_measured_on_a_real_broker(tmp_path):
    """Measure one side with the stub model: the result has rates, CPU time and stages, and no process is left running.

    There are more messages than the fastest machine can process; otherwise the window would see no commits.
    """
    bundle = tiny_bundle(tmp_path / "bundle")
    program = f"""
from pathlib import Path
from benchmarks.harness.texts import Texts
from benchmarks.stream.bench import Bench
from serving.bundle import read_bundle
import json

class Progress:
    def __call__(self, *_): pass
    def note(self, _): pass

folder = Path({str(tmp_path)!r})
texts = Texts([f"a text about {{k}} things" for k in range(100)])
bundle = read_bundle(Path({str(bundle.directory)!r}))
with Bench(bundle, folder, texts, folder / "bench", Progress(), seconds=2, rounds=1, burst=1, quick=True) as bench:
    pids = [bench.kafka.pid, bench._warehouse.process.pid]
    found = bench.sustained(bench.ours(1, 1, stub=True), bench.fill(400_000, texts=1_000))
print(json.dumps(found.to_dict() | {{"pids": pids, "left_over": bench.home.exists()}}))
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=250, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["per_s"] > 0 and found["cpu_s"]["workers"] >= 0
    assert found["stage_us"]["decode"] > 0
    assert not found["left_over"]
    import psutil

    assert not any(psutil.pid_exists(pid) for pid in found["pids"])
