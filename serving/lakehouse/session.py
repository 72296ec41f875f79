"""One place that starts Spark: Delta, UTC, and S3 as the AWS programs reach it."""

import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from serving.lakehouse.paths import s3_endpoint
from serving.settings import LakehouseSettings

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def open_session(settings: LakehouseSettings, jars: Path | None = None, *, app: str = "groundswell") -> "SparkSession":
    """A Spark session, the one that is open or a new one. Blocks for some ten seconds. The caller stops it.

    Args:
        settings: Master and more settings of Spark; these win over ours.
        jars: A folder with what pyspark lacks (see pom.xml); none on a cluster that has it.
        app: The application's name.
    """
    from pyspark.sql import SparkSession

    # Workers run this same Python, whatever "python3" is.
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    builder = SparkSession.builder.appName(app)
    given: dict[str, str] = {}
    if settings.master:
        builder = builder.master(settings.master)
        if settings.master.startswith("local"):
            os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
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
    # The three layers run side by side; a long batch of one does not hold up the others.
    "spark.scheduler.mode": "FAIR",
    # Re-scoring adds a version's answer to the others, and replaces it where it was there.
    "spark.sql.mapKeyDedupPolicy": "LAST_WIN",
    # Each Python worker keeps the model, so it has to be the same worker next time.
    "spark.python.worker.reuse": "true",
    "spark.sql.execution.arrow.maxRecordsPerBatch": "2048",
    "spark.sql.streaming.stopTimeout": "60s",
    "spark.databricks.delta.snapshotPartitions": "2",
    # The three layers' micro-batches need more compiled expressions than the 100 that Spark keeps by default: with those, all are
    # compiled again each time (measured: a seventh of the time and a tenth of the processor's of a small micro-batch).
    "spark.sql.codegen.cache.maxEntries": "1000",
    # VACUUM lists folders in so many tasks: by default 10,000 for each table, minutes on few cores.
    "spark.sql.sources.parallelPartitionDiscovery.parallelism": "16",
    # As every other reader expects, with statistics by which files are left out; Spark's own form has none.
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
        # Nothing is kept there; by default an empty folder appears wherever one stands.
        "spark.sql.warehouse.dir": str(Path(tempfile.gettempdir()) / "spark-warehouse"),
        # 200, the default, is made for clusters.
        "spark.sql.shuffle.partitions": str(max(2, cpu_quota())),
    }


def _s3() -> dict[str, str]:
    endpoint = s3_endpoint()
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    options = {
        # Hadoop tries for a quarter of an hour by default before it says that a bucket is away.
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
