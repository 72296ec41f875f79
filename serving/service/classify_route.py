"""`POST /v1/classify`: texts to predictions, now, or to a job."""

import asyncio
import json
from collections.abc import Awaitable
from functools import cache, partial
from typing import Any, TypeVar

from fastapi import APIRouter, Request, Response
from starlette.requests import ClientDisconnect

from data.targets import MAX_TARGETS
from serving.service import metrics, problems
from serving.service.batching import Overloaded
from serving.service.inference import InferenceService, Reading, read_texts
from serving.service.jobs.routes import ACCEPTED, KEPT, accept, some_readable, unknown_tier
from serving.service.json_reader import Unfit, read_fields
from serving.service.middleware.keys import KEY, Key
from serving.service.middleware.scope import GONE
from serving.service.problems import Refused, refuses
from serving.service.reading import JSON, fit, read_request
from serving.service.routing import DirectRoute
from serving.service.schemas import (
    MAX_BODY_BYTES,
    MAX_TEXTS,
    MAX_WEIGHT,
    WEIGHT_CHARS,
    ClassifyRequest,
    ClassifyResponse,
    JobRequest,
    weight,
)
from serving.targets import NO_TARGETS
from serving.tiers import BASE

Result = TypeVar("Result")
_encode = json.JSONEncoder(separators=(",", ":")).encode


router = APIRouter(tags=["Classification"], route_class=DirectRoute)
_DECLARED: dict[str, Any] = {
    "parameters": [
        {
            "name": "Prefer",
            "in": "header",
            "required": False,
            "schema": {"type": "string"},
            "description": "Set `respond-async` to run it as a background job (202).",
        }
    ],
    "requestBody": {"required": True, "content": {JSON: {"schema": {"$ref": "#/components/schemas/ClassifyRequest"}}}},
}
"""What FastAPI cannot read from the function of a `DirectRoute`; `docs.openapi` adds the schema of the model."""


@router.post(
    "/v1/classify",
    operation_id="classify",
    summary=f"Classify 1 to {MAX_TEXTS} texts",
    description=f"In at most {MAX_BODY_BYTES // 2**20} MiB. With `Prefer: respond-async` the texts become a job.",
    response_model=ClassifyResponse,
    response_description="The predictions.",
    responses=ACCEPTED,
    openapi_extra={**_DECLARED, **refuses(*problems.BODY, *KEPT)},
)
async def classify(request: Request) -> Response:
    """Read texts and respond with their predictions."""
    state = request.app.state
    key: Key | None = request.scope.get(KEY)
    later = "respond-async" in request.headers.get("prefer", "")
    try:
        wanted, reading = await read_request(request, MAX_BODY_BYTES, _for_later if later else partial(_for_now, state))
    except Refused:
        if key is not None:
            await state.authenticator().spend(key, 1)  # an invalid request counts too, so that they are not free
        raise
    headers = {} if key is None else await state.authenticator().spend(key, weight_of(wanted))
    service: InferenceService = state.inference()
    if reading is None:
        job = JobRequest(texts=wanted.texts, domain=wanted.domain, detail=wanted.detail, tier=wanted.tier or BASE)
        return await accept(service, request, job, request.headers.get("idempotency-key"))
    try:
        work = service.predictions(reading, wanted.detail, wanted.tier, wanted.domain)
        entries = await cancel_on_disconnect(request, work)
    except Overloaded as error:
        metrics.SHED.labels(cause=error.cause).inc()
        detail = "Too many texts wait; retry after the seconds in `Retry-After`."
        raise Refused(problems.OVERLOADED, detail, retry_after_s=error.retry_after_s) from error
    _texts_of(wanted.domain or "none").inc(len(entries))
    return Response(_encode({"model_version": service.version, "predictions": entries}), headers=headers, media_type=JSON)


@cache
def _texts_of(domain: str) -> Any:
    """Return the count of texts of a domain; finding it by its label each time takes longer than counting."""
    return metrics.REQUEST_TEXTS.labels(domain=domain)


def _for_later(body: bytes) -> tuple[ClassifyRequest, None]:
    wanted = fit(ClassifyRequest, read_fields(body, texts=MAX_TEXTS, targets=MAX_TARGETS))
    if wanted.targets:
        raise Unfit(
            "targets: found with `Prefer: respond-async`, expected none: jobs do not score companies. Leave one of both out."
        )
    some_readable(wanted.texts)
    return wanted, None


def _for_now(state: Any, body: bytes) -> tuple[ClassifyRequest, Reading]:
    """Parse the request and clean its texts, so that a large body needs one thread only."""
    wanted = fit(ClassifyRequest, read_fields(body, texts=MAX_TEXTS, targets=MAX_TARGETS))
    if weight_of(wanted) > MAX_WEIGHT:
        most = f"at most {MAX_WEIGHT * WEIGHT_CHARS:,} characters are classified at once"
        most += ", and each target counts like the texts" if wanted.targets else ""
        job = "" if wanted.targets else ", or set `Prefer: respond-async`"
        detail = f"The texts are too long together: {most}. Send fewer{job}."
        raise Refused(problems.TOO_LARGE, detail)
    service: InferenceService = state.inference()
    if wanted.tier is not None and (bad := unknown_tier(wanted.tier, service.tiers)):
        raise Unfit(bad)
    if wanted.targets and not service.bundle.manifest.targets:
        raise Unfit(
            f"targets: found {len(wanted.targets)}, expected none: the served model does not score companies. {NO_TARGETS}"
        )
    reading = read_texts(wanted.texts, service.needs_languages(wanted.detail), wanted.targets or ())
    if all(reading.errors):
        raise Unfit(f"texts[0]: {reading.errors[0]}")
    return wanted, reading


def weight_of(wanted: ClassifyRequest) -> int:
    """Weight of all texts of a request; each target counts like the text."""
    return (1 + len(wanted.targets or ())) * sum(map(weight, wanted.texts))


async def cancel_on_disconnect(request: Request, work: Awaitable[Result]) -> Result:
    """Wait for work; cancel it when the client disconnects, so that its slot in the queue is free.

    Raises:
        ClientDisconnect: The client disconnected.
    """
    gone: asyncio.Future[None] | None = request.scope.get(GONE)
    if gone is None:  # not from our server, as in a test
        return await work
    task, waits = asyncio.current_task(), True
    assert task is not None

    def cancel(_: object) -> None:
        if waits:
            task.cancel()

    gone.add_done_callback(cancel)
    try:
        return await work
    except asyncio.CancelledError:
        if gone.done():
            task.uncancel()
            raise ClientDisconnect from None
        raise
    finally:
        waits = False
        gone.remove_done_callback(cancel)
