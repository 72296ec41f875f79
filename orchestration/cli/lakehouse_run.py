"""Implement `groundswell lakehouse`: Spark on this machine, the streams, and backfills."""

from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from rich.console import Console

from orchestration.layout import Layout
from orchestration.local.spark import lakehouse, require_source
from orchestration.progress import report
from orchestration.steps.forgetting import forget_pending
from serving.bundle import Bundle, alias_bundle, read_bundle, served_bundle
from serving.forgetting import pending
from serving.lakehouse.locks import exclusive_run
from serving.lakehouse.paths import lakehouse_root
from serving.settings import LakehouseSettings

if TYPE_CHECKING:
    from serving.forgetting.everywhere import Outcome


def run(console: Console, *, once: bool, every_s: float, **settings: Any) -> None:
    """Run the streams: once, or until Ctrl-C or SIGTERM."""
    from serving.lakehouse.run import run_once, run_until_stopped

    given = LakehouseSettings.load(**settings)
    source = require_source(given)
    if given.classify_with == "bundle":
        served_bundle()  # reports a missing or damaged bundle before Spark starts
    layout = Layout.load()
    root = lakehouse_root(layout.var, given)
    with exclusive_run(root), lakehouse(console, **settings) as opened:
        lake = replace(
            opened,
            on_batch=lambda stage, progress: console.print(_batch_line(stage, progress), highlight=False),
            on_requests=lambda requests: pending.add(layout.var, requests),
        )
        if once:
            run_once(lake, source)
        else:
            from serving.processes import stop_on_signals

            stop = stop_on_signals()
            pace = f"a batch every {every_s:g} s" if every_s else "batch after batch"
            console.print(f"Reading {source}, {pace}; Ctrl-C stops after the running batch.", highlight=False)
            run_until_stopped(lake, source, every_s=every_s, stop=stop)
            console.print("Stopped; run the same command to resume.")
    show_forgotten(console, forget_pending(layout, root))


def show_forgotten(console: Console, outcome: "Outcome | None") -> None:
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


def backfill(console: Console, *, since: datetime, until: datetime, version: str | None) -> int:
    """Classify a time range of Gold with the production version, or add the predictions of another version."""
    from orchestration.progress import TerminalProgress, begin, listening
    from serving.lakehouse.rescore import rescore

    bundle = find_bundle(version)
    current = served_bundle().manifest.version == bundle.manifest.version
    with lakehouse(console) as lake, TerminalProgress(console) as terminal, listening(terminal):
        begin(f"Classify with {bundle.manifest.version}")
        return rescore(
            lake.spark,
            lake.root,
            bundle,
            since=since,
            until=until,
            make_current=current,
            on_day=report,
        )


def find_bundle(version: str | None) -> Bundle:
    """Return the bundle of a version or registry alias; None: the served one.

    Raises:
        BundleError: The bundle does not exist or is damaged.
    """
    layout = Layout.load()
    if version is None:
        return served_bundle()
    if version in {"production", "previous", "staging"}:
        return alias_bundle(layout.var, version)
    return read_bundle(layout.bundles / version)
