"""When jobs start by the clock."""

import dagster as dg

from orchestration.jobs import LAKEHOUSE, LAKEHOUSE_MAINTENANCE, LAKEHOUSE_REPORTS, RETRAIN


def daily_quality() -> dg.ScheduleDefinition:
    """Every day at 02:00 UTC the production model is judged on what is labelled by then. Off until a person turns it on."""
    return dg.ScheduleDefinition(
        name="daily_quality", job_name="command_quality", cron_schedule="0 2 * * *", execution_timezone="UTC"
    )


def weekly_retraining() -> dg.ScheduleDefinition:
    """Every Monday at 03:00 UTC, data or not: a week is how long drift may go unseen. Off until a person turns it on."""
    return dg.ScheduleDefinition(name="weekly_retraining", job_name=RETRAIN, cron_schedule="0 3 * * 1", execution_timezone="UTC")


def hourly_lakehouse() -> dg.ScheduleDefinition:
    """Every hour all three tables. Not beside `groundswell lakehouse run`, which goes on by itself."""
    return dg.ScheduleDefinition(name="hourly_lakehouse", job_name=LAKEHOUSE, cron_schedule="0 * * * *", execution_timezone="UTC")


def daily_lakehouse_reports() -> dg.ScheduleDefinition:
    """Every day at 05:00 UTC: the day that has settled."""
    return dg.ScheduleDefinition(
        name="daily_lakehouse_reports", job_name=LAKEHOUSE_REPORTS, cron_schedule="0 5 * * *", execution_timezone="UTC"
    )


def weekly_lakehouse_maintenance() -> dg.ScheduleDefinition:
    """Every Sunday at 04:30 UTC, between two hourly runs. Off until a person turns it on, as all are."""
    return dg.ScheduleDefinition(
        name="weekly_lakehouse_maintenance", job_name=LAKEHOUSE_MAINTENANCE, cron_schedule="30 4 * * 0", execution_timezone="UTC"
    )


def schedules() -> list:
    """Every schedule; none runs until a person turns it on."""
    return [daily_quality(), weekly_retraining(), hourly_lakehouse(), daily_lakehouse_reports(), weekly_lakehouse_maintenance()]
