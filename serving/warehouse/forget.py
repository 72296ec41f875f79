"""Deletes all rows of a topic, or of all topics with a prefix."""

from collections.abc import Sequence
from typing import Any


def forget_topic(client: Any, topic: str) -> int:
    """Delete a topic's rows, rollups and identity; return how many messages it had. Blocks until they are deleted."""
    parameters = {"topic": topic}
    counted = client.query("SELECT count() FROM predictions FINAL WHERE topic = {topic:String}", parameters=parameters)
    count = int(counted.result_rows[0][0])  # before they are deleted
    for table in ("rollup_second", "rollup_minute", "rollup_hour", "predictions", "topics"):
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
