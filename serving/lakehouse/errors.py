"""What Spark and Java say, as one error a person can act on. The checkpoint is never touched by a failure."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from data.errors import GroundswellError, LakehouseError


class _Known(NamedTuple):
    says: str
    """A regular expression, any case."""
    message: str
    remedy: str


_KNOWN = (
    _Known(
        "No space left on device|Disk quota exceeded",
        "The disk is full.",
        "Make room (groundswell lakehouse maintain removes what is no longer needed); the same command goes on.",
    ),
    _Known(
        "Access ?Denied|Forbidden|Status Code: 403|InvalidAccessKeyId|SignatureDoesNotMatch|NoAuthWithAWSException"
        "|Unable to load credentials|No AWS Credentials",
        "S3 refuses us.",
        "Look at AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_REGION, and what they may do in that bucket.",
    ),
    _Known(
        "NoSuchBucket|UnknownStoreException|bucket does not exist",
        "The bucket is not there.",
        "Look at its name, AWS_REGION and AWS_ENDPOINT_URL_S3; the same command goes on when it is back.",
    ),
    _Known(
        r"Timed out waiting for a node|TimeoutException.*(metadata|topic|fetch|describeTopics|listOffsets)"
        "|UnknownTopicOrPartition|Failed to update metadata",
        "Kafka does not answer, or has no such topic.",
        "Look at GROUNDSWELL_STREAM__BOOTSTRAP and GROUNDSWELL_STREAM__TOPIC; the same command goes on.",
    ),
    _Known(
        "UnknownHostException|Connect to .* failed|Connection refused|ConnectException|Unable to execute HTTP request"
        "|httpx\\.(Connect|Read|Write|Pool)(Error|Timeout)",
        "A server does not answer.",
        "Is it running, and its address right (AWS_ENDPOINT_URL_S3, GROUNDSWELL_LAKEHOUSE__API_URL)? The same command goes on.",
    ),
    _Known(
        "DELTA_DIFFERENT_DELTA_TABLE|differentDeltaTable|used to read from another Delta table|DELTA_CHANGE_TABLE_FEED_DISABLED",
        "The checkpoint belongs to another table: the one it followed was removed and made anew.",
        "Move that layer's folder in checkpoints/ and the tables behind it away, and run again: they are made anew.",
    ),
    _Known(
        "DELTA_VERSIONS_NOT_CONTIGUOUS|DELTA_FILE_NOT_FOUND|DELTA_CDC_.*VERSION",
        "What the stream had not read yet has been removed.",
        "Move the tables and checkpoints of the layers behind it away, and run again: they are made anew.",
    ),
    _Known(
        "failOnDataLoss|Some data may have been lost|OffsetOutOfRange|KAFKA_DATA_LOSS",
        "Kafka no longer has messages that the checkpoint asks for: they were too old, or the topic was made anew.",
        "Take another topic's name or another root. Groundswell does not skip lost messages by itself.",
    ),
    _Known(
        "STREAMING_CHECKPOINT|checkpoint|OffsetSeqLog|offset log|SCHEMA_NOT_COMPATIBLE|Malformed log|Incomplete log|"
        "unknown version",
        "The checkpoint is of another source or another schema, or damaged.",
        "It is left as it was. Use the root it belongs to; docs/lakehouse.md says how tables are made anew.",
    ),
    _Known("PATH_NOT_FOUND|FileNotFoundException|does not exist", "That folder or file is not there.", "Look at the path."),
)


@contextmanager
def explained(root: str, source: str | None = None) -> Iterator[None]:
    """Turn what Spark raises in the block into a `LakehouseError`; our own errors pass."""
    from py4j.protocol import Py4JError
    from pyspark.errors import PySparkException

    try:
        yield
    except GroundswellError:
        raise
    except (PySparkException, Py4JError) as error:
        raise explanation(str(error), root, source) from error


def explanation(said: str, root: str, source: str | None = None) -> LakehouseError:
    """The error for people in what Spark said.

    Args:
        said: With its Java and Python traces.
        root: Of the tables.
        source: Where records come from.
    """
    said = said.partition("=== Streaming Query ===")[0]
    if ours := re.search(r"data\.errors\.\w+: (.*?)(?:\n\s*(?:at |File |SQLSTATE|JVM stacktrace|\n)|\Z)", said, re.DOTALL):
        # Raised by our own code in a Python worker: the text is for people already.
        return LakehouseError("Spark's workers cannot go on.", found=ours[1].strip(), remedy="The same command goes on then.")
    # A class in a trace may be called by any name; what was raised stands before its trace.
    said = "\n".join(line for line in said.splitlines() if not line.lstrip().startswith("at "))
    where = f"tables in {root}" + (f", records from {source}" if source else "")
    for known in _KNOWN:
        if found := re.search(f"[^\n]*(?:{known.says})[^\n]*", said, re.IGNORECASE):
            return LakehouseError(known.message, found=found[0].strip()[:400], expected=where, remedy=known.remedy)
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    raised = [line for line in lines[1:] if re.match(r"(Caused by: )?[\w.]+(Error|Exception)\b", line)]
    found = "\n".join([lines[0], *raised[-1:]] if lines else [])[:1500]
    return LakehouseError("Spark cannot go on.", found=found, remedy="The same command goes on from there.")
