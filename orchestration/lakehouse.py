"""What `groundswell lakehouse` does: Spark on this machine, the streams, and what is asked of the tables."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from data.errors import SettingsError
from orchestration.jars import need_java, spark_jars
from orchestration.layout import Layout
from orchestration.progress import report
from serving.bundle import Bundle, alias_bundle, read_bundle, served_bundle
from serving.lakehouse.locks import alone
from serving.lakehouse.paths import root_of
from serving.settings import LakehouseSettings

if TYPE_CHECKING:
    from serving.lakehouse.run import Lakehouse


@contextmanager
def lakehouse(console: Console | None = None, **settings: Any) -> Iterator["Lakehouse"]:
    """A lakehouse with its tables and a Spark session of its own, which ends with the block. Starting takes some ten seconds.

    Args:
        console: Told what is waited for.
        settings: Above those of the environment.

    Raises:
        LakehouseError: The tables there are not ours, or cannot be reached.
        StreamError: Java or the jars are missing.
    """
    need_java()
    from serving.lakehouse.errors import explained
    from serving.lakehouse.run import Lakehouse
    from serving.lakehouse.session import open_session
    from serving.lakehouse.tables import ensure_tables

    given = LakehouseSettings.load(**settings)
    root = root_of(Layout.load().var, given)
    if console:
        console.print(f"Starting Spark; the tables are in {root} …", style="dim", highlight=False)
    jars = spark_jars()
    with explained(root):
        spark = open_session(given, jars)
        try:
            ensure_tables(spark, root)
            yield Lakehouse(spark, root, given)
        finally:
            spark.stop()


def need_source(settings: LakehouseSettings) -> str:
    """The source of the settings, checked as far as that costs nothing.

    Raises:
        SettingsError: None is given, or its folder is not there.
    """
    from serving.lakehouse.run import local_source

    if not settings.source:
        raise SettingsError(
            "Where should records come from?",
            expected="a folder, an s3a:// URI, or kafka",
            remedy="groundswell lakehouse run --source <...>, or GROUNDSWELL_LAKEHOUSE__SOURCE.",
        )
    source = local_source(settings.source)
    if source != "kafka" and "://" not in source and not Path(source).is_dir():
        raise SettingsError(
            f"There is no folder {source}.", expected="a folder with files of JSON lines", remedy="Look at --source."
        )
    return source


def run(console: Console, *, once: bool, every_s: float, **settings: Any) -> None:
    """Run the streams: once, or until Ctrl-C or SIGTERM."""
    from serving.lakehouse.run import run_on, run_once

    given = LakehouseSettings.load(**settings)
    source = need_source(given)
    if given.judge == "bundle":
        served_bundle()  # what is wrong with it is said before Spark starts
    root = root_of(Layout.load().var, given)
    with alone(root), lakehouse(console, **settings) as opened:
        lake = replace(opened, seen=lambda stage, progress: console.print(_batch_line(stage, progress), highlight=False))
        if once:
            run_once(lake, source)
        else:
            from orchestration.streaming import stop_on_signals

            stop = stop_on_signals()
            pace = f"a batch every {every_s:g} s" if every_s else "batch after batch"
            console.print(f"Reading {source}, {pace}; Ctrl-C stops after the running batch.", highlight=False)
            run_on(lake, source, every_s=every_s, stop=stop)
            console.print("Stopped; the same command goes on from here.")


def _batch_line(stage: str, progress: dict[str, Any]) -> str:
    took = progress["durationMs"].get("triggerExecution", 0) / 1000
    return f"{progress['timestamp'][11:19]}  {stage:<7} batch {progress['batchId']:>4}  {took:6.1f} s"


def backfill(console: Console, *, since: datetime, until: datetime, version: str | None) -> int:
    """Re-score a time range of Gold with production's version, or with another one beside it."""
    from orchestration.progress import TerminalProgress, begin, listening
    from serving.lakehouse.rescore import rescore

    bundle = bundle_of(version)
    current = served_bundle().manifest.version == bundle.manifest.version
    with lakehouse(console) as lake, TerminalProgress(console) as terminal, listening(terminal):
        begin(f"Judge with {bundle.manifest.version}")
        return rescore(
            lake.spark,
            lake.root,
            bundle,
            since=since,
            until=until,
            make_current=current,
            seen=report,
        )


def bundle_of(version: str | None) -> Bundle:
    """A bundle by its version, by an alias of the registry, or the one that is served.

    Raises:
        BundleError: There is none, or it is damaged.
    """
    layout = Layout.load()
    if version is None:
        return served_bundle()
    if version in {"production", "previous", "staging"}:
        return alias_bundle(layout.var, version)
    return read_bundle(layout.bundles / version)
