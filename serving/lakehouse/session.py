"""Start Spark with Delta, UTC, and S3 configured from the AWS variables."""

import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from data.library_settings import use_local_address_in_spark, use_python_in_spark
from serving.lakehouse.paths import s3_endpoint
from serving.settings import LakehouseSettings

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def open_session(settings: LakehouseSettings, jars: Path | None = None, *, app: str = "groundswell") -> "SparkSession":
    """Return the open Spark session or start one. Blocks for about ten seconds. The caller stops it.

    Args:
        settings: The master and further Spark settings; these override ours.
        jars: A folder with the jars that pyspark lacks (see pom.xml); None on a cluster that has them.
        app: The application's name.
    """
    from pyspark.sql import SparkSession

    use_python_in_spark(sys.executable)
    builder = SparkSession.builder.appName(app)
    given: dict[str, str] = {}
    if settings.master:
        builder = builder.master(settings.master)
        if settings.master.startswith("local"):
            use_local_address_in_spark()
            given |= _local()
    if jars is not None:
        given["spark.jars"] = ",".join(str(path) for path in sorted(jars.glob("*.jar")))
    for name, value in (_COMMON | _s3() | given | settings.spark).items():
        builder = builder.config(name, value)
    spark = builder.getOrCreate()
    spark.sparkContext.setLogLevel("ERROR")
    return spark


_COMMON = {
    "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
    "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
    "spark.sql.session.timeZone": "UTC",
    # The three layers run concurrently; a long batch of one does not block the others.
    "spark.scheduler.mode": "FAIR",
    # A backfill adds the prediction of a version to the map, or replaces it.
    "spark.sql.mapKeyDedupPolicy": "LAST_WIN",
    # Each Python worker keeps the model in memory, so Spark must reuse its workers.
    "spark.python.worker.reuse": "true",
    "spark.sql.execution.arrow.maxRecordsPerBatch": "2048",
    "spark.sql.streaming.stopTimeout": "60s",
    "spark.databricks.delta.snapshotPartitions": "2",
    # The micro-batches of the three layers need more compiled expressions than the 100 that Spark caches by default. With 100, it
    # compiles all of them each time (measured: 1/7 of the wall time and 1/10 of the CPU time of a small micro-batch).
    "spark.sql.codegen.cache.maxEntries": "1000",
    # The number of tasks in which VACUUM lists folders: the default of 10,000 per table takes minutes on few cores.
    "spark.sql.sources.parallelPartitionDiscovery.parallelism": "16",
    # The format that other readers expect. It has statistics, so readers can skip files; Spark's default has none.
    "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
}


def _local() -> dict[str, str]:
    from serving.threads import cpu_quota

    return {
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.host": "127.0.0.1",
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.driver.memory": "2g",
        "spark.driver.defaultJavaOptions": f"-Dlog4j2.configurationFile={Path(__file__).with_name('log4j2.properties').as_uri()}",
        # Nothing is stored there; by default Spark creates an empty folder in the working directory.
        "spark.sql.warehouse.dir": str(Path(tempfile.gettempdir()) / "spark-warehouse"),
        # The default, 200, is meant for clusters.
        "spark.sql.shuffle.partitions": str(max(2, cpu_quota())),
    }


def _s3() -> dict[str, str]:
    endpoint = s3_endpoint()
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    options = {
        # By default Hadoop retries for 15 minutes before it reports that a bucket is unavailable.
        "spark.hadoop.fs.s3a.attempts.maximum": "3",
        "spark.hadoop.fs.s3a.retry.limit": "3",
        "spark.hadoop.fs.s3a.connection.establish.timeout": "5000",
        "spark.hadoop.fs.s3a.connection.timeout": "30000",
    }
    if endpoint:
        options |= {
            "spark.hadoop.fs.s3a.endpoint": endpoint,
            "spark.hadoop.fs.s3a.path.style.access": "true",
            "spark.hadoop.fs.s3a.connection.ssl.enabled": str(endpoint.startswith("https")).lower(),
        }
    return options | ({"spark.hadoop.fs.s3a.endpoint.region": region} if region else {})
