"""`POST /v1/feedback`: write the correct label of a text to the store that retraining reads."""

import asyncio
from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from data.feedback import FeedbackLabel
from serving.service import problems
from serving.service.inference import InferenceService
from serving.service.json_reader import read_fields
from serving.service.middleware.keys import KEY, Key
from serving.service.problems import Refused
from serving.service.reading import fit, read_request
from serving.service.schemas import MAX_FEEDBACK_BYTES, FeedbackRequest


def feedback_route(inference: Callable[[], InferenceService]) -> Route:
    """Make the route; `inference` is called for each request."""

    async def add(request: Request) -> Response:
        feedback = await read_request(request, MAX_FEEDBACK_BYTES, lambda body: fit(FeedbackRequest, read_fields(body)))
        service, key = inference(), request.scope.get(KEY)
        # The id is secret: only the caller and those it showed the prediction to know it, so knowing it is permission enough.
        text = feedback.text if feedback.id is None else await service.jobs.text(feedback.id, None)
        if not isinstance(text, str):
            raise Refused(problems.NOT_FOUND, f"Text {feedback.id!r} not found; results are kept for a day.")
        service.disk.require_space()
        owner = key.id if isinstance(key, Key) else ""
        label = FeedbackLabel(text, feedback.label, by=feedback.by, domain=feedback.domain, key=owner)
        number = await asyncio.get_running_loop().run_in_executor(None, service.feedback.add, label)
        return JSONResponse({"number": number}, 201)

    return Route("/v1/feedback", add, methods=["POST"])
