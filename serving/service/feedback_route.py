"""`POST /v1/feedback`: the right label of a text, into the store that retraining reads."""

import asyncio
from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from data.feedback import Verdict
from serving.service import problems
from serving.service.answering import Answering
from serving.service.json_reader import read_fields
from serving.service.keys import KEY, Key
from serving.service.problems import Refused
from serving.service.reading import fit, read_request
from serving.service.schemas import MAX_FEEDBACK_BYTES, FeedbackRequest


def feedback_route(answering: Callable[[], Answering]) -> Route:
    """The route; `answering` is called for each request."""

    async def take(request: Request) -> Response:
        said = await read_request(request, MAX_FEEDBACK_BYTES, lambda body: fit(FeedbackRequest, read_fields(body)))
        here, key = answering(), request.scope.get(KEY)
        # The id is a secret between the caller and who was shown the answer: whoever has it may say what it should have been.
        text = said.text if said.id is None else await here.jobs.text(said.id, None)
        if not isinstance(text, str):
            raise Refused(problems.NOT_FOUND, f"There is no text {said.id!r}; results are kept for a day.")
        here.disk.require_space()
        owner = key.id if isinstance(key, Key) else ""
        verdict = Verdict(text, said.label, by=said.by, domain=said.domain, key=owner)
        number = await asyncio.get_running_loop().run_in_executor(None, here.feedback.add, verdict)
        return JSONResponse({"number": number}, 201)

    return Route("/v1/feedback", take, methods=["POST"])
