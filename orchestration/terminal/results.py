"""Tables of what a run made: splits, leaderboard, export variants, gate decision."""

from dataclasses import astuple
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from orchestration.layout import Layout


def show_data(console: Console) -> None:
    """Print the rows by dataset and split, and the removed rows by reason."""
    from rich.table import Table

    from orchestration.steps.data import read_splits

    splits = read_splits(Layout.load())
    table = Table("dataset", "train", "val", "test", box=None, header_style="dim")
    for name in sorted({key.split("/")[0] for key in splits.rows}):
        table.add_row(name, *(f"{splits.rows.get(f'{name}/{split}', 0):,}" for split in ("train", "val", "test")))
    console.print(table)
    removed = ", ".join(f"{reason} {count:,}" for reason, count in splits.counts.items() if count)
    console.print(f"[dim]removed:[/] {removed or 'nothing'}", highlight=False)
    for line in splits.reading:
        console.print(f"[dim]read:[/] {escape(line)}", highlight=False)
    for notice in splits.notices:
        console.print(f"[yellow]{escape(notice)}[/]")


def show_leaderboard(console: Console) -> None:
    """Print the last benchmark as a table."""
    from evaluation.leaderboard import as_table
    from evaluation.published import PUBLISHED
    from orchestration.steps.evaluation import read_leaderboard, read_published

    layout = Layout.load()
    console.print(as_table(read_leaderboard(layout)))
    if published := read_published(layout):
        figures = ", ".join(f"{one.model} {one.value:.1f} ({one.metric}, {one.dataset})" for one in published)
        console.print(f"[dim]{PUBLISHED}:[/] {escape(figures)}", highlight=False)
    console.print(f"[dim]{_shown(layout.leaderboard / 'leaderboard.html')}[/]")


def show_transfer(console: Console) -> None:
    """Print the domain-transfer matrix as a table."""
    from rich.table import Table

    from orchestration.steps.transfer import read_transfer

    layout = Layout.load()
    found = read_transfer(layout)
    title = f"Macro-recall of {found.candidate}, learned from (row) on (column)"
    table = Table("learned from", *found.domains, box=None, header_style="dim", title=title, title_justify="left")
    for learned in found.learned:
        table.add_row(learned, *(found.at(learned, domain).macro_recall.text() for domain in found.domains))
    console.print(table)
    console.print(f"[dim]{_shown(layout.transfer / 'transfer.md')}[/]")


def show_export_variants(console: Console) -> None:
    """Print the variants of the last export."""
    from rich.table import Table

    from orchestration.steps.export import read_export_report

    report = read_export_report(Layout.load())
    columns = ["variant", "CPU µs/text", "× torch", "× previous", "flips /10k", "batch flips", "Δ macro-recall", "MB", "parity"]
    title = f"{report.candidate}: {report.mode}"
    table = Table(*columns, box=None, header_style="dim", title=title, title_justify="left")
    for row in report.rows:
        mark = "[bold]" if row.name == report.chosen else ""
        table.add_row(
            f"{mark}{row.name}{' ←' if mark else ''}",
            f"{row.cpu_us:,.0f}",
            f"{row.speed_up:.2f}",
            f"{row.step_speed_up:.2f}" if row.step_speed_up else "",
            f"{row.flips_per_10000:.0f}",
            f"{100 * row.batch.flips:.1f} %" if row.batch else "",
            "{:+.2f} [{:+.2f}, {:+.2f}]".format(*(100 * x for x in astuple(row.recall_difference))),
            f"{row.file_bytes / 1e6:.0f}" if row.file_bytes else "",
            "[red]no[/]" if row.reasons else "[green]yes[/]",
        )
    console.print(table)
    _show_tiers(console, report.left_out)


def _show_tiers(console: Console, left_out: dict[str, str]) -> None:
    """Print the operating points of the last bundle, and the students that are no tier of it."""
    from rich.table import Table

    from orchestration.steps.export import current_bundle
    from serving.tiers import auto_point

    manifest = current_bundle(Layout.load()).manifest
    if manifest.points:
        columns = ["tier", "base below", "share by base", "CPU µs/text", "validation", "test", ""]
        table = Table(*columns, box=None, header_style="dim", title="macro-recall against CPU", title_justify="left")
        auto = auto_point(manifest.points)
        for point in manifest.points:
            table.add_row(
                point.tier,
                f"{point.threshold:.3f}" if point.threshold else "–",
                f"{100 * point.escalated:.0f} %",
                f"{point.cpu_us or 0:,.0f}",
                f"{100 * (point.macro_recall or 0):.1f}",
                "{value:.1f} [{low:.1f}, {high:.1f}]".format(
                    **{name: 100 * value for name, value in (point.test_macro_recall or {}).items()}
                ),
                "← auto" if point == auto else "",
            )
        console.print(table)
    for name, why in left_out.items():
        console.print(f"[dim]{escape(name)} is no tier: {escape(why)}[/]", highlight=False)


def show_gate_decision(console: Console) -> None:
    """Print the last decision of the promotion gate, with every reason."""
    from orchestration.steps.release import read_gate_decision

    decision = read_gate_decision(Layout.load())
    console.print(f"gate: [bold]{'[green]passed' if decision.passed else '[red]refused'}[/][/]")
    if decision.unchanged:
        console.print(f"  {decision.bundle} is in production already; the decision that promoted it:", highlight=False)
    for reason in decision.reasons:
        console.print(f"  {'[green]✓[/]' if reason.passed else '[red]✗[/]'} {reason.text}", highlight=False)


def _shown(path: Path) -> Path:
    """Return the path relative to the working directory where it is inside of it."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
