"""When to train again: a pure decision over what is known, so that a test can walk through every order of events.

A sensor asks twice: is there a cause, and is an attempt due? The cause names what is new (the data, or a production model that
measures badly or is old). Whether an attempt is due depends on the retrainings of before: one at a time, each failure waited out
for twice as long as the one before, and no cause tried more than a set number of times. No decision rests on a cursor: a tick
that is repeated, or a crash between request and cursor, asks for the same run key again, which Dagster launches once.
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
    """New labeled rows for training, since the last one, that ask for another: rows of the training split, duplicates removed."""
    quality_floor: float = Field(default=0.6, ge=0, le=1)
    """Macro-recall of the production model on labeled rows of what it really saw; asked for when the whole interval is below."""
    min_quality_rows: int = Field(default=200, ge=1)
    """Such rows, labeled since the model was promoted, below which its quality is not measured."""
    max_age_days: float = Field(default=45.0, gt=0)
    """A production model older than this is stale."""
    retry_after_minutes: float = Field(default=15.0, gt=0)
    """How long a failed retraining is waited out; twice as long after each further failure, a day at most."""
    max_attempts: int = Field(default=3, ge=1)
    """How often a retraining is tried for the same cause."""
    webhook_url: str | None = None
    """Notified when a run fails; nothing is sent when unset."""


LONGEST_WAIT = timedelta(days=1)
"""Between two attempts, however many have failed."""
LONGEST_RUN = timedelta(days=1)
"""A run that began longer ago than this has died without a word, and counts as failed."""


@dataclass(frozen=True)
class Quality:
    """The last measurement of the production model."""

    macro_recall: float
    low: float
    high: float
    rows: int


@dataclass(frozen=True)
class RetrainingState:
    """What a cause is found in."""

    data_digest: str
    """Changes with every enabled source of labeled text."""
    config_digest: str
    new_rows: int | None
    """Rows that training would use now, over those of the last training; None: nothing has been trained yet."""
    at_most: bool = False
    """Whether duplicates of other datasets are counted still: `new_rows` is then too few all the same."""
    production_version: str | None = None
    production_since: datetime | None = None
    quality: Quality | str = "not measured yet"
    """Of the production version; or why there is none."""


@dataclass(frozen=True)
class Cause:
    """A reason to train again."""

    reason: Literal["new_labels", "quality", "freshness"]
    key: str
    """The same as long as nothing has changed that would make another attempt worth it."""
    text: str


@dataclass(frozen=True)
class Attempt:
    """A retraining of before."""

    cause: str | None
    """Its `Cause.key`; None: started by the clock or by a person."""
    outcome: Literal["running", "succeeded", "failed", "canceled"]
    at: datetime
    """When it ended, or began while it is running."""


def new_rows_cause(state: RetrainingState, settings: RetrainingSettings) -> Cause | str:
    """Enough new labeled rows have come since the last training; or why that is no cause."""
    if state.new_rows is None:
        return "Nothing has been trained yet; the first training is started by a person."
    rows = f"{'at most ' if state.at_most else ''}{state.new_rows:,} new labeled rows for training"
    text = f"{rows}, at least {settings.min_new_rows:,} are asked for"
    if state.new_rows < settings.min_new_rows:
        return text
    return Cause("new_labels", _key("new_labels", state.data_digest, state.config_digest), text)


def quality_cause(state: RetrainingState, settings: RetrainingSettings, now: datetime) -> Cause | str:
    """The production model measures badly or is stale; or why that is no cause."""
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
        text = f"{version} has been in production for {age.days} days, at most {settings.max_age_days:g} are asked for"
        # A retraining that was not promoted leaves the old model; it is tried again when as much time has passed once more.
        return Cause("freshness", _key("freshness", version, state.config_digest, age // limit), text)
    return f"{measured}; in production for {age.days} days"


def _key(reason: str, *what: object) -> str:
    return f"{reason}-{digest(list(what))[:20]}"


def due_attempt(cause: Cause, attempts: Sequence[Attempt], settings: RetrainingSettings, now: datetime) -> int | str:
    """The number of the attempt that is due for this cause, from 1; or why none is.

    Args:
        cause: What asks for it.
        attempts: Retrainings of before, of any cause, in any order.
        settings: How long to wait, and how often to try.
        now: The time of the tick.
    """
    outcomes = [(one, _outcome(one, now)) for one in sorted(attempts, key=lambda one: one.at)]
    if any(outcome == "running" for _, outcome in outcomes):
        return "A retraining is running."
    mine = [outcome for one, outcome in outcomes if one.cause == cause.key]
    if "succeeded" in mine:
        return "It has been retrained for this cause already."
    if "canceled" in mine:
        return "The retraining for this cause was canceled; it is tried again when data or configuration change."
    if len(mine) >= settings.max_attempts:
        return f"The retraining for this cause has failed {len(mine)} times; it is tried again when data or configuration change."
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
    """Changes with every file under configs/."""
    folder: Path = project_root() / "configs"
    return digest({str(path.relative_to(folder)): sha256_file(path) for path in sorted(folder.rglob("*.yaml"))})
