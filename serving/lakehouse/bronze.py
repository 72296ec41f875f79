"""Bronze: raw records with their origin; none is dropped."""

from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from serving.lakehouse.messages import records_udf
from serving.settings import LakehouseSettings, StreamSettings

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession


def read_files(spark: "SparkSession", folder: str, files_per_batch: int) -> "DataFrame":
    """Stream the lines of all files below a folder or s3a:// URI, oldest files first.

    Each file is read once, when it appears, so it must appear complete (written elsewhere and renamed, or put into a bucket).
    Lines appended later are not read. Names that begin with "." or "_" are ignored. `.gz` is unpacked.
    """
    lines = (
        spark.readStream.format("text")
        .option("lineSep", "\n")
        .option("recursiveFileLookup", "true")
        .option("maxFilesPerTrigger", files_per_batch)
        .option("maxFileAge", "36500d")  # by default a file one week older than the newest is skipped without a warning
        .load(folder)
    )
    return lines.select(
        F.col("value").cast("binary").alias("value"),
        F.col("_metadata.file_path").alias("source_file"),
        F.lit(None).cast("string").alias("topic"),
        F.lit(None).cast("int").alias("partition"),
        F.lit(None).cast("bigint").alias("offset"),
        F.col("_metadata.file_modification_time").alias("arrived_at"),
        F.col("_metadata.file_block_start").alias("block"),
    )


def read_kafka(spark: "SparkSession", stream: StreamSettings, messages_per_batch: int) -> "DataFrame":
    """Stream the topic's messages from the beginning. Offsets are in the checkpoint; no consumer group is used."""
    reader = (
        spark.readStream.format("kafka")
        .option("kafka.bootstrap.servers", stream.bootstrap)
        .option("subscribe", stream.topic)
        .option("startingOffsets", "earliest")
        .option("maxOffsetsPerTrigger", messages_per_batch)
        .option("failOnDataLoss", "true")
        .option("fetchOffset.numRetries", "3")
        .option("kafka.request.timeout.ms", "20000")
        .option("kafka.default.api.timeout.ms", "20000")
    )
    for name, value in java_security({key: secret.get_secret_value() for key, secret in stream.security.items()}).items():
        reader = reader.option(f"kafka.{name}", value)
    return reader.load().select(
        "value",
        F.lit(None).cast("string").alias("source_file"),
        "topic",
        "partition",
        "offset",
        F.col("timestamp").alias("arrived_at"),
        F.col("partition").cast("bigint").alias("block"),
    )


def java_security(librdkafka: dict[str, str]) -> dict[str, str]:
    """Translate the stream's security settings from librdkafka's names to those of the Java client."""
    given = dict(librdkafka)
    user, password = given.pop("sasl.username", None), given.pop("sasl.password", None)
    given = {_JAVA_NAMES.get(name, name): value for name, value in given.items()}
    if user is not None:
        plain = given.get("sasl.mechanism", "PLAIN") == "PLAIN"
        module = "plain.PlainLoginModule" if plain else "scram.ScramLoginModule"
        quoted = (value.replace("\\", "\\\\").replace('"', '\\"') for value in (user, password or ""))
        login = 'username="{}" password="{}"'.format(*quoted)
        given["sasl.jaas.config"] = f"org.apache.kafka.common.security.{module} required {login};"
    if "ssl.truststore.location" in given:
        given["ssl.truststore.type"] = "PEM"
    return given


_JAVA_NAMES = {"sasl.mechanisms": "sasl.mechanism", "ssl.ca.location": "ssl.truststore.location"}


def as_bronze(lines: "DataFrame") -> "DataFrame":
    """Turn each line of `read_files` or `read_kafka` into one row of Bronze; a blank line of a file is none.

    A line that is exactly one JSON object becomes `raw` and `record`, with every field as text. Any other line is kept byte for
    byte in `rescued`.
    """
    text = F.col("value").cast("string")
    # Streaming APIs keep a connection alive with blank lines. A message of a topic has an offset, so it is kept.
    lines = lines.where(F.col("source_file").isNull() | ~text.rlike(r"^[\s\x{FEFF}]*$"))
    read = lines.withColumn("is_record", records_udf()(F.col("value")))
    parsed = F.col("is_record") & F.is_valid_utf8(text)
    return read.select(
        F.when(parsed, text).alias("raw"),
        F.when(~parsed, F.col("value")).alias("rescued"),
        F.from_json(F.when(parsed, text), "map<string,string>").alias("record"),
        "source_file",
        "topic",
        "partition",
        "offset",
        "arrived_at",
        "block",
        F.coalesce("offset", F.monotonically_increasing_id().bitwiseAND(F.lit((1 << 33) - 1))).alias("line"),
        F.current_timestamp().alias("ingested_at"),
    )


def read_source(spark: "SparkSession", source: str, settings: LakehouseSettings) -> "DataFrame":
    """Stream the lines of a source: `kafka`, a folder, or an s3a:// URI."""
    if source == "kafka":
        return read_kafka(spark, StreamSettings.load(), settings.messages_per_batch)
    return read_files(spark, source, settings.files_per_batch)
