"""When jobs start by the clock."""

import dagster as dg

from orchestration.jobs import RETRAIN


def weekly_retraining() -> dg.ScheduleDefinition:
    """Every Monday at 03:00 UTC, data or not: a week is how long drift may go unseen. Off until a person turns it on."""
    return dg.ScheduleDefinition(name="weekly_retraining", job_name=RETRAIN, cron_schedule="0 3 * * 1", execution_timezone="UTC")


def schedules() -> list:
    """Every schedule."""
    return [weekly_retraining()]
