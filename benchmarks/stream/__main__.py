"""`make bench-stream`: the stream on a real Kafka, all sides measured in turns in one run.

Broker, warehouse, workers and this program share the machine's first two CPUs. Numbers are written to `var/bench/stream.json`,
tables for the documentation to `var/bench/stream.md`, the plot of the burst to the same folder.
"""

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.api.servers import divide_cpus
from benchmarks.api.texts import Texts, read_tweets
from benchmarks.stream.bench import Bench, Outcome
from benchmarks.stream.programs import end_on_sigterm
from benchmarks.stream.report import markdown
from benchmarks.stream.sections import alerts, burst, consumers, latency, stages, sustained
from data.artifacts import write_json, write_text
from data.errors import BundleError, GroundswellError
from data.settings_registry import check_settings
from orchestration.layout import Layout
from orchestration.progress import TerminalProgress, print_error, terminal_console
from orchestration.runs import silence_libraries
from serving.bundle import Bundle, read_bundle, served_bundle

SECTIONS: dict[str, Callable[[Bench], Outcome]] = {
    "sustained": sustained.measure,
    "stages": stages.measure,
    "latency": latency.measure,
    "consumers": consumers.measure,
    "burst": burst.measure,
    "alerts": alerts.measure,
}
SECONDS, ROUNDS, BURST = 8.0, 3, 5_000
"""Chosen so that the whole benchmark takes less than half an hour."""
TURNS = {"sustained": 6, "stages": 3, "latency": 3, "consumers": 4}
"""Measurements per round, for the estimated duration."""
AROUND_S, FILL_S, PER_S, ALERTS_S = 15.0, 15.0, 300.0, 300.0
"""For the estimate: start and end of a measurement, filling a topic, messages per second on two CPUs, the alerts section."""


def main() -> None:
    """Measure the requested sections; print and write the results."""
    given = _arguments()
    silence_libraries()
    end_on_sigterm()
    layout, console = Layout.load(), terminal_console()
    divide_cpus()
    bundle = read_bundle(given.bundle) if given.bundle else served_bundle()
    checkpoint = _checkpoint(bundle, given.checkpoint)
    seconds, rounds, size = (3.0, 1, 600) if given.quick else (given.seconds, given.rounds, given.burst)
    chosen = given.only or list(SECTIONS)
    console.print(f"{bundle.manifest.version}: {', '.join(chosen)}; about {minutes(chosen, seconds, rounds, size)} minutes")
    target = given.json or layout.var / "bench" / "stream.json"
    outcomes: dict[str, Outcome] = {}
    started = time.monotonic()
    with TerminalProgress(console) as terminal:
        terminal.begin("Texts, Kafka, warehouse")
        texts = Texts(read_tweets(layout))
        bench = Bench(
            bundle,
            checkpoint,
            texts,
            layout.var / "bench",
            terminal,
            seconds=seconds,
            rounds=rounds,
            burst=size,
            quick=given.quick,
        )
        with bench:
            for name in chosen:
                terminal.begin(name)
                outcomes[name] = SECTIONS[name](bench)
                # Written after each section, so that an interrupted run leaves its results.
                _write(target, bench, outcomes, time.monotonic() - started)
        terminal.finish()
    _show(console, outcomes)
    console.print(f"Numbers: {target}, {target.with_suffix('.md')}", highlight=False, soft_wrap=True)


def minutes(chosen: list[str], seconds: float, rounds: int, size: int) -> int:
    """Estimate the duration of the run in minutes."""
    total = sum(FILL_S + rounds * TURNS[name] * (AROUND_S + seconds) for name in chosen if name in TURNS)
    if "burst" in chosen:
        # CPUs used by the four sides: two all the time, one, two, two.
        total += (1 if size >= 5_000 else rounds) * (4 * 30 + 5 * size / PER_S / 0.75)
    return 1 + round((total + ALERTS_S * ("alerts" in chosen)) / 60)


def _show(console: Console, outcomes: dict[str, Outcome]) -> None:
    from benchmarks.api.__main__ import show

    for name, outcome in outcomes.items():
        show(console, name, outcome)


def _checkpoint(bundle: Bundle, named: Path | None) -> Path:
    checkpoint = named or bundle.directory.resolve().parents[1] / "candidates" / bundle.manifest.name / "checkpoint"
    if not (checkpoint / "config.json").is_file():
        raise BundleError(
            f"No checkpoint for {bundle.manifest.version}.",
            found=checkpoint,
            remedy="Name the folder it was exported from: --checkpoint DIR",
        )
    return checkpoint


def _write(target: Path, bench: Bench, outcomes: dict[str, Outcome], took_s: float) -> None:
    from benchmarks.models import _machine

    machine = _machine()
    about = {
        "bundle": bench.bundle.manifest.version,
        "seconds": bench.seconds,
        "rounds": bench.rounds,
        "quick": bench.quick,
        "burst": bench.burst,
        "took_s": round(took_s),
    }
    found: dict[str, Any] = {
        "machine": machine,
        **about,
        "sections": {
            name: {
                "goals": [goal.to_dict() for goal in one.goals],
                "notes": one.notes,
                "columns": one.columns,
                "rows": one.rows,
                "raw": one.raw,
            }
            for name, one in outcomes.items()
        },
    }
    write_json(target, found)
    write_text(target.with_suffix(".md"), markdown("The stream, measured", outcomes, {**machine, **about}))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.stream", description="The stream on a real Kafka.")
    parser.add_argument("--bundle", type=Path, help="bundle that classifies (default: the production model's)")
    parser.add_argument("--checkpoint", type=Path, help="checkpoint it was exported from (default: that of the candidate's name)")
    parser.add_argument("--seconds", type=float, default=SECONDS, help=f"seconds per measurement (default {SECONDS:g})")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"rounds (default {ROUNDS})")
    parser.add_argument(
        "--burst", type=int, default=BURST, metavar="N", help=f"messages of the burst (default {BURST:,}; 50,000 take 20 min)"
    )
    parser.add_argument("--only", nargs="+", choices=list(SECTIONS), metavar="NAME", help=f"sections: {', '.join(SECTIONS)}")
    parser.add_argument("--quick", action="store_true", help="small sizes and one round, to check that it works")
    parser.add_argument("--json", type=Path, help="file for the numbers (default var/bench/stream.json)")
    return parser.parse_args()


if __name__ == "__main__":
    try:
        check_settings()
        main()
    except GroundswellError as error:
        sys.exit(print_error(terminal_console(), error))
