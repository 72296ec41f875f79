"""All three layers, for the sections `age` and `files`: the running stream, and the batches of an hour one after the other."""

import threading
import time
from pathlib import Path
from typing import Any

from benchmarks.lakehouse.systems import SparkProgram, stub_udf
from serving.lakehouse.paths import LAYERS, table


class Stream(SparkProgram):
    """The streams of `groundswell lakehouse run`: `run_until_stopped` in a thread."""

    def __init__(self, root: str, bundle: str) -> None:
        super().__init__(root)
        from serving.bundle import read_bundle
        from serving.lakehouse.run import Lakehouse

        self._bundle = read_bundle(Path(bundle))
        self._batches: list[dict[str, Any]] = []
        self._failed: list[BaseException] = []
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._lake = Lakehouse(self.spark, root, self.settings, lambda: self._bundle, self._record)
        self.tables(root)

    def warm(self, source: str) -> None:
        """Process all files of the folder through all layers."""
        from serving.lakehouse.run import run_once

        run_once(self._lake, source)
        self._batches.clear()

    def start(self, source: str, every_s: float) -> None:
        """Follow a folder from now on."""

        def follow() -> None:
            from serving.lakehouse.run import run_until_stopped

            try:
                run_until_stopped(self._lake, source, every_s=every_s, stop=self._stop)
            except BaseException as error:
                self._failed.append(error)

        self._thread = threading.Thread(target=follow)
        self._thread.start()

    def batches(self) -> list[dict[str, Any]]:
        """Return stage, rows read by Spark, and seconds of each micro-batch so far.

        Raises:
            LakehouseError: The stream failed.
        """
        if self._failed:
            raise self._failed[0]
        return self._batches

    def close(self) -> None:
        """Finish the running micro-batches and stop Spark."""
        self._stop.set()
        if self._thread:
            self._thread.join()
        super().close()

    def _record(self, stage: str, progress: dict[str, Any]) -> None:
        took = progress["durationMs"].get("triggerExecution", 0) / 1000
        self._batches.append({"stage": stage, "batch": progress["batchId"], "rows": progress["numInputRows"], "took_s": took})


class Batches(SparkProgram):
    """Micro-batches written without streams, through the functions that the streams call, with a stub model."""

    def __init__(self, root: str) -> None:
        super().__init__(root)
        self._classify, _ = stub_udf(self.spark)
        self._done: dict[str, int] = {}
        self._took: dict[str, list[dict[str, float]]] = {}

    def start(self, root: str, compacted: bool) -> None:
        """Create empty tables; `compacted` sets whether Delta compacts them after a commit."""
        self.tables(root)
        for layer in LAYERS:
            property = f"'delta.autoOptimize.autoCompact' = '{str(compacted).lower()}'"
            self.spark.sql(f"ALTER TABLE delta.`{table(root, layer)}` SET TBLPROPERTIES ({property})")
        self._done[root] = self._version(root)

    def batch(self, root: str, file: str, number: int) -> None:
        """Process the lines of a file as one micro-batch through all layers."""
        from pyspark.sql import functions as F

        from serving.lakehouse.bronze import as_bronze
        from serving.lakehouse.writing import write_bronze, write_gold, write_silver

        lines = self.spark.read.text(file).select(
            F.col("value").cast("binary").alias("value"),
            F.col("_metadata.file_path").alias("source_file"),
            F.lit(None).cast("string").alias("topic"),
            F.lit(None).cast("int").alias("partition"),
            F.lit(None).cast("bigint").alias("offset"),
            F.col("_metadata.file_modification_time").alias("arrived_at"),
            F.col("_metadata.file_block_start").alias("block"),
        )
        began = time.perf_counter()
        write_bronze(root, lines, "bench", number)
        bronze = time.perf_counter()
        # The rows that the stream would read from Bronze, without the search for new files.
        write_silver(root, as_bronze(lines), "bench", number)
        silver, newest = time.perf_counter(), self._version(root)
        changes = self.spark.read.format("delta").option("readChangeFeed", "true")
        changes = changes.option("startingVersion", self._done[root] + 1).option("endingVersion", newest)
        write_gold(root, changes.load(table(root, "silver")), lambda: self._classify)
        self._done[root] = newest
        took = {"bronze": bronze - began, "silver": silver - bronze, "gold": time.perf_counter() - silver}
        self._took.setdefault(root, []).append(took)

    def took(self, root: str) -> list[dict[str, float]]:
        """Return the seconds of each micro-batch by layer."""
        return self._took[root]

    def optimize(self, root: str) -> None:
        """Compact all tables."""
        from delta.tables import DeltaTable

        for layer in LAYERS:
            DeltaTable.forPath(self.spark, table(root, layer)).optimize().executeCompaction()

    def read(self, root: str, times: int) -> list[float]:
        """Return the seconds of `times` full reads of Gold, after one read that warms up."""
        took = []
        for _ in range(times + 1):
            began = time.perf_counter()
            self.spark.read.format("delta").load(table(root, "gold")).write.format("noop").mode("overwrite").save()
            took.append(time.perf_counter() - began)
        return took[1:]

    def _version(self, root: str) -> int:
        from deltalake import DeltaTable

        return DeltaTable(table(root, "silver")).version()
