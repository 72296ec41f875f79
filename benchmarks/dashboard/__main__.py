"""`make bench-dashboard`: the dashboard under load, with many viewers, and its panels on many rows.

The numbers are written to `var/bench/dashboard.json` and `.md`.
"""

import argparse
import shutil

from benchmarks.dashboard import page, panels, viewers
from benchmarks.dashboard.load import Load
from benchmarks.harness.arguments import find_bundle, parser, run
from benchmarks.harness.processes import end_on_sigterm
from benchmarks.harness.report import show, write_report
from orchestration.layout import Layout
from orchestration.progress import TerminalProgress, terminal_console

SECTIONS = ("page", "viewers", "panels")
RATE = 1_000.0


def main() -> None:
    """Measure the requested sections; print and write the results."""
    given = _arguments()
    end_on_sigterm()
    layout, console = Layout.load(), terminal_console()
    bundle = find_bundle(given)
    home = layout.var / "bench" / "dashboard-run"
    chosen, outcomes = given.only, {}
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
    about = {"bundle": bundle.manifest.version, "seconds": given.seconds, "rounds": given.rounds}
    write_report(given.json or layout.var / "bench" / "dashboard.json", "The dashboard, measured", about, outcomes)
    show(console, outcomes)


def _arguments() -> argparse.Namespace:
    made = parser("dashboard", "The dashboard under load, with viewers and many rows.", SECTIONS, rounds=3, checkpoint=False)
    made.add_argument("--seconds", type=float, default=60, help="seconds per measurement of the page (default 60)")
    made.add_argument("--viewers", type=int, default=200, help="viewers at the same time (default 200)")
    made.add_argument(
        "--rows", type=int, default=100_000_000, help="rows under the panels (default 100 million: 6 minutes and 6 GB once)"
    )
    return made.parse_args()


if __name__ == "__main__":
    run(main)
