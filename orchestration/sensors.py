"""Sensors: request a retraining, and notify a webhook when a run fails. The decisions are in `retraining.py`."""

from datetime import UTC, datetime

import dagster as dg

from orchestration.jobs import RETRAIN, TRAIN_AND_DEPLOY
from orchestration.layout import Layout
from orchestration.retraining import Attempt, Cause, RetrainingSettings, due_attempt, new_rows_cause, quality_cause
from orchestration.steps.retraining_state import read_state

CAUSE_TAG, REASON_TAG, TEXT_TAG = "groundswell/cause", "groundswell/reason", "groundswell/why"
_RUNS = 50
"""Newest runs of a job that are read."""
_OUTCOMES = {
    dg.DagsterRunStatus.SUCCESS: "succeeded",
    dg.DagsterRunStatus.FAILURE: "failed",
    dg.DagsterRunStatus.CANCELED: "canceled",
}
"""Every other status is that of a run that has not ended."""


def attempts(instance: dg.DagsterInstance) -> list[Attempt]:
    """Return the newest training runs: those of sensors, schedules and people."""
    runs = []
    for job in (RETRAIN, TRAIN_AND_DEPLOY):
        for record in instance.get_run_records(dg.RunsFilter(job_name=job), limit=_RUNS):
            run, outcome = record.dagster_run, _OUTCOMES.get(record.dagster_run.status, "running")
            began = record.create_timestamp.timestamp()
            at = datetime.fromtimestamp(began if outcome == "running" else record.end_time or began, UTC)
            runs.append(Attempt(run.tags.get(CAUSE_TAG), outcome, at))  # type: ignore[arg-type]
    return runs


def _request_or_skip(
    context: dg.SensorEvaluationContext, cause: Cause | str, settings: RetrainingSettings
) -> dg.RunRequest | dg.SkipReason:
    if isinstance(cause, str):
        return dg.SkipReason(cause)
    attempt = due_attempt(cause, attempts(context.instance), settings, datetime.now(UTC))
    if isinstance(attempt, str):
        return dg.SkipReason(f"{cause.text}. {attempt}")
    tags = {CAUSE_TAG: cause.key, REASON_TAG: cause.reason, TEXT_TAG: cause.text}
    return dg.RunRequest(run_key=f"{cause.key}-{attempt}", tags=tags)


@dg.sensor(
    job_name=RETRAIN,
    minimum_interval_seconds=300,
    description="Request a retraining when there are enough new labeled rows for training. Fetches and writes nothing.",
)
def new_labels(context: dg.SensorEvaluationContext) -> dg.RunRequest | dg.SkipReason:
    """Compare the present labeled rows with those of the last training."""
    settings = RetrainingSettings.load()
    return _request_or_skip(context, new_rows_cause(read_state(Layout.load(), settings.min_new_rows), settings), settings)


@dg.sensor(
    job_name=RETRAIN,
    minimum_interval_seconds=900,
    description="Request a retraining when the production model's quality on its own traffic is low, or the model is old.",
)
def production_quality(context: dg.SensorEvaluationContext) -> dg.RunRequest | dg.SkipReason:
    """Compare the last measurement and the age of the production model with the settings."""
    settings = RetrainingSettings.load()
    return _request_or_skip(
        context, quality_cause(read_state(Layout.load(), settings.min_new_rows), settings, datetime.now(UTC)), settings
    )


@dg.run_failure_sensor(description="Notify the webhook of the settings when a run fails.")
def run_failed(context: dg.RunFailureSensorContext) -> dg.SkipReason | None:
    """Post the job, the run and the error; an unreachable webhook is logged, not fatal."""
    settings = RetrainingSettings.load()
    if settings.webhook_url is None:
        return dg.SkipReason("no webhook is configured (GROUNDSWELL_RETRAINING__WEBHOOK_URL)")
    from serving.webhook import notify

    run = context.dagster_run
    notify(settings.webhook_url, f"Run {run.run_id} of {run.job_name} failed: {context.failure_event.message}")
    return None


def sensors() -> list:
    """Return every sensor."""
    return [new_labels, production_quality, run_failed]
