"""`make bench-lakehouse`: throughput of Gold compared with peers, age of rows in Gold, number of files after an hour.

All processes share the machine's first two cores. Numbers go to `var/bench/lakehouse.json`, the tables for the documentation to
`var/bench/lakehouse.md`, and the plot to `var/bench/lakehouse.png`.
"""

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.api.servers import divide_cpus
from benchmarks.api.texts import Texts, read_tweets
from benchmarks.lakehouse.bench import Bench, Outcome
from benchmarks.lakehouse.plots import plot
from benchmarks.lakehouse.sections import age, files, gold
from benchmarks.stream.programs import end_on_sigterm
from benchmarks.stream.report import markdown
from data.artifacts import write_json, write_text
from data.errors import GroundswellError
from data.settings_registry import check_settings
from orchestration.jars import require_java
from orchestration.layout import Layout
from orchestration.progress import TerminalProgress, print_error, terminal_console
from orchestration.runs import silence_libraries
from serving.bundle import read_bundle, served_bundle

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
    silence_libraries()
    end_on_sigterm()
    require_java()
    layout, console = Layout.load(), terminal_console()
    divide_cpus()
    bundle = read_bundle(given.bundle) if given.bundle else served_bundle()
    chosen = given.only or list(SECTIONS)
    checkpoint, sizes = None, _sizes(given)
    if "gold" in chosen:
        from benchmarks.stream.__main__ import _checkpoint

        checkpoint = _checkpoint(bundle, given.checkpoint)
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
                _write(target, bench, outcomes, time.monotonic() - started)
        terminal.finish()
    _show(console, outcomes)
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


def _show(console: Any, outcomes: dict[str, Outcome]) -> None:
    from benchmarks.api.__main__ import show

    for name, outcome in outcomes.items():
        show(console, name, outcome)


def _write(target: Path, bench: Bench, outcomes: dict[str, Outcome], took_s: float) -> None:
    from benchmarks.models import _machine

    machine = _machine()
    about = {
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
    sections = {
        name: {
            "goals": [goal.to_dict() for goal in one.goals],
            "notes": one.notes,
            "columns": one.columns,
            "rows": one.rows,
            "raw": one.raw,
        }
        for name, one in outcomes.items()
    }
    write_json(target, {"machine": machine, **about, "sections": sections})
    write_text(target.with_suffix(".md"), markdown("The lakehouse, measured", outcomes, {**machine, **about}))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.lakehouse", description="The lakehouse on real Spark.")
    parser.add_argument("--bundle", type=Path, help="the bundle to measure; default: the production model's")
    parser.add_argument("--checkpoint", type=Path, help="the checkpoint it was exported from; default: the candidate of its name")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"rounds of gold (default {ROUNDS})")
    parser.add_argument("--rows", type=int, default=ROWS, help=f"rows per round of gold (default {ROWS:,})")
    parser.add_argument("--rate", type=int, default=RATE, help=f"rows per second of age (default {RATE})")
    parser.add_argument("--seconds", type=int, default=SECONDS, help=f"duration of age in seconds (default {SECONDS})")
    parser.add_argument(
        "--every", type=float, default=EVERY_S, metavar="S", help=f"seconds between micro-batches of age (default {EVERY_S:g})"
    )
    parser.add_argument("--batches", type=int, default=BATCHES, help=f"micro-batches of files (default {BATCHES}: an hour)")
    parser.add_argument(
        "--only", nargs="+", choices=list(SECTIONS), metavar="NAME", help=f"sections to measure, of {', '.join(SECTIONS)}"
    )
    parser.add_argument("--quick", action="store_true", help="small sizes without warm-up, to check that the benchmark runs")
    parser.add_argument("--json", type=Path, help="output file; default var/bench/lakehouse.json")
    return parser.parse_args()


if __name__ == "__main__":
    try:
        check_settings()
        main()
    except GroundswellError as error:
        sys.exit(print_error(terminal_console(), error))
