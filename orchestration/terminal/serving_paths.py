"""`groundswell reconcile`: the serving paths in a terminal."""

from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from orchestration.layout import Layout
from orchestration.progress import listening, one_step
from orchestration.steps.serving_paths.compare import PathReconciliation
from orchestration.steps.serving_paths.run import choose_paths, differences, reconcile_paths
from orchestration.terminal.typed import as_typed
from serving.bundle import production_bundle, read_bundle

MAX_SHOWN = 10
"""Differences of a path that are printed; the report has more."""
_STYLES = {"reference": "", "equal": "green", "different": "red", "failed": "red", "skipped": "yellow"}


def reconcile(*, bundle: Path | None, rows: int, paths: str | None, console: Console) -> PathReconciliation:
    """Send texts through the paths.

    Args:
        bundle: A bundle folder; None: the production bundle.
        rows: Number of texts.
        paths: A comma-separated list; None: all.
        console: Draws the progress.

    Raises:
        BundleError: There is no bundle, or it is damaged.
        SettingsError: A path is unknown.
        DataError: There are no texts.
    """
    layout, chosen = Layout.load(), choose_paths(paths)
    opened = read_bundle(bundle) if bundle else production_bundle(layout.var)
    with one_step(console, f"Send {rows:,} texts through {len(chosen)} paths") as progress:
        assert progress is not None
        with listening(progress):
            return reconcile_paths(layout, opened, rows=rows, paths=chosen)


def show(console: Console, result: PathReconciliation) -> None:
    """Print the paths as a table, the first differences of each, and where the report is."""
    table = Table("path", "state", "outcomes", "refused", "differences", "largest gap", "s", "", box=None, header_style="dim")
    for path in result.paths:
        numbers = (f"{path.rows:,}", f"{path.refused:,}", differences(path), f"{path.largest_gap:.6f}", f"{path.seconds:g}")
        if path.state in ("skipped", "failed"):
            numbers = ("",) * len(numbers)
        by = escape(", ".join((*path.models, *path.tiers)))
        style = _STYLES[path.state]
        state = f"[{style}]{path.state}[/]" if style else path.state
        table.add_row(path.name, state, *numbers, escape(path.note) if not numbers[0] else by)
    console.print(table)
    for path in result.paths:
        for one in path.listed[:MAX_SHOWN]:
            line = f"{path.name}, {one.kind}, row {one.row} ({one.domain or 'no domain'}): {one.of_reference} ≠ {one.of_path}"
            console.print(f"  {escape(as_typed(line))} [dim]{escape(one.text)}[/]", highlight=False, soft_wrap=True)
    if not result.compared:
        console.print("No two paths have outcomes: nothing was compared.")
    console.print(f"The report is in {Layout.load().reconciliation}.", highlight=False, soft_wrap=True)
