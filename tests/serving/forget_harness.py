"""Stores with messages in them, for tests of forgetting: Delta tables without Spark, a warehouse, jobs, feedback, a cache."""

import asyncio
import json
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
from deltalake import write_deltalake

from data.cleaning import clean
from data.feedback import FeedbackLabel, open_feedback
from data.tweets import Tweet, parse, read
from serving.lakehouse.paths import table
from serving.prediction_keys import cache_key
from serving.service.cache.stores import SQLiteStore
from serving.service.jobs.queue import Options, classify_part
from serving.service.jobs.sqlite import SQLiteJobs

AT = datetime(2026, 1, 1, 10, tzinfo=UTC)
_TIME, _TEXTS = pa.timestamp("us", "UTC"), pa.list_(pa.string())
COPY = pa.struct(
    [
        *(("edit", pa.int32()), ("stated_at", _TIME), ("arrived_at", _TIME), ("origin", pa.string())),
        *(("block", pa.int64()), ("line", pa.int64()), ("item", pa.int32())),
    ]
)
_MESSAGE = [
    *(("id", pa.string()), ("first_id", pa.string()), ("replaces", _TEXTS), ("text", pa.string())),
    *(("user_id", pa.string()), ("event_at", _TIME), ("copy", COPY)),
]
SCHEMAS = {
    "bronze": [
        *(("raw", pa.string()), ("rescued", pa.binary()), ("record", pa.map_(pa.string(), pa.string()))),
        *(("source_file", pa.string()), ("topic", pa.string()), ("block", pa.int64()), ("line", pa.int64())),
    ],
    "silver": _MESSAGE,
    "gold": [*_MESSAGE, ("label", pa.string())],
    "silver_rejected": [
        *(("reason", pa.string()), ("id", pa.string()), ("raw", pa.string()), ("rescued", pa.binary()), ("copy", COPY)),
        ("rejected_at", _TIME),
    ],
}


def tables(root: Path, records: list[dict], rejected: list[tuple[str, dict]] = ()) -> str:
    """Write the four tables: records that are valid messages, and others with the reason why they are rejected."""
    rows: dict[str, list[dict]] = {layer: [] for layer in SCHEMAS}
    for line, (reason, record) in enumerate([*((None, record) for record in records), *rejected]):
        raw = json.dumps(record)
        copy = {"stated_at": AT, "arrived_at": AT, "origin": "file:/raw/a", "block": 0, "line": line, "edit": 0}
        rows["bronze"].append({"raw": raw, "record": [], "source_file": "file:/raw/a", "block": 0, "line": line})
        parsed = parse(raw)
        assert isinstance(parsed, dict)
        (message,) = read(parsed)
        if reason is not None:
            identity = getattr(message, "message_id", None)
            rows["silver_rejected"].append({"reason": reason, "id": identity, "raw": raw, "copy": copy, "rejected_at": AT})
            continue
        assert isinstance(message, Tweet), message
        row = {"id": message.message_id, "first_id": message.first_id, "replaces": list(message.replaces), "text": message.text}
        row |= {"user_id": message.author, "event_at": message.created_at or AT, "copy": copy}
        rows["silver"].append(row)
        rows["gold"].append(row | {"label": "neutral"})
    for layer, fields in SCHEMAS.items():
        feed = {"delta.enableChangeDataFeed": "true"} if layer == "silver" else None
        write_deltalake(table(str(root), layer), pa.Table.from_pylist(rows[layer], pa.schema(fields)), configuration=feed)
    return str(root)


def service(var: Path, texts: list[str], fingerprint: str) -> str:
    """Write texts as a finished and a waiting job, as cached predictions and as feedback; return the finished job's id."""

    async def fill() -> str:
        jobs = SQLiteJobs(var / "service" / "jobs-2.db")

        async def classify(given, options):
            return [{"label": "neutral", "windows": [{"text": text}]} for text in given]

        job = await jobs.add("", texts, Options(True))
        part = await jobs.claim()
        assert part is not None
        await classify_part(jobs, part, classify)
        await jobs.add("", [*texts, "waits"])
        await jobs.close()
        cache = SQLiteStore(var / "service" / "answers.db")
        await cache.put({cache_key(fingerprint, clean(text)): b"x" for text in texts}, 3600)
        await cache.close()
        return job.id

    for text in texts:
        open_feedback(var).add(FeedbackLabel(f" {text}\n", "negative", by="desk 4"))
    return asyncio.run(fill())


def results(var: Path, job: str) -> list[dict]:
    """The lines of a job's results."""

    async def collect() -> list[dict]:
        jobs = SQLiteJobs(var / "service" / "jobs-2.db")
        lines = [json.loads(line) async for part in jobs.results(job) for line in part.decode().splitlines()]
        await jobs.close()
        return lines

    return asyncio.run(collect())
