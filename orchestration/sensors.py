"""What asks for a retraining by itself, and who is told when a run fails. The decisions are in `retraining.py`."""

from datetime import UTC, datetime

import dagster as dg

from orchestration.jobs import RETRAIN
from orchestration.layout import Layout
from orchestration.retraining import Request, RetrainingSettings, new_rows_request, quality_request
from orchestration.steps.world import look


def _run_request(request: Request) -> dg.RunRequest:
    return dg.RunRequest(
        run_key=request.run_key, tags={"groundswell/reason": request.reason, "groundswell/why": request.explanation}
    )


@dg.sensor(job_name=RETRAIN, minimum_interval_seconds=300, description="Enough new labelled rows have come.")
def new_labels() -> dg.SensorResult | dg.SkipReason:
    """Ask for a retraining when the labelled rows have grown by the number in the settings."""
    settings = RetrainingSettings.load()
    world = look(Layout.load())
    request = new_rows_request(world, settings)
    if request is None:
        return dg.SkipReason(
            f"{world.labelled_rows:,} labelled rows, {world.trained_rows:,} at the last training; "
            f"{settings.min_new_rows:,} new ones are asked for"
        )
    # The cursor is for people who look at the page; no decision rests on it.
    return dg.SensorResult(run_requests=[_run_request(request)], cursor=world.data_fingerprint)


@dg.sensor(job_name=RETRAIN, minimum_interval_seconds=900, description="The production model measures badly or is stale.")
def production_quality() -> dg.SensorResult | dg.SkipReason:
    """Ask for a retraining when production's measured quality or its age leaves the bounds in the settings."""
    settings = RetrainingSettings.load()
    world = look(Layout.load())
    request = quality_request(world, settings, datetime.now(UTC))
    if request is None:
        measured = "not measured" if world.production_quality is None else f"{world.production_quality:.4f}"
        return dg.SkipReason(f"macro-recall {measured}, floor {settings.quality_floor:.4f}")
    return dg.SensorResult(run_requests=[_run_request(request)], cursor=world.data_fingerprint)


@dg.run_failure_sensor(description="Tells the webhook of the settings that a run failed.")
def run_failed(context: dg.RunFailureSensorContext) -> dg.SkipReason | None:
    """Post the job, the run and the error; a webhook that does not answer is logged, not fatal."""
    settings = RetrainingSettings.load()
    if settings.webhook_url is None:
        return dg.SkipReason("no webhook is configured (GROUNDSWELL_RETRAINING__WEBHOOK_URL)")
    from serving.webhook import notify

    run = context.dagster_run
    notify(settings.webhook_url, f"Run {run.run_id} of {run.job_name} failed: {context.failure_event.message}")
    return None


def sensors() -> list:
    """Every sensor."""
    return [new_labels, production_quality, run_failed]
