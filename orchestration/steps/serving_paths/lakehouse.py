"""The path through Spark: files of records, Bronze, Silver, Gold."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime

from data.artifacts import write_text
from data.errors import StreamError
from data.labels import LABELS
from orchestration.local.jars import require_java, spark_jars
from orchestration.local.programs import Program
from orchestration.progress import report
from orchestration.steps.serving_paths.outcomes import Numbered, Outcome, refused
from orchestration.steps.serving_paths.request import LIMIT_S, Request, Sent, Skipped, progress_of, require_packages
from orchestration.steps.serving_paths.rows import source_of
from serving.tiers import BASE

_FAILED = "the model failed on it"


def send_to_lakehouse(request: Request) -> Sent:
    """Write the texts to a file of records, fill a lakehouse of its own with Spark, and read Gold and the rejects table.

    Raises:
        Skipped: Spark cannot run here.
    """
    require_packages("lakehouse", "pyspark", "delta", "deltalake")
    report("spark: jars")
    try:
        require_java()
        spark_jars()
    except StreamError as error:
        raise Skipped(error.in_one_line) from None
    folder = request.own_folder("spark")
    at = datetime.now(UTC).isoformat(timespec="seconds")
    records = [
        {"id": str(row.number), "text": row.text, "source": source_of(row.domain), "created_at": at} for row in request.rows
    ]
    (folder / "records").mkdir()
    write_text(folder / "records" / "records.jsonl", "".join(json.dumps(record) + "\n" for record in records))
    arguments = ["-m", "orchestration.cli", "lakehouse", "run", "--once", "--source", str(folder / "records")]
    variables = request.environment(folder, GROUNDSWELL_LAKEHOUSE__ROOT=str(folder / "tables"))
    with Program("spark", arguments, variables, folder) as program:
        program.wait(LIMIT_S, progress_of("spark"))
    return Sent(list(_stored(str(folder / "tables"))), "`groundswell lakehouse run --once`, rows of Gold and rejects")


def _stored(root: str) -> Iterator[Numbered]:
    from serving.lakehouse.status import open_table

    for row in (
        open_table(root, "gold").to_pyarrow_table(columns=["id", "label", *LABELS, "sarcasm", "model_version"]).to_pylist()
    ):
        if row["label"] is None:
            yield int(row["id"]), refused(_FAILED)
            continue
        version, _, tier = row["model_version"].partition("/")  # a `model_key`
        probabilities = tuple(row[label] for label in LABELS)
        yield int(row["id"]), Outcome(row["label"], probabilities, None, version, tier or BASE, sarcasm=row["sarcasm"])
    for row in open_table(root, "silver_rejected").to_pyarrow_table(columns=["id", "reason"]).to_pylist():
        yield int(row["id"] or -1), refused(row["reason"])
