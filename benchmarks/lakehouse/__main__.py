"""`make bench-lakehouse`: throughput of Gold compared with peers, age of rows in Gold, number of files after an hour.

All processes share the machine's first two cores. Numbers go to `var/bench/lakehouse.json`, the tables for the documentation to
`var/bench/lakehouse.md`, and the plot to `var/bench/lakehouse.png`.
"""

import argparse
import time
from collections.abc import Callable
from typing import Any

from benchmarks.harness.arguments import find_bundle, find_checkpoint, parser, run
from benchmarks.harness.machine import divide_cpus
from benchmarks.harness.processes import end_on_sigterm
from benchmarks.harness.report import Outcome, show, write_report
from benchmarks.harness.texts import Texts, read_tweets
from benchmarks.lakehouse.bench import Bench
from benchmarks.lakehouse.overview_plot import plot
from benchmarks.lakehouse.sections import age, files, gold
from orchestration.layout import Layout
from orchestration.local.jars import require_java
from orchestration.progress import TerminalProgress, terminal_console

SECTIONS: dict[str, Callable[[Bench], Outcome]] = {"gold": gold.measure, "age": age.measure, "files": files.measure}
ROWS, ROUNDS, RATE, SECONDS, EVERY_S, BATCHES = 10_000, 3, 500, 240, 60.0, 60
"""Defaults; all sections together take little more than half an hour."""
QUICK = {"rows": 50, "rounds": 1, "rate": 20, "seconds": 5, "every_s": 2.0, "batches": 2}
START_S, TURN_S, PIPELINE_PER_S, MODEL_PER_S, SIDES, TRIALS, BATCH_S = 90.0, 6.0, 130.0, 470.0, 3, 4, 11.0
"""For the estimate: seconds to start and warm up; seconds of a turn without its rows; rows per second on two cores with torch and
with the bundle; systems and trials with the bundle; seconds of a micro-batch in both lakehouses."""


def main() -> None:
    """Measure the chosen sections, then print and write the results."""
    given = _arguments()
    end_on_sigterm()
    require_java()
    layout, console = Layout.load(), terminal_console()
    divide_cpus()
    bundle = find_bundle(given)
    chosen = given.only
    checkpoint, sizes = None, _sizes(given)
    if "gold" in chosen:
        checkpoint = find_checkpoint(bundle, given.checkpoint)
    console.print(f"{bundle.manifest.version}: {', '.join(chosen)}; about {minutes(chosen, **sizes)} minutes")
    target = given.json or layout.var / "bench" / "lakehouse.json"
    outcomes: dict[str, Outcome] = {}
    started = time.monotonic()
    with TerminalProgress(console) as terminal:
        terminal.begin("Texts")
        bench = Bench(bundle, checkpoint, Texts(read_tweets(layout)), layout.var / "bench", terminal, quick=given.quick, **sizes)
        with bench:
            for name in chosen:
                terminal.begin(name)
                outcomes[name] = SECTIONS[name](bench)
                # Written after each section, so that an interrupted run keeps its results.
                write_report(target, "The lakehouse, measured", _about(bench, time.monotonic() - started), outcomes)
        terminal.finish()
    show(console, outcomes)
    console.print(f"Numbers: {target}, {target.with_suffix('.md')}", highlight=False, soft_wrap=True)
    if {"gold", "age"} & {*chosen}:
        ages = outcomes["age"].raw["ages"] if "age" in outcomes else None
        rates = outcomes["gold"].raw["rates"] if "gold" in outcomes else {}
        rates = {name: values for name, values in rates.items() if name != gold.STUB}  # it has no model
        console.print(f"Plot: {plot(ages, rates, target.with_suffix('.png'))}", highlight=False, soft_wrap=True)


def minutes(chosen: list[str], *, rows: int, rounds: int, rate: int, seconds: int, every_s: float, batches: int) -> int:
    """Estimate the duration. The rate does not matter: `age` waits only a limited time for late rows."""
    model, torch = TURN_S + rows / MODEL_PER_S, TURN_S + rows / PIPELINE_PER_S
    took = {
        "gold": START_S + TRIALS * model + rounds * (SIDES * model + 2 * torch + TURN_S),
        "age": START_S + seconds + 2 * every_s,
        "files": START_S + BATCH_S * batches,
    }
    return 1 + round(sum(took[name] for name in chosen) / 60)


def _sizes(given: argparse.Namespace) -> dict[str, Any]:
    if given.quick:
        return QUICK
    return {
        "rows": given.rows,
        "rounds": given.rounds,
        "rate": given.rate,
        "seconds": given.seconds,
        "every_s": given.every,
        "batches": given.batches,
    }


def _about(bench: Bench, took_s: float) -> dict[str, Any]:
    return {
        "bundle": bench.bundle.manifest.version,
        "rounds": bench.rounds,
        "rows": bench.rows,
        "rate": bench.rate,
        "took_s": round(took_s),
        "seconds": bench.seconds,
        "every_s": bench.every_s,
        "batches": bench.batches,
        "quick": bench.quick,
    }


def _arguments() -> argparse.Namespace:
    made = parser("lakehouse", "The lakehouse on real Spark.", SECTIONS, ROUNDS)
    made.add_argument("--rows", type=int, default=ROWS, help=f"rows per round of gold (default {ROWS:,})")
    made.add_argument("--rate", type=int, default=RATE, help=f"rows per second of age (default {RATE})")
    made.add_argument("--seconds", type=int, default=SECONDS, help=f"duration of age in seconds (default {SECONDS})")
    made.add_argument(
        "--every", type=float, default=EVERY_S, metavar="S", help=f"seconds between micro-batches of age (default {EVERY_S:g})"
    )
    made.add_argument("--batches", type=int, default=BATCHES, help=f"micro-batches of files (default {BATCHES}: an hour)")
    made.add_argument("--quick", action="store_true", help="small sizes without warm-up, to check that the benchmark runs")
    return made.parse_args()


if __name__ == "__main__":
    run(main)
