"""The three streams: source to Bronze, Bronze to Silver, Silver to Gold. Each has a checkpoint and may stop at any point."""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from data.artifacts import digest
from data.domains import domains_of_sources
from data.forgetting import Request
from data.language import Languages
from data.settings import LanguageSettings
from serving.bundle import Bundle, served_bundle
from serving.lakehouse.errors import translate_spark_errors
from serving.lakehouse.paths import table
from serving.settings import LakehouseSettings

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession
    from pyspark.sql.streaming.query import StreamingQuery

Stage = Literal["bronze", "silver", "gold"]
STAGES: tuple[Stage, ...] = ("bronze", "silver", "gold")
FOLLOW_S = 1.0
"""Seconds between two checks of Silver and Gold for new rows."""
STOP_S = 60.0
"""Seconds that a stop waits for the running micro-batch; if it is interrupted, it runs again next time."""
FILES_OF_A_TABLE = 1_000
"""Maximum number of files of Bronze or Silver in one micro-batch."""


@dataclass(frozen=True)
class Lakehouse:
    """Session, location and settings of the streams."""

    spark: "SparkSession"
    root: str
    settings: LakehouseSettings
    bundle: Callable[[], Bundle] = served_bundle
    """Called before each micro-batch of Gold, so that a promoted model is used from the next one on."""
    on_batch: Callable[[Stage, dict[str, Any]], None] = lambda stage, progress: None
    """Called after each micro-batch with Spark's progress report."""
    on_requests: Callable[[Sequence[Request]], None] = lambda requests: None
    """Called with what the notices of a micro-batch ask to forget, before the tables follow: for the other stores."""
    language_settings: LanguageSettings = field(default_factory=LanguageSettings.load)
    """Whether Silver rejects messages in a language that the model was not measured on."""


def run_once(lake: Lakehouse, source: str | None) -> None:
    """Process all current records through all layers, then return.

    Args:
        lake: Session, location and settings.
        source: `kafka`, or a folder or s3a:// URI of JSON lines; None: only the records already in Bronze.

    Raises:
        LakehouseError: A stream failed; checkpoints are as they were before the failed micro-batch.
    """
    for stage in STAGES:
        if stage == "bronze" and source is None:
            continue
        query = _start(lake, stage, source, {"availableNow": True})
        try:
            _until(lake, {stage: query})
        finally:
            query.stop()


def run_until_stopped(lake: Lakehouse, source: str, *, every_s: float, stop: threading.Event) -> None:
    """Run the streams until `stop` is set, then finish the running micro-batches. Blocks.

    Bronze starts a micro-batch every `every_s` seconds (0: without a pause); Silver and Gold follow when there are new rows.

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
    """Return the folder of a stream's checkpoint. Each source has its own, so several can fill one lakehouse."""
    return f"{root}/checkpoints/{stage}" + (f"-{digest([source])[:8]}" if stage == "bronze" and source else "")


def _start(lake: Lakehouse, stage: Stage, source: str | None, trigger: dict[str, Any]) -> "StreamingQuery":
    from serving.lakehouse.bronze import read_source

    with translate_spark_errors(lake.root, source):
        rows = read_source(lake.spark, source or "", lake.settings) if stage == "bronze" else _follow(lake, stage)
        name: list[str] = []
        started = threading.Event()
        write = _writer(lake, stage)

        def batch(frame: "DataFrame", number: int) -> None:
            started.wait()  # the first batch may start before the stream's name is known here
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
        # The current rows as inserts, then the changes: version 0 may have been removed when Gold is recreated.
        return reader.option("readChangeFeed", "true").load(table(lake.root, "silver"))
    # Old records may be deleted from Bronze; their rows in Silver stay.
    return reader.option("skipChangeCommits", "true").load(table(lake.root, "bronze"))


def _writer(lake: Lakehouse, stage: Stage) -> "Callable[[DataFrame, str, int], None]":
    from serving.lakehouse import writing

    if stage == "bronze":
        return lambda frame, name, number: writing.write_bronze(lake.root, frame, name, number)
    if stage == "silver":
        return lambda frame, name, number: writing.write_silver(
            lake.root, frame, name, number, lake.on_requests, languages_of(lake)
        )
    current_udf = udf_factory(lake)
    return lambda frame, name, number: writing.write_gold(lake.root, frame, current_udf)


def languages_of(lake: Lakehouse) -> Languages:
    """Return what Silver does with messages in other languages than those of the model that classifies now."""
    if not lake.language_settings.reject:
        return Languages()
    if lake.settings.classify_with == "bundle":
        return Languages(lake.bundle().manifest.languages, reject=True)
    from serving.client import SentimentClient

    key = lake.settings.api_key
    with SentimentClient(lake.settings.api_url, key=key.get_secret_value() if key else None) as client:
        return Languages(tuple(client.model()["languages"]), reject=True)


def udf_factory(lake: Lakehouse) -> Callable[[], Callable[..., Any]]:
    """Return a function that returns the current column function for classification."""
    from serving.lakehouse.classify import api_udf, bundle_udf

    if lake.settings.classify_with == "api":
        return lambda: api_udf(lake.settings, domains_of_sources())
    return lambda: bundle_udf(lake.spark, lake.bundle(), lake.settings.tier, domains=domains_of_sources())


def _until(lake: Lakehouse, queries: "dict[Stage, StreamingQuery]", stop: threading.Event | None = None) -> None:
    """Wait until a stream ends or `stop` is set, report each micro-batch, and raise the exception of a failed stream."""
    reported: dict[Stage, int] = {}
    while True:
        over = not all(query.isActive for query in queries.values()) or (stop is not None and stop.wait(0.2))
        for stage, query in queries.items():
            with translate_spark_errors(lake.root):
                if stop is None and not over:
                    query.awaitTermination(1)
                if failed := query.exception():
                    raise failed
            for progress in query.recentProgress:
                if progress["batchId"] > reported.get(stage, -1) and progress["numInputRows"]:
                    reported[stage] = progress["batchId"]
                    lake.on_batch(stage, progress)
        if over:
            return


def _stop(query: "StreamingQuery") -> None:
    """Stop a stream between two micro-batches, or during one that takes longer than `STOP_S`."""
    end = time.monotonic() + STOP_S
    while query.isActive and query.status["isTriggerActive"] and query.status["isDataAvailable"] and time.monotonic() < end:
        query.awaitTermination(1)
    query.stop()


def local_source(source: str) -> str:
    """Normalize a source for the checkpoint's name: a folder becomes its absolute path."""
    return source if source == "kafka" or "://" in source else str(Path(source).absolute())
