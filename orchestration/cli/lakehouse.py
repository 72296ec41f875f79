"""The commands of `groundswell lakehouse`. Heavy imports are deferred until their command runs."""

import re
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.table import Table

from orchestration.cli.output import AsJson, console, print_json

if TYPE_CHECKING:
    from serving.bundle import Bundle
    from serving.forgetting.everywhere import Outcome

lakehouse_app = typer.Typer(
    help=(
        "Build Delta tables with Spark: Bronze (raw), Silver (clean, deduplicated), Gold (classified). "
        "[bold]run --once --source folder[/] fills them, [bold]views[/] summarizes Gold, [bold]status[/] checks the counts."
    ),
    no_args_is_help=True,
    rich_markup_mode="rich",
)

Source = Annotated[
    str | None, typer.Option(help="A folder or s3a://bucket/path with files of JSON lines, or kafka: the stream's topic.")
]
Since = Annotated[datetime, typer.Option(help="First event time, UTC.", formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"])]
Until = Annotated[
    datetime, typer.Option(help="End of the event times (exclusive), UTC.", formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"])
]


@lakehouse_app.command(epilog="Example: groundswell lakehouse run --once --source /your/tweets")
def run(
    source: Source = None,
    once: Annotated[bool, typer.Option("--once", help="Process all current records, then return.")] = False,
    every: Annotated[str, typer.Option(help="Time between two batches, such as 30s or 5m; 0s: no pause.")] = "60s",
    classify_with: Annotated[Literal["bundle", "api"] | None, typer.Option(help="The bundle, or the HTTP API.")] = None,
) -> None:
    """Fill the three layers: once, or until Ctrl-C, which lets the running batch finish. Running it again resumes."""
    from orchestration.layout import Layout
    from orchestration.local.spark import require_source
    from orchestration.steps.forgetting import forget_pending
    from orchestration.steps.lakehouse import open_to_fill, root
    from serving.lakehouse.run import run_once, run_until_stopped
    from serving.settings import LakehouseSettings

    every_s, given = seconds(every), {"source": source, "classify_with": classify_with}
    layout, checked = Layout.load(), require_source(LakehouseSettings.load(**given))

    def on_batch(stage: str, progress: dict[str, Any]) -> None:
        console.print(_batch_line(stage, progress), highlight=False)

    with open_to_fill(layout, on_batch, console, **given) as lake:
        if once:
            run_once(lake, checked)
        else:
            from serving.processes import stop_on_signals

            stop = stop_on_signals()
            pace = f"a batch every {every_s:g} s" if every_s else "batch after batch"
            console.print(f"Reading {checked}, {pace}; Ctrl-C stops after the running batch.", highlight=False)
            run_until_stopped(lake, checked, every_s=every_s, stop=stop)
            console.print("Stopped; run the same command to resume.")
    _show_forgotten(forget_pending(layout, root(layout)))


@lakehouse_app.command(epilog="Example: groundswell lakehouse demo")
def demo() -> None:
    """Send raw tweets with the faults of real dumps through all layers, in a separate folder (var/demo-lakehouse)."""
    from orchestration.demo.lakehouse import run_demo

    run_demo(console)


@lakehouse_app.command(epilog="Example: groundswell lakehouse status")
def status(as_json: AsJson = False) -> None:
    """Show the tables, whether their counts match, and why records were rejected. Needs no Spark; works while a run is active."""
    from orchestration.layout import Layout
    from serving.lakehouse.paths import lakehouse_root
    from serving.lakehouse.status import read_status

    found = read_status(lakehouse_root(Layout.load().var))
    if as_json:
        print_json(asdict(found))
        return
    table = Table("table", "rows", "files", "MiB", "version", "written", box=None, header_style="dim", title=found.root)
    for row in found.tables:
        size = f"{row.bytes / 2**20:.1f}"
        table.add_row(row.layer, f"{row.rows:,}", f"{row.files:,}", size, str(row.version), f"{row.written_at:%Y-%m-%d %H:%M:%S}")
    console.print(table)
    rejected = ", ".join(f"{reason} {count:,}" for reason, count in found.reasons.items()) or "none"
    console.print(f"Rejected: {rejected}", highlight=False)
    versions = ", ".join(f"{name} {count:,}" for name, count in found.versions.items()) or "no version"
    console.print(f"Classified by: {versions}", highlight=False)
    if found.behind_silver or found.behind_gold:
        console.print(
            f"Pending: {found.behind_silver:,} records for Silver, {found.behind_gold:,} rows for Gold.", highlight=False
        )
    else:
        bronze = f"Bronze + {found.forgotten:,} deleted old records" if found.forgotten else "Bronze"
        console.print(f"{bronze} = Silver + rejected, Gold = Silver: every record is accounted for.", highlight=False)


@lakehouse_app.command(epilog="Example: groundswell lakehouse backfill --since 2026-11-01 --until 2026-11-08 --version staging")
def backfill(
    since: Since,
    until: Until,
    version: Annotated[
        str | None, typer.Option(help="production, previous, staging, or a version in var/bundles; default: what is served now.")
    ] = None,
) -> None:
    """Classify a time range of Gold with another version while the stream runs.

    Readers see the predictions of the served version; those of any other version are only stored, for `compare`.
    """
    from orchestration.local.spark import lakehouse
    from orchestration.progress import TerminalProgress, begin, listening, report
    from serving.bundle import served_bundle
    from serving.lakehouse.rescore import rescore

    bundle = _bundle_of(version)
    current = served_bundle().manifest.version == bundle.manifest.version
    first, end = since.replace(tzinfo=UTC), until.replace(tzinfo=UTC)
    with lakehouse(console) as lake, TerminalProgress(console) as terminal, listening(terminal):
        begin(f"Classify with {bundle.manifest.version}")
        added = rescore(lake.spark, lake.root, bundle, since=first, until=end, make_current=current, on_day=report)
    console.print(f"{added:,} rows were classified; rows that already had this version's prediction keep it.", highlight=False)


@lakehouse_app.command(epilog="Example: groundswell lakehouse compare --versions minilm-a minilm-b")
def compare(
    versions: Annotated[tuple[str, str], typer.Option(help="Two versions with predictions in Gold.")],
    limit: Annotated[int, typer.Option(help="Maximum number of rows with the largest changes.", min=1)] = 20,
) -> None:
    """Show what changed from one version to another, on the rows that both classified."""
    from orchestration.local.spark import lakehouse
    from orchestration.terminal.lakehouse_tables import show_comparison
    from serving.lakehouse.compare import summarize
    from serving.lakehouse.errors import translate_spark_errors
    from serving.lakehouse.paths import table

    with lakehouse(console) as lake, translate_spark_errors(lake.root):
        gold = lake.spark.read.format("delta").load(table(lake.root, "gold"))
        comparison = summarize(gold, *versions, largest=limit)
    show_comparison(console, comparison)


@lakehouse_app.command(epilog="Example: groundswell lakehouse views --plots plots")
def views(
    names: Annotated[list[str] | None, typer.Argument(help="Names of views; default: one of each kind.")] = None,
    plots: Annotated[Path | None, typer.Option(help="Write plots into this folder.")] = None,
    version: Annotated[int | None, typer.Option(help="Version of the Gold table to read; default: newest.", min=0)] = None,
) -> None:
    """Summarize Gold: sentiment over time, languages, mentions, trending hashtags, volume."""
    from orchestration.local.spark import lakehouse
    from orchestration.terminal.lakehouse_plots import plot_views
    from orchestration.terminal.lakehouse_tables import collect_views, show_views
    from serving.lakehouse.errors import translate_spark_errors
    from serving.lakehouse.paths import table

    with lakehouse(console) as lake, translate_spark_errors(lake.root):
        reader = lake.spark.read.format("delta")
        gold = (reader if version is None else reader.option("versionAsOf", version)).load(table(lake.root, "gold"))
        collected = collect_views(gold, names)
    show_views(console, collected)
    if plots:
        for path in plot_views(collected, plots):
            console.print(f"wrote {path}", highlight=False)


@lakehouse_app.command(epilog="Example: groundswell lakehouse maintain")
def maintain() -> None:
    """Merge small files, remove files that no recent version needs, and delete Bronze records past their retention."""
    from orchestration.layout import Layout
    from orchestration.local.spark import lakehouse
    from orchestration.steps.forgetting import forget_pending
    from serving.lakehouse.forgotten import unpurged
    from serving.lakehouse.maintain import maintain as maintain_tables

    with lakehouse(console) as lake:
        _show_forgotten(forget_pending(Layout.load(), lake.root))
        maintained = maintain_tables(lake.spark, lake.root, lake.settings)
        old = unpurged(lake.root)
    table = Table("table", "files before", "after", "MiB", "deleted records", box=None, header_style="dim")
    for row in maintained:
        table.add_row(row.layer, str(row.files_before), str(row.files_after), f"{row.bytes / 2**20:.1f}", f"{row.forgotten:,}")
    console.print(table)
    if old is not None:
        console.print("Old versions still hold forgotten messages: stop the run of the streams, then run this command again.")


def seconds(text: str) -> float:
    """Convert `90`, `30s`, `5m` or `1h` to seconds.

    Raises:
        SettingsError: The text has another format.
    """
    from data.errors import SettingsError

    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smh]?)", text.strip())
    if not found:
        raise SettingsError("Invalid duration.", found=text, expected="a value such as 30s, 5m or 1h; 0s: no pause")
    return float(found[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[found[2]]


def _show_forgotten(outcome: "Outcome | None") -> None:
    """Print what notices have removed from all stores, if there were any."""
    if outcome is None:
        return
    rows = sum(count for removed in outcome.removed.values() for count in removed.values())
    console.print(f"Forgotten, as notices ask: {len(outcome.requests):,} messages and authors, {rows:,} rows.", highlight=False)
    if not outcome.done:
        places = ", ".join((*outcome.left, *outcome.failed))
        console.print(f"[red]Something is left in {places}:[/] run `groundswell forget`.", highlight=False)


def _batch_line(stage: str, progress: dict[str, Any]) -> str:
    took = progress["durationMs"].get("triggerExecution", 0) / 1000
    return f"{progress['timestamp'][11:19]}  {stage:<7} batch {progress['batchId']:>4}  {took:6.1f} s"


def _bundle_of(version: str | None) -> "Bundle":
    """Return the bundle of a version or registry alias; None: the served one.

    Raises:
        BundleError: The bundle does not exist or is damaged.
    """
    from orchestration.layout import Layout
    from serving.bundle import alias_bundle, read_bundle, served_bundle

    layout = Layout.load()
    if version is None:
        return served_bundle()
    if version in {"production", "previous", "staging"}:
        return alias_bundle(layout.var, version)
    return read_bundle(layout.bundles / version)
