"""`POST /v1/classify`: texts to predictions, now, or to a job."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import TypeVar

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from serving.service import metrics, problems
from serving.service.batching import Overloaded
from serving.service.inference import InferenceService, Reading, read_texts
from serving.service.jobs.routes import accept, some_readable
from serving.service.json_reader import Unfit, read_fields
from serving.service.middleware.admission import Authenticator
from serving.service.middleware.keys import KEY, Key
from serving.service.problems import Refused
from serving.service.reading import fit, read_request
from serving.service.schemas import MAX_BODY_BYTES, MAX_TEXTS, MAX_WEIGHT, WEIGHT_CHARS, ClassifyRequest, JobRequest, weight

Result = TypeVar("Result")


def classify_route(inference: Callable[[], InferenceService], authenticator: Callable[[], Authenticator]) -> Route:
    """Make the route.

    Args:
        inference: Returns the inference service; called for each request.
        authenticator: Counts the texts of each key.
    """

    async def classify(request: Request) -> Response:
        key: Key | None = request.scope.get(KEY)
        later = "respond-async" in request.headers.get("prefer", "")
        try:
            wanted, reading = await read_request(request, MAX_BODY_BYTES, _for_later if later else _for_now)
        except Refused:
            if key is not None:
                await authenticator().spend(key, 1)  # an invalid request counts too, so that they are not free
            raise
        headers = {} if key is None else await authenticator().spend(key, sum(map(weight, wanted.texts)))
        service = inference()
        if reading is None:
            return await accept(service.jobs, request, JobRequest(texts=wanted.texts, detail=wanted.detail))
        try:
            entries = await cancel_on_disconnect(request, service.predictions(reading, wanted.detail))
        except Overloaded as error:
            metrics.SHED.labels(cause=error.cause).inc()
            detail = "Too many texts wait; retry after the seconds in `Retry-After`."
            raise Refused(problems.OVERLOADED, detail, retry_after_s=error.retry_after_s) from error
        metrics.REQUEST_TEXTS.labels(domain=wanted.domain or "none").inc(len(entries))
        body = json.dumps({"model_version": service.version, "predictions": entries}, separators=(",", ":"))
        return Response(body, headers=headers, media_type="application/json")

    return Route("/v1/classify", classify, methods=["POST"])


def _for_later(body: bytes) -> tuple[ClassifyRequest, None]:
    wanted = fit(ClassifyRequest, read_fields(body, texts=MAX_TEXTS))
    some_readable(wanted.texts)
    return wanted, None


def _for_now(body: bytes) -> tuple[ClassifyRequest, Reading]:
    """Parse the request and clean its texts, so that a large body needs one thread only."""
    wanted = fit(ClassifyRequest, read_fields(body, texts=MAX_TEXTS))
    if sum(map(weight, wanted.texts)) > MAX_WEIGHT:
        most = f"at most {MAX_WEIGHT * WEIGHT_CHARS:,} characters are classified at once"
        detail = f"The texts are too long together: {most}. Send fewer, or set `Prefer: respond-async`."
        raise Refused(problems.TOO_LARGE, detail)
    reading = read_texts(wanted.texts)
    if all(reading.errors):
        raise Unfit(f"texts[0]: {reading.errors[0]}")
    return wanted, reading


async def cancel_on_disconnect(request: Request, work: Awaitable[Result]) -> Result:
    """Wait for work; cancel it when the client disconnects, so that its slot in the queue is free.

    Raises:
        ClientDisconnect: The client disconnected.
    """
    task, gone = asyncio.ensure_future(work), asyncio.ensure_future(_disconnected(request))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientDisconnect
        return task.result()
    finally:
        task.cancel()
        gone.cancel()


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
