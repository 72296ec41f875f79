"""Schedules of the jobs. All are off until a person turns them on."""

import dagster as dg

from orchestration.jobs import LAKEHOUSE, LAKEHOUSE_MAINTENANCE, LAKEHOUSE_REPORTS, MEASURE_PRODUCTION, RETRAIN


def _schedule(name: str, job: str, cron: str, description: str) -> dg.ScheduleDefinition:
    return dg.ScheduleDefinition(
        name=name,
        job_name=job,
        cron_schedule=cron,
        execution_timezone="UTC",
        description=f"{description} Off by default: turn it on with `groundswell automation on {name}`, or with its switch here.",
        default_status=dg.DefaultScheduleStatus.STOPPED,
    )


def schedules() -> list[dg.ScheduleDefinition]:
    """Return every schedule; times are UTC."""
    return [
        _schedule(
            "daily_quality",
            MEASURE_PRODUCTION,
            "0 2 * * *",
            "Every day at 02:00 UTC, measures the production model on labeled text, for the sensor `production_quality`.",
        ),
        _schedule(
            "weekly_retraining",
            RETRAIN,
            "0 3 * * 1",
            "Every Monday at 03:00 UTC, trains all candidates and deploys the best if the promotion gate passes, whether or not "
            "there is new data.",
        ),
        _schedule(
            "hourly_lakehouse",
            LAKEHOUSE,
            "0 * * * *",
            "Every hour, brings Bronze, Silver and Gold up to date. Do not use it together with `groundswell lakehouse run`, "
            "which does the same continuously.",
        ),
        _schedule(
            "daily_lakehouse_reports",
            LAKEHOUSE_REPORTS,
            "0 5 * * *",
            "Every day at 05:00 UTC, measures the model on labeled rows of Gold and compares Gold with the stream.",
        ),
        _schedule(
            "weekly_lakehouse_maintenance",
            LAKEHOUSE_MAINTENANCE,
            "30 4 * * 0",
            "Every Sunday at 04:30 UTC, between two hourly runs, merges small files and removes old versions.",
        ),
    ]
