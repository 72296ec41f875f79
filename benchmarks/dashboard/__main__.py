"""`make bench-dashboard`: the dashboard under load, with many viewers, and its panels on many rows.

The numbers are written to `var/bench/dashboard.json` and `.md`.
"""

import argparse
import shutil
import sys
from pathlib import Path

from benchmarks.api.__main__ import show
from benchmarks.api.bench import Outcome
from benchmarks.dashboard import page, panels, viewers
from benchmarks.dashboard.load import Load
from benchmarks.models import _machine
from benchmarks.stream.programs import end_on_sigterm
from benchmarks.stream.report import markdown
from data.artifacts import write_json, write_text
from data.errors import GroundswellError
from data.settings_registry import check_settings
from orchestration.layout import Layout
from orchestration.progress import TerminalProgress, print_error, terminal_console
from orchestration.runs import silence_libraries
from serving.bundle import read_bundle, served_bundle

SECTIONS = ("page", "viewers", "panels")
RATE = 1_000.0


def main() -> None:
    """Measure the requested sections; print and write the results."""
    given = _arguments()
    silence_libraries()
    end_on_sigterm()
    layout, console = Layout.load(), terminal_console()
    bundle = read_bundle(given.bundle) if given.bundle else served_bundle()
    home = layout.var / "bench" / "dashboard-run"
    chosen, outcomes = given.only or list(SECTIONS), {}
    with TerminalProgress(console) as terminal:
        if {"page", "viewers"} & {*chosen}:
            shutil.rmtree(home, ignore_errors=True)
            terminal.begin("Page and viewers")
            with Load(bundle, home, RATE, terminal) as load:
                if "page" in chosen:
                    outcomes["page"] = page.measure(load, given.seconds, given.rounds)
                if "viewers" in chosen:
                    outcomes["viewers"] = viewers.measure(
                        load, load.service, given.viewers, min(20.0, given.seconds), given.rounds
                    )
            shutil.rmtree(home, ignore_errors=True)
        if "panels" in chosen:
            terminal.begin(f"Panels on {given.rows:,} rows")
            outcomes["panels"] = panels.measure(layout.var / "bench" / f"rows-{given.rows}", given.rows, 50, terminal)
        terminal.finish()
    _write(layout.var / "bench" / "dashboard.json", outcomes)
    for name, outcome in outcomes.items():
        show(console, name, outcome)


def _write(target: Path, outcomes: dict[str, Outcome]) -> None:
    machine = _machine()
    sections = {
        name: {"goals": [goal.to_dict() for goal in one.goals], "columns": one.columns, "rows": one.rows, "raw": one.raw}
        for name, one in outcomes.items()
    }
    write_json(target, {"machine": machine, "sections": sections})
    write_text(target.with_suffix(".md"), markdown("The dashboard, measured", outcomes, machine))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.dashboard", description="The dashboard.")
    parser.add_argument("--bundle", type=Path, help="bundle to serve (default: the production model's)")
    parser.add_argument("--seconds", type=float, default=60, help="seconds per measurement of the page (default 60)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of page and viewers (default 3)")
    parser.add_argument("--viewers", type=int, default=200, help="viewers at the same time (default 200)")
    parser.add_argument(
        "--rows", type=int, default=100_000_000, help="rows under the panels (default 100 million: 6 minutes and 6 GB once)"
    )
    parser.add_argument("--only", nargs="+", choices=SECTIONS, metavar="NAME", help=f"sections: {', '.join(SECTIONS)}")
    return parser.parse_args()


if __name__ == "__main__":
    try:
        check_settings()
        main()
    except GroundswellError as error:
        sys.exit(print_error(terminal_console(), error))
