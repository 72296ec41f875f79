"""Deleting all of a topic."""

from typing import Any


def forget_topic(client: Any, topic: str) -> int:
    """Delete a topic's rows, rollups and identity; gives how many messages it had. Blocks until they are gone."""
    parameters = {"topic": topic}
    counted = client.query("SELECT count() FROM predictions FINAL WHERE topic = {topic:String}", parameters=parameters)
    count = int(counted.result_rows[0][0])  # before they go
    for table in ("rollup_second", "rollup_minute", "rollup_hour", "predictions", "topics"):
        client.command(
            f"ALTER TABLE {table} DELETE WHERE topic = {{topic:String}} SETTINGS mutations_sync = 1", parameters=parameters
        )
    return count
