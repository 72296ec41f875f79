"""`groundswell lakehouse`. Heavy imports wait until their command runs."""

import re
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.table import Table

from orchestration.progress import terminal_console

lakehouse_app = typer.Typer(
    help=(
        "Records to Delta tables with Spark: Bronze as they came, Silver clean and once, Gold judged. "
        "[bold]run --once --source folder[/] makes them, [bold]views[/] shows what they say, [bold]status[/] whether they add up."
    ),
    no_args_is_help=True,
    rich_markup_mode="rich",
)
console = terminal_console()

AsJson = Annotated[bool, typer.Option("--json", help="Print plain JSON and nothing else.")]
Source = Annotated[
    str | None, typer.Option(help="A folder or s3a://bucket/path with files of JSON lines, or kafka: the stream's topic.")
]
Since = Annotated[datetime, typer.Option(help="From this event time on, UTC.", formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"])]
Until = Annotated[datetime, typer.Option(help="Before this event time, UTC.", formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"])]


@lakehouse_app.command(epilog="Example: groundswell lakehouse run --once --source /your/tweets")
def run(
    source: Source = None,
    once: Annotated[bool, typer.Option("--once", help="Read what is there now, and return.")] = False,
    every: Annotated[str, typer.Option(help="How often a batch begins, such as 30s or 5m; 0s: one after the other.")] = "60s",
    judge: Annotated[Literal["bundle", "api"] | None, typer.Option(help="Who judges: the bundle here, or the HTTP API.")] = None,
) -> None:
    """Fill the three layers: once, or until Ctrl-C, which lets the running batch finish. Run again, it goes on."""
    from orchestration.lakehouse import run as run_lakehouse

    run_lakehouse(console, once=once, every_s=seconds(every), source=source, judge=judge)


@lakehouse_app.command(epilog="Example: groundswell lakehouse demo")
def demo() -> None:
    """Watch raw tweets with the faults of real dumps go through all layers, in a folder of their own (var/demo-lakehouse)."""
    from orchestration.demo_lakehouse import run_demo

    run_demo(console)


@lakehouse_app.command(epilog="Example: groundswell lakehouse status")
def status(as_json: AsJson = False) -> None:
    """Show the tables, whether they add up, and why records went aside. Without Spark, also while it runs."""
    from orchestration.layout import Layout
    from serving.lakehouse.paths import root_of
    from serving.lakehouse.status import read_status

    found = read_status(root_of(Layout.load().var))
    if as_json:
        _print_json(found)
        return
    table = Table("table", "rows", "files", "MiB", "version", "written", box=None, header_style="dim", title=found.root)
    for row in found.tables:
        size = f"{row.bytes / 2**20:.1f}"
        table.add_row(row.layer, f"{row.rows:,}", f"{row.files:,}", size, str(row.version), f"{row.written_at:%Y-%m-%d %H:%M:%S}")
    console.print(table)
    aside = ", ".join(f"{reason} {count:,}" for reason, count in found.reasons.items()) or "none"
    console.print(f"Aside: {aside}", highlight=False)
    console.print(
        f"Judged by: {', '.join(f'{name} {count:,}' for name, count in found.versions.items()) or 'nobody'}", highlight=False
    )
    if found.behind_silver or found.behind_gold:
        console.print(
            f"Not settled yet: {found.behind_silver:,} records, {found.behind_gold:,} rows not judged.", highlight=False
        )
    else:
        bronze = f"Bronze and {found.forgotten:,} old records that it forgot" if found.forgotten else "Bronze"
        console.print(f"{bronze} = Silver + aside, Gold = Silver: every record is accounted for.", highlight=False)


@lakehouse_app.command(epilog="Example: groundswell lakehouse backfill --since 2026-11-01 --until 2026-11-08 --version staging")
def backfill(
    since: Since,
    until: Until,
    version: Annotated[
        str | None, typer.Option(help="production, previous, staging, or a version in var/bundles; default: what is served now.")
    ] = None,
) -> None:
    """Judge a time range of Gold with another version, while the stream goes on.

    The served version's answers become those that readers see; any other version's are added beside them, for `compare`.
    """
    from orchestration.lakehouse import backfill as run_backfill

    added = run_backfill(console, since=since.replace(tzinfo=UTC), until=until.replace(tzinfo=UTC), version=version)
    console.print(f"{added:,} rows were judged; those that this version knew keep its answer.", highlight=False)


@lakehouse_app.command(epilog="Example: groundswell lakehouse compare --versions minilm-a minilm-b")
def compare(
    versions: Annotated[tuple[str, str], typer.Option(help="Two versions that Gold holds answers of.")],
    limit: Annotated[int, typer.Option(help="Rows that changed most.", min=1)] = 20,
) -> None:
    """Show what changed from one version to another, on the rows that both have judged."""
    from orchestration.lakehouse import lakehouse
    from orchestration.lakehouse_view import show_comparison
    from serving.lakehouse.compare import summarize
    from serving.lakehouse.errors import explained
    from serving.lakehouse.paths import table

    with lakehouse(console) as lake, explained(lake.root):
        gold = lake.spark.read.format("delta").load(table(lake.root, "gold"))
        comparison = summarize(gold, *versions, largest=limit)
    show_comparison(console, comparison)


@lakehouse_app.command(epilog="Example: groundswell lakehouse views --plots plots")
def views(
    names: Annotated[list[str] | None, typer.Argument(help="Which; default: one of each kind.")] = None,
    plots: Annotated[Path | None, typer.Option(help="Draw them into this folder.")] = None,
    version: Annotated[int | None, typer.Option(help="Of the table: as Gold was then.", min=0)] = None,
) -> None:
    """Show what Gold says: sentiment over time, languages, mentions, hashtags that swing, volume."""
    from orchestration.lakehouse import lakehouse
    from orchestration.lakehouse_view import collect_views, plot_views, show_views
    from serving.lakehouse.errors import explained
    from serving.lakehouse.paths import table

    with lakehouse(console) as lake, explained(lake.root):
        reader = lake.spark.read.format("delta")
        gold = (reader if version is None else reader.option("versionAsOf", version)).load(table(lake.root, "gold"))
        collected = collect_views(gold, names)
    show_views(console, collected)
    if plots:
        for path in plot_views(collected, plots):
            console.print(f"drawn: {path}", highlight=False)


@lakehouse_app.command(epilog="Example: groundswell lakehouse maintain")
def maintain() -> None:
    """Merge small files, remove what no recent version needs, and let Bronze forget what is older than it is kept."""
    from orchestration.lakehouse import lakehouse
    from serving.lakehouse.maintain import maintain as maintain_tables

    with lakehouse(console) as lake:
        kept = maintain_tables(lake.spark, lake.root, lake.settings)
    table = Table("table", "files before", "after", "MiB", "forgotten", box=None, header_style="dim")
    for row in kept:
        table.add_row(row.layer, str(row.files_before), str(row.files_after), f"{row.bytes / 2**20:.1f}", f"{row.forgotten:,}")
    console.print(table)


def seconds(text: str) -> float:
    """`90`, `30s`, `5m` or `1h` in seconds.

    Raises:
        SettingsError: It is none of these.
    """
    from data.errors import SettingsError

    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smh]?)", text.strip())
    if not found:
        raise SettingsError("That is no length of time.", found=text, expected="such as 30s, 5m or 1h; 0s: without a pause")
    return float(found[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[found[2]]


def _print_json(value: Any) -> None:
    import dataclasses
    import json

    sys.stdout.write(json.dumps(dataclasses.asdict(value), default=str, ensure_ascii=False) + "\n")
