"""What Spark and Java say, as one error a person can act on. The checkpoint is never touched by a failure."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from data.errors import GroundswellError, LakehouseError

_REASONS: tuple[tuple[str, str, str], ...] = (
    (r"No space left on device|Disk quota exceeded",
     "The disk is full.", "Make room (`groundswell lakehouse maintain` removes what is no longer needed); the same command goes on."),
    (r"(Access ?Denied|Forbidden|Status Code: 403|InvalidAccessKeyId|SignatureDoesNotMatch|NoAuthWithAWSException|Unable to load credentials)",
     "S3 refuses us.", "Look at AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_REGION, and what they may do in that bucket."),
    (r"(NoSuchBucket|UnknownStoreException|bucket does not exist)",
     "The bucket is not there.", "Look at its name, AWS_REGION and AWS_ENDPOINT_URL_S3; the same command goes on when it is back."),
    (r"(UnknownHostException|Connect to .* failed|Connection refused|ConnectException|Unable to execute HTTP request)",
     "A server does not answer.", "Is it running, and its address right (AWS_ENDPOINT_URL_S3, GROUNDSWELL_STREAM__BOOTSTRAP, "
     "GROUNDSWELL_LAKEHOUSE__API_URL)? The same command goes on."),
    (r"(Timed out waiting for a node|TimeoutException.*(metadata|topic|fetch)|UnknownTopicOrPartition|Failed to update metadata)",
     "Kafka does not answer, or has no such topic.", "Look at GROUNDSWELL_STREAM__BOOTSTRAP and GROUNDSWELL_STREAM__TOPIC; the same command goes on."),
    (r"(DELTA_DIFFERENT_DELTA_TABLE|differentDeltaTable|DELTA_CHANGE_TABLE_FEED_DISABLED)",
     "The checkpoint belongs to another table: the one it followed was removed and made anew.",
     "Move that layer's folder in checkpoints/ and the tables behind it away, and run again; they are made from the layer before."),
    (r"(DELTA_VERSIONS_NOT_CONTIGUOUS|DELTA_FILE_NOT_FOUND|DELTA_CDC_.*VERSION)",
     "What the stream had not read yet has been removed.", "Move the tables and checkpoints of the layers behind away and run again."),
    (r"(failOnDataLoss|Some data may have been lost|OffsetOutOfRange)",
     "Kafka no longer has messages that the checkpoint asks for: they were too old, or the topic was made anew.",
     "If they may be missing, take a new topic's name or a new root; Groundswell does not skip over lost messages by itself."),
    (r"(STREAMING_CHECKPOINT|checkpoint|OffsetSeqLog|offset log|SCHEMA_NOT_COMPATIBLE|IncompatibleSchema|Malformed log|Incomplete log)",
     "The checkpoint is of another source, another schema, or damaged.",
     "It is left as it was. Use the root it belongs to, or move checkpoints/ away: tables skip what they have."),
    (r"(BundleError|BUNDLE)", "A bundle cannot be loaded where Spark runs.", "groundswell doctor; then export or copy the bundle again."),
    (r"(PATH_NOT_FOUND|FileNotFoundException|does not exist)", "That folder or file is not there.", "Look at the path."),
    (r"(DELTA_|delta)", "Delta refuses.", "See the message; nothing was half-written."),
)  # fmt: skip


@contextmanager
def explained(root: str, source: str | None = None) -> Iterator[None]:
    """Turn what Spark raises in the block into a `LakehouseError`; our own errors pass."""
    from py4j.protocol import Py4JError
    from pyspark.errors import PySparkException

    try:
        yield
    except GroundswellError:
        raise
    except (PySparkException, Py4JError, OSError) as error:
        raise _explain(str(error), root, source) from error


def _explain(said: str, root: str, source: str | None) -> LakehouseError:
    said = said.split("=== Streaming Query ===")[0]
    if ours := re.search(r"data\.errors\.(\w+): (.*?)(?:\n\s*(?:at |File |SQLSTATE|\n)|$)", said, re.DOTALL):
        # Raised by our own code in a Python worker: its text is already for people.
        return LakehouseError(
            "Spark's workers cannot go on.", found=ours[2].strip(), remedy="Mend that; the same command goes on."
        )
    for pattern, message, remedy in _REASONS:
        if found := re.search(f"[^\n]*{pattern}[^\n]*", said, re.IGNORECASE):
            return LakehouseError(
                message,
                found=found[0].strip()[:400],
                expected=f"tables in {root}" + (f", records from {source}" if source else ""),
                remedy=remedy,
            )
    lines = [line.strip() for line in said.splitlines() if line.strip() and not line.lstrip().startswith(("at ", "File "))]
    return LakehouseError(
        "Spark cannot go on.", found="\n".join(lines[:6])[:1000], remedy="The same command goes on from the last commit."
    )
