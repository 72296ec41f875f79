"""Rows of predictions, a second database, and what the rollups must hold."""

import json
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from serving.warehouse.blocks import write_block

LABELS = ("negative", "neutral", "positive")
ROLLUPS = {"second": 1, "minute": 60, "hour": 3600}
NOW = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1)


@contextmanager
def empty_database(client: Any, var: Path) -> Iterator[Any]:
    """Open a database without a schema; a process has only one chDB, so it is a second database in it."""
    import clickhouse_connect

    client.command("CREATE DATABASE empty")
    other = clickhouse_connect.get_client(interface="chdb", path=str(var / "warehouse"), database="empty")
    yield other
    other.close()
    client.command("DROP DATABASE empty SYNC")


def row(topic, partition, offset, **changes):
    return {
        "topic": topic,
        "partition": partition,
        "offset": offset,
        "id": f"{partition}-{offset}",
        "source": "shop",
        "text": "x",
        "created_at": None,
        "produced_at": NOW,
        "predicted_at": NOW,
        "label": "negative",
        "confidence": 0.7,
        "probabilities": [0.7, 0.2, 0.1],
        "sarcasm": None,
        "tier": "base",
        "model_version": "v",
        "is_share": False,
        **changes,
    }


def write(client, topic, rows):
    offsets = {}
    for each in rows:
        first, last = offsets.get(each["partition"], (each["offset"],) * 2)
        offsets[each["partition"]] = min(first, each["offset"]), max(last, each["offset"])
    write_block(client, topic, [json.dumps(each, default=datetime.isoformat).encode() for each in rows], offsets)


def counted(rows, step_s):
    """Return the expected rollup: by bucket and source, from the last prediction for each message."""
    last = {}
    for each in rows:
        key = each["partition"], each["offset"]
        if key not in last or each["predicted_at"] >= last[key]["predicted_at"]:
            last[key] = each
    sums = defaultdict(lambda: [0, 0, 0, 0, 0, 0.0, 0.0])
    for each in last.values():
        begins = int((each["created_at"] or each["produced_at"]).timestamp()) // step_s * step_s
        row_sums = sums[begins, each["source"]]
        score = each["probabilities"][2] - each["probabilities"][0]
        opinion = ((LABELS.index(each["label"]), 1), (3, 1), (5, score), (6, score * score))
        for place, value in ((4, 1),) if each["is_share"] else opinion:
            row_sums[place] += value
    return dict(sums)


def in_rollup(client, topic, name):
    rows = client.query(
        "SELECT toUnixTimestamp(bucket), source, sum(negative), sum(neutral), sum(positive), sum(messages), sum(shares), "
        f"sum(score), sum(score_squared) FROM rollup_{name} FINAL WHERE topic = {{topic:String}} GROUP BY bucket, source",
        parameters={"topic": topic},
    ).result_rows
    return {tuple(each[:2]): list(each[2:]) for each in rows}


def in_messages(client, topic, step_s):
    rows = client.query(
        f"SELECT intDiv(toUnixTimestamp(event_at), {step_s}) * {step_s} AS begins, source, "
        "countIf(label = 'negative' AND NOT is_share), countIf(label = 'neutral' AND NOT is_share), "
        "countIf(label = 'positive' AND NOT is_share), countIf(NOT is_share), countIf(is_share), "
        "sumIf(p.score, NOT is_share), sumIf(p.score * p.score, NOT is_share) "
        "FROM predictions AS p FINAL WHERE topic = {topic:String} GROUP BY begins, source",
        parameters={"topic": topic},
    ).result_rows
    return {tuple(each[:2]): list(each[2:]) for each in rows}
