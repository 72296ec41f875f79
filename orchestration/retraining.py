"""When to train again: a pure decision over the retraining state, so that tests can cover every order of events.

A sensor decides two things: is there a cause, and is an attempt due? The cause is new data, or a production model whose quality
is low or which is old. Whether an attempt is due depends on earlier retrainings: one runs at a time, the pause doubles after each
failure, and each cause has a maximum number of attempts. No decision depends on a cursor: a repeated tick, or a crash between
request and cursor, requests the same run key again, which Dagster launches once.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

from data.artifacts import digest, sha256_file
from data.settings import Settings, project_root, section_config


class RetrainingSettings(Settings):
    """When to train again."""

    section: ClassVar[str] = "retraining"
    model_config = section_config("retraining")

    min_new_rows: int = Field(default=500, ge=1)
    """New labeled rows since the last training that cause another: rows of the training split, duplicates removed."""
    quality_floor: float = Field(default=0.6, ge=0, le=1)
    """Macro-recall of the production model on labeled rows of its own traffic; it is a cause if the whole interval is below."""
    min_quality_rows: int = Field(default=200, ge=1)
    """Labeled rows since the promotion that a measurement of the quality needs."""
    max_age_days: float = Field(default=45.0, gt=0)
    """A production model older than this is stale."""
    retry_after_minutes: float = Field(default=15.0, gt=0)
    """Pause after a failed retraining; it doubles after each further failure, up to a day."""
    max_attempts: int = Field(default=3, ge=1)
    """Attempts for the same cause."""
    webhook_url: str | None = None
    """Notified when a run fails; nothing is sent when unset."""


LONGEST_WAIT = timedelta(days=1)
"""Between two attempts, whatever the number of failures."""
LONGEST_RUN = timedelta(days=1)
"""A run that started longer ago than this counts as failed: its process died without a report."""


@dataclass(frozen=True)
class Quality:
    """The last measurement of the production model."""

    macro_recall: float
    low: float
    high: float
    rows: int


@dataclass(frozen=True)
class RetrainingState:
    """The state from which a cause is derived."""

    data_digest: str
    """Changes with every enabled source of labeled text."""
    config_digest: str
    new_rows: int | None
    """Rows that training would use now, minus those of the last training; None: nothing has been trained yet."""
    at_most: bool = False
    """Whether `new_rows` still counts duplicates of other datasets; it is then below the minimum even so."""
    production_version: str | None = None
    production_since: datetime | None = None
    quality: Quality | str = "not measured yet"
    """Of the production version; or the reason for none."""


@dataclass(frozen=True)
class Cause:
    """A reason to train again."""

    reason: Literal["new_labels", "quality", "freshness"]
    key: str
    """Unchanged while nothing has changed that would justify another attempt."""
    text: str


@dataclass(frozen=True)
class Attempt:
    """An earlier retraining."""

    cause: str | None
    """Its `Cause.key`; None: started by a schedule or by a person."""
    outcome: Literal["running", "succeeded", "failed", "canceled"]
    at: datetime
    """When it ended, or when it started while it is running."""


def new_rows_cause(state: RetrainingState, settings: RetrainingSettings) -> Cause | str:
    """Return a cause if there are enough new labeled rows since the last training; else the reason why not."""
    if state.new_rows is None:
        return "Nothing has been trained yet; start the first training with `groundswell train`."
    rows = f"{'at most ' if state.at_most else ''}{state.new_rows:,} new labeled rows for training"
    text = f"{rows}, minimum {settings.min_new_rows:,}"
    if state.new_rows < settings.min_new_rows:
        return text
    return Cause("new_labels", _key("new_labels", state.data_digest, state.config_digest), text)


def quality_cause(state: RetrainingState, settings: RetrainingSettings, now: datetime) -> Cause | str:
    """Return a cause if the production model's quality is low or the model is stale; else the reason why not."""
    if state.production_since is None:
        return "No model is in production yet."
    version, quality = state.production_version, state.quality
    measured = quality
    if isinstance(quality, Quality):
        interval = f"{quality.macro_recall:.4f} [{quality.low:.4f}, {quality.high:.4f}] on {quality.rows:,} rows"
        measured = f"macro-recall {interval}, floor {settings.quality_floor:.4f}"
        if quality.high < settings.quality_floor:
            return Cause("quality", _key("quality", version, state.config_digest), f"{measured}: the whole interval is below")
    age = now - state.production_since
    limit = timedelta(days=settings.max_age_days)
    if age > limit:
        text = f"{version} has been in production for {age.days} days, maximum {settings.max_age_days:g}"
        # A retraining that was not promoted leaves the old model; the next attempt follows after the same time again.
        return Cause("freshness", _key("freshness", version, state.config_digest, age // limit), text)
    return f"{measured}; in production for {age.days} days"


def _key(reason: str, *what: object) -> str:
    return f"{reason}-{digest(list(what))[:20]}"


def due_attempt(cause: Cause, attempts: Sequence[Attempt], settings: RetrainingSettings, now: datetime) -> int | str:
    """Return the number of the attempt that is due for this cause, from 1; or the reason why none is.

    Args:
        cause: The cause of the retraining.
        attempts: Earlier retrainings, of any cause, in any order.
        settings: Pause after a failure, and maximum number of attempts.
        now: The time of the tick.
    """
    outcomes = [(one, _outcome(one, now)) for one in sorted(attempts, key=lambda one: one.at)]
    if any(outcome == "running" for _, outcome in outcomes):
        return "A retraining is running."
    mine = [outcome for one, outcome in outcomes if one.cause == cause.key]
    if "succeeded" in mine:
        return "It has been retrained for this cause already."
    if "canceled" in mine:
        return "The retraining for this cause was canceled; the next attempt follows a change of data or configuration."
    if len(mine) >= settings.max_attempts:
        return (
            f"The retraining for this cause has failed {len(mine)} times; the next attempt follows a change of data or "
            "configuration."
        )
    failures: list[datetime] = []
    for one, outcome in outcomes:
        failures = [] if outcome == "succeeded" else [*failures, one.at] if outcome == "failed" else failures
    if failures:
        wait = min(timedelta(minutes=settings.retry_after_minutes) * 2 ** min(len(failures) - 1, 30), LONGEST_WAIT)
        if now < failures[-1] + wait:
            due = f"{failures[-1] + wait:%Y-%m-%d %H:%M} UTC"
            return f"{len(failures)} failed in a row; the next attempt is due at {due}."
    return len(mine) + 1


def _outcome(attempt: Attempt, now: datetime) -> str:
    return "failed" if attempt.outcome == "running" and now - attempt.at > LONGEST_RUN else attempt.outcome


def config_digest() -> str:
    """Return a digest of every file under configs/."""
    folder: Path = project_root() / "configs"
    return digest({str(path.relative_to(folder)): sha256_file(path) for path in sorted(folder.rglob("*.yaml"))})
