"""When jobs start by the clock."""

import dagster as dg

from orchestration.jobs import RETRAIN


def daily_quality() -> dg.ScheduleDefinition:
    """Every day at 02:00 UTC the production model is judged on what is labelled by then. Off until a person turns it on."""
    return dg.ScheduleDefinition(
        name="daily_quality", job_name="command_quality", cron_schedule="0 2 * * *", execution_timezone="UTC"
    )


def weekly_retraining() -> dg.ScheduleDefinition:
    """Every Monday at 03:00 UTC, data or not: a week is how long drift may go unseen. Off until a person turns it on."""
    return dg.ScheduleDefinition(name="weekly_retraining", job_name=RETRAIN, cron_schedule="0 3 * * 1", execution_timezone="UTC")


def schedules() -> list:
    """Every schedule."""
    return [daily_quality(), weekly_retraining()]
