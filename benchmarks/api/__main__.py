"""`make bench-api`: the service under load compared with named peers, all measured in one run.

All servers get the same two CPUs, the same texts and the same model; the FastAPI peer runs the model in float32 torch, as its
documentation shows. Texts do not repeat, so our cache has no hits, except in the section that measures the cache. The numbers are
written to `var/bench/api.json`, the curves to `api.png` in the same folder.
"""

import argparse
import os
import time
from collections.abc import Callable
from typing import Any

from benchmarks.api.bench import Bench
from benchmarks.api.curves import plot_curves
from benchmarks.api.load import Loader
from benchmarks.api.sections import callers, closed64, duplicates, functions, lambda_handler, open_loop, overload, sizes, with_job
from benchmarks.api.systems import SETTINGS
from benchmarks.harness.arguments import find_bundle, find_checkpoint, parser, run
from benchmarks.harness.machine import divide_cpus
from benchmarks.harness.processes import end_on_sigterm
from benchmarks.harness.report import Outcome, show, write_report
from benchmarks.harness.texts import Texts, read_tweets
from orchestration.layout import Layout
from orchestration.progress import TerminalProgress, terminal_console

sections: dict[str, Callable[[Bench], Outcome]] = {
    "functions": functions.measure,
    "callers": callers.measure,
    "closed64": closed64.measure,
    "open": open_loop.measure,
    "jobs": with_job.measure,
    "overload": overload.measure,
    "sizes": sizes.measure,
    "duplicates": duplicates.measure,
    "lambda": lambda_handler.measure,
}
TURNS = {
    "functions": 6,
    "callers": 15,
    "closed64": 4,
    "open": 24,
    "jobs": 4,
    "overload": 4,
    "sizes": 5,
    "duplicates": 4,
    "lambda": 2,
}
"""Measurements per round, for the estimated duration."""
WITH_PEERS = {"closed64", "open"}
_AROUND_S, _TRIAL_S = 3, 20


def main() -> None:
    """Measure the requested sections; print and write the results."""
    given = _arguments()
    # Set before the first tokenizer is loaded: the classifier that servers are compared with uses tokenizer threads too.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    end_on_sigterm()
    layout, console = Layout.load(), terminal_console()
    spare = divide_cpus()
    bundle = find_bundle(given)
    checkpoint = find_checkpoint(bundle, given.checkpoint)
    chosen = given.only
    loader = Loader(spare)
    console.print(
        f"{bundle.manifest.version}: {', '.join(chosen)}; about {_minutes(chosen, given.seconds, given.rounds)} minutes"
    )
    if not spare:
        console.print("The load generator shares the two CPUs with the server under test.")
    target = given.json or layout.var / "bench" / "api.json"
    outcomes: dict[str, Outcome] = {}
    started = time.monotonic()
    with TerminalProgress(console) as terminal:
        terminal.begin("Texts")
        texts = Texts(read_tweets(layout))
        bench = Bench(
            bundle, checkpoint, texts, layout.var / "bench", terminal, loader, seconds=given.seconds, rounds=given.rounds
        )
        with bench:
            if WITH_PEERS & set(chosen):
                terminal.begin("Peers, each with every setting")
                bench.all_servers()
            for name in chosen:
                terminal.begin(name)
                outcomes[name] = sections[name](bench)
        terminal.finish()
    show(console, outcomes)
    write_report(target, "The API, measured", _about(bench, time.monotonic() - started), outcomes)
    console.print(f"Numbers: {target}", highlight=False, soft_wrap=True)
    if curves := next((one.curves for one in outcomes.values() if one.curves), None):
        console.print(f"Curves: {plot_curves(curves, target.with_suffix('.png'))}", highlight=False, soft_wrap=True)


def _arguments() -> argparse.Namespace:
    made = parser("api", "The service under load, and peers.", sections, rounds=3)
    made.add_argument("--seconds", type=float, default=10, help="seconds per measurement (default 10)")
    return made.parse_args()


def _minutes(chosen: list[str], seconds: float, rounds: int) -> int:
    turns = sum(TURNS.get(name, 4) for name in chosen)
    trials = sum(map(len, SETTINGS.values())) * _TRIAL_S if WITH_PEERS & set(chosen) else 0
    return 1 + round((rounds * turns * (seconds + _AROUND_S) + trials) / 60)


def _about(bench: Bench, took_s: float) -> dict[str, Any]:
    return {
        "bundle": bench.bundle.manifest.version,
        "seconds": bench.seconds,
        "rounds": bench.rounds,
        "took_s": round(took_s),
        "trials": bench.trials,
        "left_out": bench.missing,
    }


if __name__ == "__main__":
    run(main)
