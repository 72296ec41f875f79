"""Deletes what the warehouse must no longer hold: all rows of a topic, or messages by their ids or authors.

A forgotten message keeps its row, its times and its source, without id, text, author and prediction, and no later prediction
replaces it. So the rollups can be recounted without it, and the message does not come back when it is delivered again. Workers
leave out later copies of it at other offsets (`keys.py`).
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote

from data.forgetting import Request
from serving.warehouse.blocks import CHUNK, refresh_rollups

_CHARS = 3_900
"""Most characters of the ids of one statement, as its address has them: from 4,096 on clickhouse-connect sends the parameters
of a query as a form, which the warehouse server does not read."""
_CLOCKS = timedelta(hours=1)
"""How far the warehouse's clock may be behind this machine's."""
_CLEARED = """
INSERT INTO predictions (topic, partition, offset, id, source, text, author_id, created_at, produced_at, event_at, predicted_at,
                         label, confidence, probabilities, score, sarcasm, tier, model_version, forgotten)
SELECT topic, partition, offset, '', source, '', '', created_at, produced_at, event_at,
       toDateTime64('2299-12-31 00:00:00', 3, 'UTC'), 'neutral', 0, [0, 0, 0], 0, NULL, '', '', true
FROM predictions AS p FINAL
WHERE NOT forgotten AND ({condition})
SETTINGS max_partitions_per_insert_block = 0
"""
_IDS = "has({ids:Array(String)}, id)"
_KEY = "lower(hex(SHA256(text)))"
_EXAMPLE = f"arrayExists(text -> has({{keys:Array(String)}}, {_KEY}), texts)"
_AUTHOR = "author_id = {author:String} AND event_at <= {until:DateTime64(3, 'UTC')}"


@dataclass(frozen=True)
class Held:
    """Messages that the warehouse holds."""

    ids: frozenset[str]
    texts: frozenset[str]


def find_messages(client: Any, requests: Iterable[Request]) -> Held:
    """Return the ids and texts of the messages that requests are about, in all versions that are on disk."""
    ids: set[str] = set()
    texts: set[str] = set()
    for condition, parameters in _conditions(requests):
        query = f"SELECT DISTINCT id, text FROM predictions WHERE {condition}"
        for identity, text in client.query(query, parameters=parameters).result_rows:
            ids.add(identity)
            texts.add(text)
    return Held(frozenset(ids), frozenset(texts))


def forget_messages(client: Any, requests: Sequence[Request], texts: Iterable[str] = ()) -> dict[str, int]:
    """Forget messages, and recount the rollups without them. Blocks until they are off the disk; may be repeated.

    Args:
        client: From `connect`.
        requests: The messages and authors. Writers leave out later copies from the moment this begins.
        texts: Removed from the examples of alerts too.

    Returns:
        Number of rows by table.
    """
    if not requests:
        return {}
    add_keys(client, requests)
    cleared = clear_messages(client, requests, since=min(request.requested_at for request in requests))
    # Until the parts are rewritten, the deleted rows are hidden and still on the disk.
    client.command("ALTER TABLE predictions APPLY DELETED MASK SETTINGS mutations_sync = 1")
    return {"predictions": cleared, "alerts": _forget_examples(client, texts)}


def add_keys(client: Any, requests: Iterable[Request]) -> None:
    """Write the keys by which writers recognize later copies; the same key counts once."""
    keys = {(request.kind, request.key, _until(request)) for request in requests}
    client.insert("forgotten", [list(key) for key in keys], column_names=["kind", "key", "until"])


def clear_messages(client: Any, requests: Sequence[Request], *, since: datetime) -> int:
    """Clear the rows of messages, hide what they held, and recount their rollups; return how many were not cleared before.

    Args:
        client: From `connect`.
        requests: The messages and authors.
        since: When they were asked for first: rollups of rows that were cleared since then are recounted.
    """
    count = 0
    for condition, parameters in _conditions(requests):
        if found := _count(client, f"predictions FINAL WHERE NOT forgotten AND ({condition})", parameters):
            client.command(_CLEARED.format(condition=condition), parameters=parameters)
            count += found
        # The rows below the cleared ones, with the texts, which reads without FINAL would find.
        rows = f"predictions WHERE NOT forgotten AND ({condition})"
        if _count(client, rows, parameters):
            client.command(f"DELETE FROM {rows} SETTINGS lightweight_deletes_sync = 1", parameters=parameters)
    _recount(client, since - _CLOCKS)  # also those that a call cleared that was killed before it recounted
    return count


def find_left(client: Any, requests: Iterable[Request], texts: Iterable[str] = ()) -> dict[str, int]:
    """Return, by table, how many rows still hold one of the messages, in any version on the disk. Empty: none."""
    found: dict[str, int] = {}
    for condition, parameters in _conditions(requests):
        rows = f"predictions WHERE NOT forgotten AND ({condition})"
        found["predictions"] = found.get("predictions", 0) + _count(client, rows, parameters)
    found["alerts"] = sum(_count(client, f"alerts WHERE {_EXAMPLE}", parameters) for parameters in _text_keys(texts))
    return {table: count for table, count in found.items() if count}


def write_notices(client: Any, notices: Iterable[tuple[str, int, int, str]]) -> None:
    """Record notices by topic, partition, offset and kind; each counts once."""
    client.insert("notices", [list(row) for row in notices], column_names=["topic", "partition", "offset", "kind"])


def count_notices(client: Any) -> dict[str, int]:
    """Return how many notices the topics had, by kind."""
    rows = client.query("SELECT kind, count() FROM notices FINAL GROUP BY kind ORDER BY kind").result_rows
    return {str(kind): int(count) for kind, count in rows}


def _conditions(requests: Iterable[Request]) -> list[tuple[str, dict[str, Any]]]:
    """Return conditions on rows of `predictions`, with their parameters."""
    requests = list(requests)
    ids = sorted({request.value for request in requests if request.kind != "author"})
    conditions: list[tuple[str, dict[str, Any]]] = [(_IDS, {"ids": part}) for part in _parts(ids)]
    for request in requests:
        if request.kind == "author":
            conditions.append((_AUTHOR, {"author": request.value, "until": _until(request)}))
    return conditions


def _parts(values: Iterable[str]) -> Iterator[list[str]]:
    from clickhouse_connect.driver.binding import format_bind_value

    part: list[str] = []
    size = 0
    for value in values:
        length = len(quote(format_bind_value([value]), safe=""))
        if part and size + length > _CHARS:
            yield part
            part, size = [], 0
        part.append(value)
        size += length
    if part:
        yield part


def _until(request: Request) -> datetime | None:
    return request.requested_at if request.kind == "author" else None


def _recount(client: Any, since: datetime) -> None:
    query = (
        f"SELECT topic, partition, intDiv(offset, {CHUNK}) AS chunk FROM predictions WHERE forgotten "
        "AND written_at >= {since:DateTime64(3, 'UTC')} GROUP BY topic, partition, chunk ORDER BY chunk"
    )
    for topic, partition, chunk in client.query(query, parameters={"since": since}).result_rows:
        refresh_rollups(client, topic, {int(partition): (int(chunk) * CHUNK, int(chunk) * CHUNK)})


def _forget_examples(client: Any, texts: Iterable[str]) -> int:
    """Remove texts from the examples of alerts; return how many alerts had one."""
    count = 0
    for parameters in _text_keys(texts):
        if found := _count(client, f"alerts WHERE {_EXAMPLE}", parameters):
            client.command(
                f"ALTER TABLE alerts UPDATE texts = arrayFilter(text -> NOT has({{keys:Array(String)}}, {_KEY}), texts) "
                f"WHERE {_EXAMPLE} SETTINGS mutations_sync = 1",
                parameters=parameters,
            )
            count += found
    return count


def _text_keys(texts: Iterable[str]) -> Iterator[dict[str, Any]]:
    """Yield parameters with hashes of texts: the texts themselves are too long for a request's address."""
    keys = sorted({hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest() for text in texts if text})
    return ({"keys": part} for part in _parts(keys))


