"""The three streams: source to Bronze, Bronze to Silver, Silver to Gold; each has its checkpoint and may stop at any point."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from data.artifacts import digest
from serving.bundle import Bundle, served_bundle
from serving.lakehouse.errors import explained
from serving.lakehouse.paths import table
from serving.settings import LakehouseSettings

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession
    from pyspark.sql.streaming.query import StreamingQuery

Stage = Literal["bronze", "silver", "gold"]
STAGES: tuple[Stage, ...] = ("bronze", "silver", "gold")
FOLLOW_S = 1.0
"""How often Silver and Gold look whether there is something new."""
STOP_S = 60.0
"""How long a stop waits for the micro-batch that is running; cut off later, it runs again next time."""
FILES_OF_A_TABLE = 1_000
"""Most files of Bronze or Silver in one micro-batch."""


@dataclass(frozen=True)
class Lakehouse:
    """What the streams work with."""

    spark: "SparkSession"
    root: str
    settings: LakehouseSettings
    bundle: Callable[[], Bundle] = served_bundle
    """Asked before each micro-batch of Gold, so that a promoted model takes over at the next one."""
    seen: Callable[[Stage, dict[str, Any]], None] = lambda stage, progress: None
    """Told of each micro-batch, as Spark describes it."""


def run_once(lake: Lakehouse, source: str | None) -> None:
    """Bring all layers up to what is there now, then return.

    Args:
        lake: Where and with what.
        source: `kafka`, or a folder or s3a:// URI of JSON lines; none: only what Bronze has.

    Raises:
        LakehouseError: Something cannot go on; checkpoints are as they were before the micro-batch that failed.
    """
    for stage in STAGES:
        if stage == "bronze" and source is None:
            continue
        query = _start(lake, stage, source, {"availableNow": True})
        try:
            _until(lake, {stage: query})
        finally:
            query.stop()


def run_on(lake: Lakehouse, source: str, *, every_s: float, stop: threading.Event) -> None:
    """Go on until `stop` is set: a micro-batch of Bronze every `every_s` seconds (0: as soon as the one before is done), Silver
    and Gold as soon as there is something new. Blocks; then the running micro-batches are finished.

    Raises:
        LakehouseError: As `run_once`.
    """
    queries: dict[Stage, StreamingQuery] = {}
    try:
        for stage in STAGES:
            seconds = every_s if stage == "bronze" else FOLLOW_S
            queries[stage] = _start(lake, stage, source, {"processingTime": f"{seconds:g} seconds"})
        _until(lake, queries, stop)
    finally:
        for query in queries.values():
            _stop(query)


def checkpoint(root: str, stage: Stage, source: str | None = None) -> str:
    """The folder of a stream's checkpoint. Each source has its own, so that several can fill one lakehouse."""
    return f"{root}/checkpoints/{stage}" + (f"-{digest([source])[:8]}" if stage == "bronze" and source else "")


def _start(lake: Lakehouse, stage: Stage, source: str | None, trigger: dict[str, Any]) -> "StreamingQuery":
    from serving.lakehouse.bronze import read_source

    with explained(lake.root, source):
        rows = read_source(lake.spark, source or "", lake.settings) if stage == "bronze" else _follow(lake, stage)
        name: list[str] = []
        started = threading.Event()
        write = _writer(lake, stage)

        def batch(frame: "DataFrame", number: int) -> None:
            started.wait()  # the first batch may come before its stream's name is known here
            write(frame, name[0], number)

        writer = rows.writeStream.queryName(f"groundswell-{stage}").foreachBatch(batch)
        writer = writer.option("checkpointLocation", checkpoint(lake.root, stage, source)).trigger(**trigger)
        try:
            query = writer.start()
            name.append(f"groundswell-{stage}-{query.id}")
        finally:
            started.set()
        return query


def _follow(lake: Lakehouse, stage: Stage) -> "DataFrame":
    reader = lake.spark.readStream.format("delta").option("maxFilesPerTrigger", FILES_OF_A_TABLE)
    if stage == "gold":
        # From what is there, as inserts, then its changes: version 0 may be long gone when Gold is made anew.
        return reader.option("readChangeFeed", "true").load(table(lake.root, "silver"))
    # Old records may be removed from Bronze; what Silver made of them stays.
    return reader.option("skipChangeCommits", "true").load(table(lake.root, "bronze"))


def _writer(lake: Lakehouse, stage: Stage) -> "Callable[[DataFrame, str, int], None]":
    from serving.lakehouse import writing

    if stage == "bronze":
        return lambda frame, name, number: writing.write_bronze(lake.root, frame, name, number)
    if stage == "silver":
        return lambda frame, name, number: writing.write_silver(lake.root, frame, name, number)
    judge = judge_of(lake)
    return lambda frame, name, number: writing.write_gold(lake.root, frame, judge())


def judge_of(lake: Lakehouse) -> Callable[[], Callable[..., Any]]:
    """Gives the function that judges now."""
    from serving.lakehouse.judge import api_udf, bundle_udf

    if lake.settings.judge == "api":
        return lambda: api_udf(lake.settings)
    return lambda: bundle_udf(lake.spark, lake.bundle())


def _until(lake: Lakehouse, queries: "dict[Stage, StreamingQuery]", stop: threading.Event | None = None) -> None:
    """Wait until a stream ends or `stop` is set, tell of each micro-batch, and raise what a stream raised."""
    told: dict[Stage, int] = {}
    while True:
        over = not all(query.isActive for query in queries.values()) or (stop is not None and stop.wait(0.2))
        for stage, query in queries.items():
            with explained(lake.root):
                if stop is None and not over:
                    query.awaitTermination(1)
                if failed := query.exception():
                    raise failed
            for progress in query.recentProgress:
                if progress["batchId"] > told.get(stage, -1) and progress["numInputRows"]:
                    told[stage] = progress["batchId"]
                    lake.seen(stage, progress)
        if over:
            return


def _stop(query: "StreamingQuery") -> None:
    """End a stream between two micro-batches, or in the middle of one that takes too long."""
    end = time.monotonic() + STOP_S
    while query.isActive and query.status["isTriggerActive"] and query.status["isDataAvailable"] and time.monotonic() < end:
        query.awaitTermination(1)
    query.stop()


def local_source(source: str) -> str:
    """A source as it is written into the checkpoint's name: a folder by its full path."""
    return source if source == "kafka" or "://" in source else str(Path(source).absolute())
