"""`make bench-stream`: the stream on a real Kafka, all sides measured in turns in one run.

Broker, warehouse, workers and this program share the machine's first two CPUs. Numbers are written to `var/bench/stream.json`,
tables for the documentation to `var/bench/stream.md`, the plot of the burst to the same folder.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.harness.arguments import find_bundle, find_checkpoint, parser, run
from benchmarks.harness.machine import divide_cpus
from benchmarks.harness.processes import end_on_sigterm
from benchmarks.harness.report import Outcome, show, write_report
from benchmarks.harness.texts import Texts, read_tweets
from benchmarks.stream.bench import Bench
from benchmarks.stream.sections import alerts, burst, consumers, latency, rates, repeats, stages, sustained
from orchestration.layout import Layout
from orchestration.progress import TerminalProgress, terminal_console

SECTIONS: dict[str, Callable[[Bench], Outcome]] = {
    "sustained": sustained.measure,
    "stages": stages.measure,
    "latency": latency.measure,
    "consumers": consumers.measure,
    "repeats": repeats.measure,
    "burst": burst.measure,
    "rates": rates.measure,
    "alerts": alerts.measure,
}
USUAL = [name for name in SECTIONS if name not in ("rates", "repeats")]
"""Without `rates`, which takes longer than all others together, and `repeats`: they run only if they are named."""
SECONDS, ROUNDS, BURST = 8.0, 3, 5_000
"""Chosen so that the whole benchmark takes less than half an hour."""
RATES, QUICK_RATES, RATE_SECONDS, SIDES = (1_000.0, 5_000.0, 10_000.0), (200.0,), 120.0, 4
"""Of the section `rates`."""
TURNS = {"sustained": 6, "stages": 3, "latency": 3, "consumers": 4, "repeats": 4}
"""Measurements per round, for the estimated duration."""
AROUND_S, FILL_S, PER_S, ALERTS_S = 15.0, 15.0, 300.0, 300.0
"""For the estimate: start and end of a measurement, filling a topic, messages per second on two CPUs, the alerts section."""


def main() -> None:
    """Measure the requested sections; print and write the results."""
    given = _arguments()
    end_on_sigterm()
    layout, console = Layout.load(), terminal_console()
    divide_cpus()
    bundle = find_bundle(given)
    checkpoint = find_checkpoint(bundle, given.checkpoint)
    seconds, rounds, size = (3.0, 1, 600) if given.quick else (given.seconds, given.rounds, given.burst)
    at_rates = (QUICK_RATES, 3.0) if given.quick else (given.rates or RATES, given.rate_seconds)
    chosen = ["rates"] if given.rates else given.only
    console.print(
        f"{bundle.manifest.version}: {', '.join(chosen)}; about {minutes(chosen, seconds, rounds, size, *at_rates)} minutes"
    )
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
            rates=at_rates[0],
            rate_seconds=at_rates[1],
            quick=given.quick,
        )
        with bench:
            for name in chosen:
                terminal.begin(name)
                outcomes[name] = SECTIONS[name](bench)
                # Written after each section, so that an interrupted run leaves its results.
                write_report(target, "The stream, measured", _about(bench, time.monotonic() - started), outcomes)
        terminal.finish()
    show(console, outcomes)
    console.print(f"Numbers: {target}, {target.with_suffix('.md')}", highlight=False, soft_wrap=True)


def minutes(
    chosen: list[str], seconds: float, rounds: int, size: int, rates: Sequence[float] = RATES, rate_seconds: float = RATE_SECONDS
) -> int:
    """Estimate the duration of the run in minutes."""
    total = sum(FILL_S + rounds * TURNS[name] * (AROUND_S + seconds) for name in chosen if name in TURNS)
    if "burst" in chosen:
        # CPUs used by the four sides: two all the time, one, two, two.
        total += (1 if size >= 5_000 else rounds) * (4 * 30 + 5 * size / PER_S / 0.75)
    if "rates" in chosen:
        total += rounds * len(rates) * SIDES * (AROUND_S + rate_seconds)
    return 1 + round((total + ALERTS_S * ("alerts" in chosen)) / 60)


def _about(bench: Bench, took_s: float) -> dict[str, Any]:
    return {
        "bundle": bench.bundle.manifest.version,
        "seconds": bench.seconds,
        "rounds": bench.rounds,
        "quick": bench.quick,
        "burst": bench.burst,
        "took_s": round(took_s),
    }


def _arguments() -> argparse.Namespace:
    made = parser("stream", "The stream on a real Kafka.", SECTIONS, ROUNDS)
    made.add_argument("--seconds", type=float, default=SECONDS, help=f"seconds per measurement (default {SECONDS:g})")
    made.add_argument(
        "--burst", type=int, default=BURST, metavar="N", help=f"messages of the burst (default {BURST:,}; 50,000 take 20 min)"
    )
    made.add_argument(
        "--rates",
        type=lambda text: tuple(float(one) for one in text.split(",")),
        metavar="N,N",
        help="labeled messages at these fixed rates, and nothing else",
    )
    made.add_argument(
        "--rate-seconds", type=float, default=RATE_SECONDS, help=f"seconds per rate and side (default {RATE_SECONDS:g})"
    )
    made.set_defaults(only=USUAL)
    made.add_argument("--quick", action="store_true", help="small sizes and one round, to check that it works")
    return made.parse_args()


if __name__ == "__main__":
    run(main)