def _count(client: Any, rows: str, parameters: dict[str, Any]) -> int:
    return int(client.query(f"SELECT count() FROM {rows}", parameters=parameters).result_rows[0][0])


def forget_topic(client: Any, topic: str) -> int:
    """Delete a topic's rows, rollups and identity; return how many messages it had. Blocks until they are deleted."""
    parameters = {"topic": topic}
    count = _count(
        client, "predictions FINAL WHERE topic = {topic:String} AND NOT forgotten", parameters
    )  # before they are deleted
    for table in ("rollup_second", "rollup_minute", "rollup_hour", "predictions", "notices", "topics"):
        _delete(client, table, "topic = {topic:String}", parameters)
    return count


def forget_topics(client: Any, beginnings: Sequence[str]) -> list[str]:
    """Delete every topic whose name has one of these prefixes, and the alerts of sources that no other topic has.

    Returns:
        Those sources.
    """
    matches = " OR ".join(f"startsWith(topic, {{b{number}:String}})" for number in range(len(beginnings)))
    parameters = {f"b{number}": beginning for number, beginning in enumerate(beginnings)}
    topics = _column(client, f"SELECT DISTINCT topic FROM rollup_hour WHERE {matches}", parameters)
    sources = _column(
        client,
        f"SELECT DISTINCT source FROM rollup_hour WHERE {matches} "
        f"AND source NOT IN (SELECT DISTINCT source FROM rollup_hour WHERE NOT ({matches}))",
        parameters,
    )
    for topic in topics:
        forget_topic(client, topic)
    theirs = "has({sources:Array(String)}, source)"
    if sources:
        for table in ("alerts", "alert_mutes", "normal_minute"):
            _delete(client, table, theirs, {"sources": sources})
    return sources


def _column(client: Any, query: str, parameters: dict[str, Any]) -> list[str]:
    return [str(row[0]) for row in client.query(query, parameters=parameters).result_rows]


def _delete(client: Any, table: str, condition: str, parameters: dict[str, Any]) -> None:
    client.command(f"ALTER TABLE {table} DELETE WHERE {condition} SETTINGS mutations_sync = 1", parameters=parameters)
