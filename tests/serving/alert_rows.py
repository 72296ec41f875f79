"""An alert as a row of the warehouse."""

from datetime import datetime, timedelta
from typing import Any


def alert_row(name: str, at: datetime, **changes: Any) -> dict[str, Any]:
    """Return the row of an open alert of the source `shop`, which began at `at`."""
    return {
        "id": name,
        "source": "shop",
        "direction": "down",
        "started_at": at,
        "detected_at": at + timedelta(seconds=4),
        "closed_at": None,
        "z": -7.5,
        "moving_average": -0.62,
        "baseline_mean": 0.05,
        "baseline_std": 0.7,
        "volume": 41,
        "window_s": 5,
        "texts": ["Still down."],
        "revision": 1,
        **changes,
    }


def insert_alert(client: Any, name: str, at: datetime, **changes: Any) -> None:
    """Write an alert to the warehouse."""
    row = alert_row(name, at, **changes)
    client.insert("alerts", [list(row.values())], column_names=list(row))
