"""The job for `spark-submit` on a cluster: run, backfill and maintain of `groundswell lakehouse`, with plain arguments.

`spark-submit` sets the master, the jars and the Python of the executors; settings come from GROUNDSWELL_* in the driver's
environment (docs/lakehouse.md). Executors need nothing from this module, and the driver needs neither typer nor rich.
"""

import argparse
import re
import signal
import sys
import tempfile
import threading
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data.errors import BundleError, GroundswellError, SettingsError
from data.settings_registry import check_settings
from serving.bundle import Bundle, read_bundle, served_bundle
from serving.lakehouse.paths import lakehouse_root
from serving.settings import LakehouseSettings

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from serving.lakehouse.run import Lakehouse


def parser() -> argparse.ArgumentParser:
    """Return the parser of the job's arguments."""
    top = argparse.ArgumentParser(prog="job.py", description="Groundswell's lakehouse as a Spark job.")
    commands = top.add_subparsers(dest="command", required=True)
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--root", help="folder or URI of the tables, such as s3a://bucket/lakehouse")
    model = argparse.ArgumentParser(add_help=False)
    model.add_argument("--bundle", help="the bundle's folder on the driver, or its URI; default: GROUNDSWELL_BUNDLE_DIR")

    run = commands.add_parser("run", parents=[common, model], help="fill the layers: once, or until SIGTERM")
    run.add_argument("--source", help="a folder or URI with files of JSON lines, or kafka")
    pace = run.add_mutually_exclusive_group(required=True)
    pace.add_argument("--once", action="store_true", help="read all current records, then return")
    pace.add_argument("--every", type=_seconds, metavar="60s", help="time between two batches; 0s: no pause")

    backfill = commands.add_parser("backfill", parents=[common, model], help="classify a time range of Gold with --bundle")
    backfill.add_argument("--since", type=_time, required=True, help="first event time, UTC")
    backfill.add_argument("--until", type=_time, required=True, help="end of the event times (exclusive), UTC")
    backfill.add_argument("--current", action="store_true", help="readers see its predictions from now on")

    commands.add_parser("maintain", parents=[common], help="merge small files, remove old versions and old raw records")
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the job and return the exit status: 0, 1 for a failure, 2 for a wrong setting."""
    asked = parser().parse_args(arguments)
    try:
        check_settings()
        _run_command(asked)
    except GroundswellError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
        return 2 if isinstance(error, SettingsError) else 1
    return 0


def _run_command(asked: argparse.Namespace) -> None:
    from pyspark.sql import SparkSession

    from serving.lakehouse.errors import translate_spark_errors
    from serving.lakehouse.run import Lakehouse
    from serving.lakehouse.session import open_session
    from serving.lakehouse.tables import ensure_tables

    given = LakehouseSettings.load(root=asked.root, source=getattr(asked, "source", None))
    if not given.root:
        raise SettingsError("No root for the tables is set.", expected="--root, or GROUNDSWELL_LAKEHOUSE__ROOT")
    if asked.command == "run" and not given.source:
        raise SettingsError("No source of records is set.", expected="--source, or GROUNDSWELL_LAKEHOUSE__SOURCE")
    root = lakehouse_root(Path(), given)
    existing = SparkSession.getActiveSession()
    given = given.model_copy(update={"master": None, "spark": (_kept(existing) if existing else {}) | given.spark})
    with tempfile.TemporaryDirectory(prefix="groundswell-") as folder, translate_spark_errors(root, given.source):
        spark = open_session(given, app=f"groundswell {asked.command}")
        try:
            ensure_tables(spark, root)
            lake = Lakehouse(spark, root, given, on_batch=_print_batch)
            _COMMANDS[asked.command](lake, asked, Path(folder))
        finally:
            if existing is None:
                spark.stop()


def _kept(existing: "SparkSession") -> dict[str, str]:
    """Keep the Delta extension and the catalog of a session that already exists, as on Databricks."""
    names = ("spark.sql.extensions", "spark.sql.catalog.spark_catalog")
    return {name: value for name in names if (value := existing.conf.get(name, None))}


def _run(lake: "Lakehouse", asked: argparse.Namespace, folder: Path) -> None:
    from dataclasses import replace

    from serving.lakehouse.locks import exclusive_run
    from serving.lakehouse.run import local_source, run_once

    if lake.settings.classify_with == "bundle":
        bundle = open_bundle(lake.spark, asked.bundle, folder)
        lake = replace(lake, bundle=lambda: bundle)
    source = local_source(lake.settings.source or "")
    with exclusive_run(lake.root):
        if asked.once:
            run_once(lake, source)
        else:
            _run_until_signal(lake, source, asked.every)


def _run_until_signal(lake: "Lakehouse", source: str, every_s: float) -> None:
    from serving.lakehouse.run import run_until_stopped

    stop = threading.Event()
    # Python handles signals only in its main thread, and Databricks may call from another thread.
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
    _print(f"Reading {source}; SIGTERM to this process stops after the running batch.")
    run_until_stopped(lake, source, every_s=every_s, stop=stop)
    _print("Stopped; submit the same job to resume.")


def _backfill(lake: "Lakehouse", asked: argparse.Namespace, folder: Path) -> None:
    from serving.lakehouse.rescore import rescore

    bundle = open_bundle(lake.spark, asked.bundle, folder)
    added = rescore(
        lake.spark,
        lake.root,
        bundle,
        since=asked.since,
        until=asked.until,
        make_current=asked.current,
        on_day=lambda day, share: _print(f"{day} done, {share:.0%}"),
    )
    _print(f"{added:,} rows were classified by {bundle.manifest.version}; rows that already had its prediction keep it.")


def _maintain(lake: "Lakehouse", asked: argparse.Namespace, folder: Path) -> None:
    from serving.lakehouse.maintain import maintain

    for maintained in maintain(lake.spark, lake.root, lake.settings):
        files = f"{maintained.files_before} files, now {maintained.files_after}"
        _print(f"{maintained.layer}: {files}, {maintained.bytes:,} bytes; {maintained.forgotten:,} old records deleted")


_COMMANDS = {"run": _run, "backfill": _backfill, "maintain": _maintain}


def open_bundle(spark: "SparkSession", place: str | None, folder: Path) -> Bundle:
    """Open the bundle. A bundle at a URI is copied with Spark's own file systems, so it needs no other permissions.

    Args:
        spark: A session.
        place: A folder on the driver or a URI; None: `served_bundle`.
        folder: An empty folder for the copy.

    Raises:
        BundleError: The bundle does not exist or is damaged.
    """
    if place is None:
        return served_bundle()
    if not re.match(r"\w+:/", place):
        return read_bundle(Path(place))
    from py4j.protocol import Py4JJavaError

    context: Any = spark.sparkContext
    path = context._jvm.org.apache.hadoop.fs.Path
    copy = folder / "bundle"
    try:
        files = path(place).getFileSystem(context._jsc.hadoopConfiguration())
        files.copyToLocalFile(False, path(place), path(str(copy)), True)  # False: keep the source; True: no checksum files
    except Py4JJavaError as error:
        raise BundleError(
            f"Could not fetch the bundle {place}.",
            found=error.java_exception.toString().splitlines()[0],
            remedy="Check --bundle and the driver's read permissions.",
        ) from error
    return read_bundle(copy)


def _print_batch(stage: str, progress: dict[str, Any]) -> None:
    took = progress["durationMs"].get("triggerExecution", 0) / 1000
    _print(f"{progress['timestamp'][:19]} {stage} batch {progress['batchId']}: {progress['numInputRows']:,} rows, {took:.1f} s")


def _print(line: str) -> None:
    print(line, flush=True)  # a cluster's log is a file, which is block-buffered without this


def _seconds(text: str) -> float:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smh]?)", text)
    if not found:
        raise argparse.ArgumentTypeError(f"invalid duration {text!r}; expected a value such as 30s, 5m or 1h")
    return float(found[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[found[2]]


def _time(text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"invalid time {text!r}; expected a value such as 2026-01-31 or 2026-01-31T12:00:00"
        ) from None
    return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)


if __name__ == "__main__" and (status := main()):
    sys.exit(status)  # not for 0: Databricks treats any exit as a failure
