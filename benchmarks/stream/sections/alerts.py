"""Delay of an alert at equal false-alarm rates: the table of `benchmarks.stream.alerts`."""

import math
from typing import Any

from benchmarks.harness.figures import Goal
from benchmarks.harness.report import Outcome
from benchmarks.stream import alerts
from benchmarks.stream.bench import Bench

TEXTS, RUNS_QUICK, WEEKS_QUICK = 10_000, 20, 1


def measure(bench: Bench) -> Outcome:
    """Run once, without broker and warehouse; all delays are in event time."""
    few: dict[str, Any] = {"runs": RUNS_QUICK, "weeks": WEEKS_QUICK, "rates": (alerts.GOAL_RATE,)} if bench.quick else {}
    texts = bench.texts.take(1_000 if bench.quick else TEXTS)
    found = alerts.run(bench.bundle, bench.folder.parent, texts, progress=lambda message: bench.progress(message, None), **few)
    cells: dict[tuple[int, int], dict[str, Any]] = {}
    for cell in found["cells"]:
        cells.setdefault((cell["messages_per_s"], cell["points"]), {})[cell["detector"]] = cell
    names = list(dict.fromkeys(cell["detector"] for cell in found["cells"]))
    rows = [
        [f"{rate:,}", str(points), *(_shown(row[name]) for name in names), f"{row[names[0]]['bound_s']:.1f}"]
        for (rate, points), row in cells.items()
    ]
    goals = []
    if goal := found["goal"]:
        seconds = math.inf if goal["seconds"] is None else goal["seconds"]
        goals = [Goal(goal["what"], [seconds], goal["goal_s"], "≤", " s")]
    notes = [
        f"Delay in s of event time: median / 95th percentile, and the share missed within {alerts.LIMIT_S} s.",
        *alerts.notes(found),
    ]
    return Outcome(["messages/s", "points", *names, "bound"], rows, goals, notes, found)


def _shown(cell: dict[str, Any]) -> str:
    median, p95 = ("–" if value is None else f"{value:.1f}" for value in (cell["median_s"], cell["p95_s"]))
    return f"{median} / {p95}" + (f" ({cell['missed']:.0%} missed)" if cell["missed"] else "")
