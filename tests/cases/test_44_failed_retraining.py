"""Case 44, dagster-io/dagster#15982: a retraining that failed is requested again, under a new run key, a set number of times.

Dagster launches a run key once, whether the run failed or not. A full disk must not end all retraining of a stale model.
"""

from datetime import UTC, datetime, timedelta

from orchestration.retraining import Attempt, RetrainingSettings, RetrainingState, due_attempt, quality_cause

PROMOTED = datetime(2026, 1, 1, tzinfo=UTC)
STATE = RetrainingState("data", "config", 0, production_version="m-1", production_since=PROMOTED)
SETTINGS = RetrainingSettings(max_age_days=45, retry_after_minutes=15, max_attempts=3)


def launched(ticks: list[datetime], *, works_from: datetime) -> list[tuple[str, str]]:
    """Return run keys and outcomes of the runs that Dagster launches; a run before `works_from` fails at once."""
    runs: dict[str, Attempt] = {}
    for now in ticks:
        cause = quality_cause(STATE, SETTINGS, now)
        attempt = cause if isinstance(cause, str) else due_attempt(cause, list(runs.values()), SETTINGS, now)
        if isinstance(cause, str) or isinstance(attempt, str):
            continue
        outcome = "succeeded" if now >= works_from else "failed"
        runs.setdefault(f"{cause.key}-{attempt}", Attempt(cause.key, outcome, now))
    return [(key, run.outcome) for key, run in runs.items()]


def test_a_stale_model_is_retrained_as_soon_as_the_disk_has_space():
    ticks = [PROMOTED + timedelta(days=50, minutes=15 * n) for n in range(100)]
    runs = launched(ticks, works_from=PROMOTED + timedelta(days=50, minutes=20))
    assert [outcome for _, outcome in runs] == ["failed", "failed", "succeeded"]  # after 0, 15 and 45 minutes
    assert len({key for key, _ in runs}) == len(runs)


def test_a_disk_that_stays_full_costs_three_runs_for_each_age_that_the_model_exceeds():
    days = [PROMOTED + timedelta(days=day) for day in (50, 51, 52, 53, 90, 91, 92, 93, 400)]
    runs = launched(days, works_from=PROMOTED + timedelta(days=400))
    assert [outcome for _, outcome in runs] == ["failed"] * 6 + ["succeeded"]
    assert len({key for key, _ in runs}) == 7, "each of them under a run key of its own"
