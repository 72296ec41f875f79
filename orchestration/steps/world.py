"""What the retraining sensors look at."""

from datetime import datetime
from pathlib import Path

from data.artifacts import digest, read_json
from data.errors import GroundswellError
from orchestration.layout import Layout
from orchestration.retraining import World, config_digest
from orchestration.steps.data import fetch_sets
from serving.bundle import read_ledger

TRAINED_FILE = "trained.json"
"""In the gate's folder: fingerprint and rows of the data that the last verdict was about."""


def labelled(layout: Layout) -> dict:
    """Fingerprint and number of rows of all labelled text there is now."""
    sets = fetch_sets(layout).sets
    return {
        "fingerprint": digest({raw.name: raw.fingerprint for raw in sets}),
        "rows": sum(raw.rows for raw in sets),
    }


def look(layout: Layout) -> World:
    """Gather what a decision is made from; what is not there yet is None."""
    now = labelled(layout)
    trained = _read(layout.gate / TRAINED_FILE)
    quality = _read(layout.quality)
    since = next((row["at"] for row in reversed(_ledger(layout)) if row["alias"] == "production"), None)
    return World(
        data_fingerprint=now["fingerprint"],
        labelled_rows=now["rows"],
        config_digest=config_digest(),
        trained_fingerprint=trained.get("fingerprint"),
        trained_rows=trained.get("rows", 0),
        production_quality=quality.get("macro_recall"),
        production_since=datetime.fromisoformat(since) if since else None,
    )


def _read(path: Path) -> dict:
    try:
        return read_json(path)
    except OSError:
        return {}


def _ledger(layout: Layout) -> list[dict]:
    try:
        return read_ledger(layout.var)
    except GroundswellError:
        return []
