"""Translate errors of Spark and Java into one error with a remedy. A failure never changes the checkpoint."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from data.errors import GroundswellError, LakehouseError


class _Known(NamedTuple):
    pattern: str
    """A regular expression, matched in any case."""
    message: str
    remedy: str


_KNOWN = (
    _Known(
        "No space left on device|Disk quota exceeded",
        "The disk is full.",
        "Free some space (groundswell lakehouse maintain removes old versions), then run the same command to resume.",
    ),
    _Known(
        "Access ?Denied|Forbidden|Status Code: 403|InvalidAccessKeyId|SignatureDoesNotMatch|NoAuthWithAWSException"
        "|Unable to load credentials|No AWS Credentials",
        "S3 denied access.",
        "Check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_REGION, and the permissions on that bucket.",
    ),
    _Known(
        "NoSuchBucket|UnknownStoreException|bucket does not exist",
        "The bucket does not exist.",
        "Check its name, AWS_REGION and AWS_ENDPOINT_URL_S3, then run the same command to resume.",
    ),
    _Known(
        r"Timed out waiting for a node|TimeoutException.*(metadata|topic|fetch|describeTopics|listOffsets)"
        "|UnknownTopicOrPartition|Failed to update metadata",
        "Kafka is not reachable, or the topic does not exist.",
        "Check GROUNDSWELL_STREAM__BOOTSTRAP and GROUNDSWELL_STREAM__TOPIC, then run the same command to resume.",
    ),
    _Known(
        "UnknownHostException|Connect to .* failed|Connection refused|ConnectException|Unable to execute HTTP request"
        "|httpx\\.(Connect|Read|Write|Pool)(Error|Timeout)",
        "A server is not reachable.",
        "Check that it runs and that its address (AWS_ENDPOINT_URL_S3, GROUNDSWELL_LAKEHOUSE__API_URL) is right; then run again.",
    ),
    _Known(
        "DELTA_DIFFERENT_DELTA_TABLE|differentDeltaTable|used to read from another Delta table|DELTA_CHANGE_TABLE_FEED_DISABLED",
        "The checkpoint belongs to another table: the table that it followed was deleted and recreated.",
        "Move that layer's folder in checkpoints/ and the downstream tables away, and run again: they are recreated.",
    ),
    _Known(
        "DELTA_VERSIONS_NOT_CONTIGUOUS|DELTA_FILE_NOT_FOUND|DELTA_CDC_.*VERSION",
        "Changes that the stream had not read yet were removed.",
        "Move the tables and checkpoints of the downstream layers away, and run again: they are recreated.",
    ),
    _Known(
        "failOnDataLoss|Some data may have been lost|OffsetOutOfRange|KAFKA_DATA_LOSS",
        "Kafka no longer has messages that the checkpoint refers to: they expired, or the topic was recreated.",
        "Use another topic or another root. Groundswell does not skip lost messages.",
    ),
    _Known(
        "STREAMING_CHECKPOINT|checkpoint|OffsetSeqLog|offset log|SCHEMA_NOT_COMPATIBLE|Malformed log|Incomplete log|"
        "unknown version",
        "The checkpoint belongs to another source or schema, or is damaged.",
        "It was not changed. Use the root it belongs to; docs/lakehouse.md describes how to recreate tables.",
    ),
    _Known("PATH_NOT_FOUND|FileNotFoundException|does not exist", "A folder or file does not exist.", "Check the path."),
)


@contextmanager
def translate_spark_errors(root: str, source: str | None = None) -> Iterator[None]:
    """Turn Spark's exceptions in the block into a `LakehouseError`; Groundswell's own errors pass unchanged."""
    from py4j.protocol import Py4JError
    from pyspark.errors import PySparkException

    try:
        yield
    except GroundswellError:
        raise
    except (PySparkException, Py4JError) as error:
        raise translated_error(str(error), root, source) from error


def translated_error(trace: str, root: str, source: str | None = None) -> LakehouseError:
    """Return the error that matches Spark's message.

    Args:
        trace: Spark's message with its Java and Python traces.
        root: The folder or URI of the tables.
        source: The source of the records.
    """
    trace = trace.partition("=== Streaming Query ===")[0]
    if ours := re.search(r"data\.errors\.\w+: (.*?)(?:\n\s*(?:at |File |SQLSTATE|JVM stacktrace|\n)|\Z)", trace, re.DOTALL):
        # Raised by our own code in a Python worker: the text already has its remedy.
        return LakehouseError(
            "Spark's workers failed.", found=ours[1].strip(), remedy="Fix it, then run the same command to resume."
        )
    # Class names in a trace may match any pattern; the exception itself comes before its trace.
    trace = "\n".join(line for line in trace.splitlines() if not line.lstrip().startswith("at "))
    where = f"tables in {root}" + (f", records from {source}" if source else "")
    for known in _KNOWN:
        if found := re.search(f"[^\n]*(?:{known.pattern})[^\n]*", trace, re.IGNORECASE):
            return LakehouseError(known.message, found=found[0].strip()[:400], expected=where, remedy=known.remedy)
    lines = [line.strip() for line in trace.splitlines() if line.strip()]
    raised = [line for line in lines[1:] if re.match(r"(Caused by: )?[\w.]+(Error|Exception)\b", line)]
    found = "\n".join([lines[0], *raised[-1:]] if lines else [])[:1500]
    return LakehouseError("Spark failed.", found=found, remedy="Run the same command to resume.")
