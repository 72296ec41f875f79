"""`POST /v1/feedback`: write the correct label of a text to the store that retraining reads."""

import asyncio

from fastapi import APIRouter

from data.feedback import FeedbackLabel
from serving.service import problems
from serving.service.dependencies import Caller, Inference
from serving.service.problems import Refused, refuses
from serving.service.routing import bounded
from serving.service.schemas import MAX_FEEDBACK_BYTES, FeedbackRequest, FeedbackSaved

router = APIRouter(tags=["Feedback"], route_class=bounded(MAX_FEEDBACK_BYTES))


@router.post(
    "/v1/feedback",
    operation_id="correct",
    summary="Correct a label",
    status_code=201,
    response_description="Saved; used in the next training run.",
    openapi_extra=refuses(*problems.BODY, problems.NOT_FOUND, problems.NO_DISK, problems.NO_JOBS, problems.NO_FEEDBACK),
)
async def correct(feedback: FeedbackRequest, service: Inference, key: Caller) -> FeedbackSaved:
    """The correct label of a text, named by itself or by the `id` of a result."""
    # The id is secret: only the caller and those it showed the prediction to know it, so knowing it is permission enough.
    text = feedback.text if feedback.id is None else await service.jobs.text(feedback.id, None)
    if not isinstance(text, str):
        raise Refused(problems.NOT_FOUND, f"Text {feedback.id!r} not found; results are kept for a day.")
    service.disk.require_space()
    label = FeedbackLabel(text, feedback.label, by=feedback.by, domain=feedback.domain, key=key.id if key else "")
    return FeedbackSaved(number=await asyncio.get_running_loop().run_in_executor(None, service.feedback.add, label))
