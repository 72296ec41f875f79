"""`make bench-api`: the service under load compared with named peers, all measured in one run.

All servers get the same two CPUs, the same texts and the same model; the FastAPI peer runs the model in float32 torch, as its
documentation shows. Texts do not repeat, so our cache has no hits, except in the section that measures the cache. The numbers are
written to `var/bench/api.json`, the curves to `api.png` in the same folder.
"""

import argparse
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.api.bench import Bench, Outcome
from benchmarks.api.load import Loader
from benchmarks.api.plots import plot_curves
from benchmarks.api.sections import closed64, duplicates, lambda_handler, open_loop, sizes
from benchmarks.api.servers import divide_cpus
from benchmarks.api.systems import SETTINGS
from benchmarks.api.texts import Texts, read_tweets
from data.artifacts import write_json
from data.errors import BundleError, GroundswellError
from data.settings_registry import check_settings
from orchestration.layout import Layout
from orchestration.progress import TerminalProgress, print_error, terminal_console
from orchestration.runs import silence_libraries
from serving.bundle import production_bundle, read_bundle

sections: dict[str, Callable[[Bench], Outcome]] = {
    "closed64": closed64.measure,
    "open": open_loop.measure,
    "sizes": sizes.measure,
    "duplicates": duplicates.measure,
    "lambda": lambda_handler.measure,
}
TURNS = {"closed64": 4, "open": 16, "sizes": 5, "duplicates": 4, "lambda": 2}
"""Measurements per round, for the estimated duration."""
WITH_PEERS = {"closed64", "open"}
_AROUND_S, _TRIAL_S = 3, 20


def main() -> None:
    """Measure the requested sections; print and write the results."""
    given = _arguments()
    # Set before the first tokenizer is loaded: the classifier that servers are compared with uses tokenizer threads too.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    silence_libraries()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the servers are stopped
    layout, console = Layout.load(), terminal_console()
    spare = divide_cpus()
    bundle = read_bundle(given.bundle) if given.bundle else production_bundle(layout.var)
    checkpoint = given.checkpoint or bundle.directory.resolve().parents[1] / "candidates" / bundle.manifest.name / "checkpoint"
    if not (checkpoint / "config.json").is_file():
        raise BundleError(
            f"No checkpoint for {bundle.manifest.version}.",
            found=checkpoint,
            remedy="Name the folder it was exported from: --checkpoint DIR",
        )
    chosen = given.only or list(sections)
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
    for name, outcome in outcomes.items():
        show(console, name, outcome)
    write_json(target, _report(bench, outcomes, time.monotonic() - started))
    console.print(f"Numbers: {target}", highlight=False, soft_wrap=True)
    if curves := next((one.curves for one in outcomes.values() if one.curves), None):
        console.print(f"Curves: {plot_curves(curves, target.with_suffix('.png'))}", highlight=False, soft_wrap=True)


def show(console: Console, name: str, outcome: Outcome) -> None:
    """Print the section's table, its goals with their spread, and its notes."""
    table = Table(*outcome.columns, title=f"\n{name}", title_justify="left", box=None, header_style="dim")
    for row in outcome.rows:
        table.add_row(*row)
    console.print(table)
    goals = Table("", "measured [lowest, highest]", "goal", "", box=None, header_style="dim")
    for goal in outcome.goals:
        mark = {None: "", True: "[green]✓[/]", False: "[red]✗[/]"}[goal.reached]
        goals.add_row(goal.what, goal.measured(), goal.required(), mark)
    if outcome.goals:
        console.print(goals)
    for note in outcome.notes:
        console.print(f"[dim]{note}[/]", highlight=False)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.api", description="The service under load, and peers.")
    parser.add_argument("--bundle", type=Path, help="bundle to serve (default: the production model's)")
    parser.add_argument("--checkpoint", type=Path, help="checkpoint it was exported from (default: that of the candidate's name)")
    parser.add_argument("--seconds", type=float, default=10, help="seconds per measurement (default 10)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds (default 3)")
    parser.add_argument("--only", nargs="+", choices=list(sections), metavar="NAME", help=f"sections: {', '.join(sections)}")
    parser.add_argument("--json", type=Path, help="file for the numbers (default var/bench/api.json)")
    return parser.parse_args()


def _minutes(chosen: list[str], seconds: float, rounds: int) -> int:
    turns = sum(TURNS.get(name, 4) for name in chosen)
    trials = sum(map(len, SETTINGS.values())) * _TRIAL_S if WITH_PEERS & set(chosen) else 0
    return 1 + round((rounds * turns * (seconds + _AROUND_S) + trials) / 60)


def _report(bench: Bench, outcomes: dict[str, Outcome], took_s: float) -> dict[str, Any]:
    from benchmarks.models import _machine

    return {
        "machine": _machine(),
        "bundle": bench.bundle.manifest.version,
        "seconds": bench.seconds,
        "rounds": bench.rounds,
        "took_s": round(took_s),
        "trials": bench.trials,
        "left_out": bench.missing,
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


if __name__ == "__main__":
    try:
        check_settings()
        main()
    except GroundswellError as error:
        sys.exit(print_error(terminal_console(), error))
