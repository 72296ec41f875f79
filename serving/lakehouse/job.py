"""What `spark-submit` starts on a cluster: the functions of `groundswell lakehouse`, told what to do by plain arguments.

The master, the jars and the Python of the executors come from the submit, settings from GROUNDSWELL_* in the driver's environment
(docs/lakehouse.md). Nothing here is needed on executors, and neither typer nor rich on the driver.
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
from serving.lakehouse.paths import root_of
from serving.settings import LakehouseSettings

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from serving.lakehouse.run import Lakehouse


def parser() -> argparse.ArgumentParser:
    """The arguments of the job."""
    top = argparse.ArgumentParser(prog="job.py", description="Groundswell's lakehouse as a Spark job.")
    commands = top.add_subparsers(dest="command", required=True)
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--root", help="where the tables are, such as s3a://bucket/lakehouse")
    judging = argparse.ArgumentParser(add_help=False)
    judging.add_argument("--bundle", help="a bundle's folder on the driver, or its URI; default: GROUNDSWELL_BUNDLE_DIR")

    run = commands.add_parser("run", parents=[common, judging], help="fill the layers: once, or until SIGTERM")
    run.add_argument("--source", help="a folder or URI with files of JSON lines, or kafka")
    pace = run.add_mutually_exclusive_group(required=True)
    pace.add_argument("--once", action="store_true", help="read what is there now, and return")
    pace.add_argument("--every", type=_seconds, metavar="60s", help="how often a batch begins; 0s: one after the other")

    backfill = commands.add_parser("backfill", parents=[common, judging], help="judge a time range of Gold with --bundle")
    backfill.add_argument("--since", type=_time, required=True, help="from this event time on, UTC")
    backfill.add_argument("--until", type=_time, required=True, help="before this one")
    backfill.add_argument("--current", action="store_true", help="its answers become those that readers see")

    commands.add_parser("maintain", parents=[common], help="merge small files, remove old versions and old raw records")
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the arguments say; gives the exit status: 0, 1 where something cannot go on, 2 for a setting."""
    asked = parser().parse_args(arguments)
    try:
        check_settings()
        _do(asked)
    except GroundswellError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
        return 2 if isinstance(error, SettingsError) else 1
    return 0


def _do(asked: argparse.Namespace) -> None:
    from pyspark.sql import SparkSession

    from serving.lakehouse.errors import explained
    from serving.lakehouse.run import Lakehouse
    from serving.lakehouse.session import open_session
    from serving.lakehouse.tables import ensure_tables

    given = LakehouseSettings.load(root=asked.root, source=getattr(asked, "source", None))
    if not given.root:
        raise SettingsError("Where should the tables be?", expected="--root, or GROUNDSWELL_LAKEHOUSE__ROOT")
    if asked.command == "run" and not given.source:
        raise SettingsError("Where should records come from?", expected="--source, or GROUNDSWELL_LAKEHOUSE__SOURCE")
    root = root_of(Path(), given)
    lent = SparkSession.getActiveSession()
    given = given.model_copy(update={"master": None, "spark": (_kept(lent) if lent else {}) | given.spark})
    with tempfile.TemporaryDirectory(prefix="groundswell-") as folder, explained(root, given.source):
        spark = open_session(given, app=f"groundswell {asked.command}")
        try:
            ensure_tables(spark, root)
            lake = Lakehouse(spark, root, given, seen=_tell)
            _COMMANDS[asked.command](lake, asked, Path(folder))
        finally:
            if lent is None:
                spark.stop()


def _kept(lent: "SparkSession") -> dict[str, str]:
    """What a session that was there before, as on Databricks, knows better: its own Delta and its own catalog."""
    names = ("spark.sql.extensions", "spark.sql.catalog.spark_catalog")
    return {name: value for name in names if (value := lent.conf.get(name, None))}


def _run(lake: "Lakehouse", asked: argparse.Namespace, folder: Path) -> None:
    from dataclasses import replace

    from serving.lakehouse.locks import alone
    from serving.lakehouse.run import local_source, run_once

    if lake.settings.judge == "bundle":
        bundle = open_bundle(lake.spark, asked.bundle, folder)
        lake = replace(lake, bundle=lambda: bundle)
    source = local_source(lake.settings.source or "")
    with alone(lake.root):
        if asked.once:
            run_once(lake, source)
        else:
            _run_on(lake, source, asked.every)


def _run_on(lake: "Lakehouse", source: str, every_s: float) -> None:
    from serving.lakehouse.run import run_on

    stop = threading.Event()
    # Python takes signals in its main thread only, and Databricks may call from another.
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
    _say(f"Reading {source}; SIGTERM to this process stops after the running batch.")
    run_on(lake, source, every_s=every_s, stop=stop)
    _say("Stopped; the same job goes on from here.")


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
        seen=lambda day, share: _say(f"{day} done, {share:.0%}"),
    )
    _say(f"{added:,} rows were judged by {bundle.manifest.version}; those that it knew keep its answer.")


def _maintain(lake: "Lakehouse", asked: argparse.Namespace, folder: Path) -> None:
    from serving.lakehouse.maintain import maintain

    for kept in maintain(lake.spark, lake.root, lake.settings):
        files = f"{kept.files_before} files, now {kept.files_after}"
        _say(f"{kept.layer}: {files}, {kept.bytes:,} bytes; {kept.forgotten:,} records forgotten")


_COMMANDS = {"run": _run, "backfill": _backfill, "maintain": _maintain}


def open_bundle(spark: "SparkSession", place: str | None, folder: Path) -> Bundle:
    """The bundle to judge with. What lies behind a URI is copied with Spark's own file systems, so that it needs no other rights.

    Args:
        spark: A session.
        place: A folder on the driver or a URI; none: `served_bundle`.
        folder: Empty; the copy is made in it.

    Raises:
        BundleError: There is none, or it is damaged.
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
        files.copyToLocalFile(False, path(place), path(str(copy)), True)  # False: it stays; True: no checksum files beside it
    except Py4JJavaError as error:
        raise BundleError(
            f"The bundle {place} cannot be fetched.",
            found=error.java_exception.toString().splitlines()[0],
            remedy="Look at --bundle, and at what the driver may read.",
        ) from error
    return read_bundle(copy)


def _tell(stage: str, progress: dict[str, Any]) -> None:
    took = progress["durationMs"].get("triggerExecution", 0) / 1000
    _say(f"{progress['timestamp'][:19]} {stage} batch {progress['batchId']}: {progress['numInputRows']:,} rows, {took:.1f} s")


def _say(line: str) -> None:
    print(line, flush=True)  # a cluster's log is a file, which would be filled by the block


def _seconds(text: str) -> float:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smh]?)", text)
    if not found:
        raise argparse.ArgumentTypeError(f"{text!r} is no length of time, such as 30s, 5m or 1h")
    return float(found[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[found[2]]


def _time(text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no time, such as 2026-01-31 or 2026-01-31T12:00:00") from None
    return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)


if __name__ == "__main__" and (status := main()):
    sys.exit(status)  # not for 0: Databricks takes any exit for a failure
