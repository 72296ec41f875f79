"""When to train again: a pure decision over what is known, so that a test can walk through every order of events.

The decision never looks at a cursor. It compares the world with what the last training saw, and names each request by
what caused it (data fingerprint, configuration, reason). Dagster launches a run key once, so a tick that is repeated, a
crash between request and cursor, or a cursor set back ask for the same key again: nothing is repeated and nothing lost.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import ClassVar

from data.artifacts import digest, sha256_file
from data.settings import Settings, project_root, section_config


class RetrainingSettings(Settings):
    """When to train again."""

    section: ClassVar[str] = "retraining"
    model_config = section_config("retraining")

    min_new_rows: int = 500
    """New labelled rows since the last training that ask for another."""
    quality_floor: float = 0.6
    """Macro-recall of the production model, measured on the newest test rows, 0 to 1."""
    max_age_days: float = 45.0
    """A production model older than this is stale."""
    webhook_url: str | None = None
    """Told when a run fails; nothing is sent when unset."""


@dataclass(frozen=True)
class World:
    """What a decision is made from."""

    data_fingerprint: str
    labelled_rows: int
    config_digest: str
    trained_fingerprint: str | None = None
    """Data fingerprint of the last training that came to a verdict; None: there was none."""
    trained_rows: int = 0
    production_quality: float | None = None
    production_since: datetime | None = None


@dataclass(frozen=True)
class Request:
    """One retraining to ask for."""

    reason: str
    run_key: str
    explanation: str


def _request(reason: str, world: World, explanation: str) -> Request:
    key = digest({"data": world.data_fingerprint, "config": world.config_digest, "reason": reason})
    return Request(reason, f"{reason}-{key[:20]}", explanation)


def new_rows_request(world: World, settings: RetrainingSettings) -> Request | None:
    """Ask for a retraining when enough new labelled rows have come since the last one."""
    if world.trained_fingerprint is None or world.data_fingerprint == world.trained_fingerprint:
        return None  # the first training is a person's decision
    new = world.labelled_rows - world.trained_rows
    if new < settings.min_new_rows:
        return None
    return _request("new_labels", world, f"{new:,} new labelled rows, at least {settings.min_new_rows:,} asked for")


def quality_request(world: World, settings: RetrainingSettings, now: datetime) -> Request | None:
    """Ask for a retraining when the production model measures badly or is stale."""
    quality = world.production_quality
    if quality is not None and quality < settings.quality_floor:
        return _request("quality", world, f"macro-recall {quality:.4f} is under the floor {settings.quality_floor:.4f}")
    since = world.production_since
    if since is not None and now - since > timedelta(days=settings.max_age_days):
        days = (now - since).days
        return _request("freshness", world, f"in production for {days} days, at most {settings.max_age_days:g} asked for")
    return None


def config_digest() -> str:
    """Changes with every file under configs/."""
    folder: Path = project_root() / "configs"
    return digest({str(path.relative_to(folder)): sha256_file(path) for path in sorted(folder.rglob("*.yaml"))})
