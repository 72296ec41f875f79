"""`POST /v1/classify`: texts to predictions, now, or to a job."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import TypeVar

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from serving.service import metrics, problems
from serving.service.admission import Gate
from serving.service.answering import Answering, Reading, read_texts
from serving.service.batching import Overloaded
from serving.service.job_routes import accept, some_readable
from serving.service.json_reader import Unfit, read_fields
from serving.service.keys import KEY, Key
from serving.service.problems import Refused
from serving.service.reading import fit, read_request
from serving.service.schemas import MAX_BODY_BYTES, MAX_TEXTS, MAX_WEIGHT, WEIGHT_CHARS, ClassifyRequest, JobRequest, weight

Result = TypeVar("Result")


def classify_route(answering: Callable[[], Answering], gate: Callable[[], Gate]) -> Route:
    """The route.

    Args:
        answering: What answers; called for each request.
        gate: Counts what a key uses.
    """

    async def classify(request: Request) -> Response:
        key: Key | None = request.scope.get(KEY)
        later = "respond-async" in request.headers.get("prefer", "")
        try:
            wanted, reading = await read_request(request, MAX_BODY_BYTES, _for_later if later else _for_now)
        except Refused:
            if key is not None:
                await gate().spend(key, 1)  # a stream of nonsense is not free
            raise
        headers = {} if key is None else await gate().spend(key, sum(map(weight, wanted.texts)))
        here = answering()
        if reading is None:
            return await accept(here.jobs, request, JobRequest(texts=wanted.texts, detail=wanted.detail))
        try:
            entries = await unless_gone(request, here.answers(reading, wanted.detail))
        except Overloaded as error:
            metrics.SHED.labels(cause=error.cause).inc()
            detail = "Too many texts wait; come back later."
            raise Refused(problems.OVERLOADED, detail, retry_after_s=error.retry_after_s) from error
        metrics.REQUEST_TEXTS.labels(domain=wanted.domain or "none").inc(len(entries))
        body = json.dumps({"model_version": here.version, "predictions": entries}, separators=(",", ":"))
        return Response(body, headers=headers, media_type="application/json")

    return Route("/v1/classify", classify, methods=["POST"])


def _for_later(body: bytes) -> tuple[ClassifyRequest, None]:
    wanted = fit(ClassifyRequest, read_fields(body, texts=MAX_TEXTS))
    some_readable(wanted.texts)
    return wanted, None


def _for_now(body: bytes) -> tuple[ClassifyRequest, Reading]:
    """The request, and its texts cleaned: where the body is large both are done in one thread, one after the other."""
    wanted = fit(ClassifyRequest, read_fields(body, texts=MAX_TEXTS))
    if sum(map(weight, wanted.texts)) > MAX_WEIGHT:
        most = f"at most {MAX_WEIGHT * WEIGHT_CHARS:,} characters are classified at once"
        detail = f"The texts are too long together: {most}. Send fewer, or set `Prefer: respond-async`."
        raise Refused(problems.TOO_LARGE, detail)
    reading = read_texts(wanted.texts)
    if all(reading.errors):
        raise Unfit(f"texts[0]: {reading.errors[0]}")
    return wanted, reading


async def unless_gone(request: Request, work: Awaitable[Result]) -> Result:
    """Wait for work; cancel it when the caller hangs up, so that its place in the queue is free.

    Raises:
        ClientDisconnect: The caller hung up.
    """
    task, gone = asyncio.ensure_future(work), asyncio.ensure_future(_gone(request))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientDisconnect
        return task.result()
    finally:
        task.cancel()
        gone.cancel()


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
