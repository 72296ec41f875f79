"""`/v1/jobs` and `/v1/results`: batch jobs, whose results are fetched later."""

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Header, Path, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse

from serving.documents.reading import MAX_DOCUMENT_BYTES
from serving.service import problems
from serving.service.dependencies import Inference
from serving.service.inference import InferenceService
from serving.service.jobs import documents
from serving.service.jobs.queue import Job, Jobs, Options, TooMany
from serving.service.json_reader import Unfit, read_fields, read_lines
from serving.service.middleware.keys import KEY, Key
from serving.service.problems import Refused, refuses
from serving.service.reading import JSON, fit
from serving.service.routing import Respond, bounded
from serving.service.schemas import MAX_JOB_BYTES, MAX_JOB_TEXTS, JobRequest, JobShown, refusal

JSON_LINES = "application/x-ndjson"
SUBMIT = "submitJob"
OWNER = "groundswell.owner"
"""Key in a request's scope of the owner of its jobs, where our own keys are off."""
_RETRY_AFTER_S = 30


KEPT = (problems.NO_DISK, problems.NO_JOBS, problems.JOB_QUEUE_FULL)
"""Problems of routes that accept jobs."""
ACCEPTED: dict[int | str, dict[str, Any]] = {
    202: {"model": JobShown, "description": "Accepted as a job; its path is in `Location`."}
}
_GONE = (problems.NOT_FOUND, problems.NO_JOBS)
EXAMPLE = "4c1f0a9e5b7d2c3a6e8f9b10"
"""Id of a job, in the samples."""
JobId = Annotated[str, Path(alias="id", description="Of the job.", examples=[EXAMPLE])]


class JSONLines(StreamingResponse):
    """One JSON value per line."""

    media_type = JSON_LINES


def _from_json(body: bytes) -> JobRequest:
    wanted = fit(JobRequest, read_fields(body, texts=MAX_JOB_TEXTS))
    some_readable(wanted.texts)
    return wanted


def _from_lines(body: bytes) -> JobRequest:
    texts = read_lines(body, MAX_JOB_TEXTS)
    some_readable(texts)
    return JobRequest(texts=texts)


class _JobRoute(bounded(MAX_JOB_BYTES, {JSON: _from_json, JSON_LINES: _from_lines})):
    """A document goes past the reading of other bodies: it is larger, and stored on disk."""

    def get_route_handler(self) -> Any:
        respond: Respond = super().get_route_handler()
        if self.operation_id != SUBMIT:
            return respond

        async def by_type(request: Request) -> Response:
            media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
            return await (submit_document(request) if media_type in documents.TYPES else respond(request))

        return by_type


router = APIRouter(tags=["Jobs"], route_class=_JobRoute)
_QUERY: Any = [
    {
        "name": name,
        "in": "query",
        "required": False,
        "schema": {"type": "string"},
        "description": f"Of a document: {description}",
    }
    for name, description in (
        ("name", "its name in the result."),
        ("domain", "what kind of text it is; without it `finance` for a filing, else `general`."),
        ("tier", "the model of the bundle that classifies."),
    )
]


@router.post(
    "/v1/jobs",
    operation_id=SUBMIT,
    summary="Submit a batch job",
    description=f"1 to {MAX_JOB_TEXTS:,} texts in at most {MAX_JOB_BYTES // 2**20} MiB; on disk once accepted. "
    f"Also as `{JSON_LINES}`: one line per text, a JSON string or an object with `text`. Or one document (a filing, an article) "
    f"of at most {MAX_DOCUMENT_BYTES // 2**20} MiB as `{'`, `'.join(documents.TYPES)}`: its result is one JSON value.",
    status_code=202,
    response_model=JobShown,
    response_description=ACCEPTED[202]["description"],
    openapi_extra={"parameters": _QUERY, **refuses(*problems.BODY, problems.OVERLOADED, *KEPT)},
)
async def submit(
    wanted: JobRequest,
    service: Inference,
    request: Request,
    idempotency_key: Annotated[
        str | None,
        Header(alias="Idempotency-Key", description="The same key gives the same job, so that a request may be repeated."),
    ] = None,
) -> Response:
    return await accept(service, request, wanted, idempotency_key)


async def submit_document(request: Request) -> Response:
    """Submit a document as a job.

    Raises:
        Refused: 422 for an invalid query or a document that cannot be read; as `receive_document` and `accept`.
        NoSpace: The disk is nearly full.
        JobsUnavailable: The store cannot be written.
    """
    service: InferenceService = request.app.state.inference()
    try:
        wanted = fit(documents.DocumentParameters, dict(request.query_params))
    except Unfit as error:
        raise Refused(problems.INVALID, str(error)) from None
    if bad := unknown_tier(wanted.tier, service.tiers):
        raise Refused(problems.INVALID, bad)
    service.disk.require_space()
    windows, options = await documents.receive_document(request, wanted, service.bundle, service.languages)
    return await _add(service, request, windows, options, request.headers.get("idempotency-key"))


@router.get(
    "/v1/jobs/{id}",
    operation_id="getJob",
    summary="Get job status",
    response_description="The job.",
    openapi_extra=refuses(*_GONE),
)
async def show(identity: JobId, service: Inference, request: Request) -> JobShown:
    """The results can be read once its state is `done`."""
    return JobShown.model_validate((await _mine(service.jobs, request, identity)).to_dict())


@router.delete(
    "/v1/jobs/{id}",
    operation_id="cancelJob",
    summary="Cancel a job",
    response_description="The job.",
    openapi_extra=refuses(*_GONE),
)
async def cancel(identity: JobId, service: Inference, request: Request) -> JobShown:
    """Its texts and results are deleted. A job that is done stays done."""
    job = await _mine(service.jobs, request, identity)
    await service.jobs.cancel(job.id)
    return JobShown.model_validate((await _mine(service.jobs, request, identity)).to_dict())


@router.get(
    "/v1/results/{id}",
    operation_id="getResults",
    summary="Get the results of a job",
    response_class=JSONLines,
    response_description="The results.",
    openapi_extra=refuses(*_GONE, problems.JOB_NOT_DONE),
)
async def results(identity: JobId, service: Inference, request: Request) -> Response:
    """One JSON line per text, in their order: a prediction or an error, and an `id` for feedback. Of a document, one value."""
    job = await _mine(service.jobs, request, identity)
    if job.state != "done":
        detail = f"The job is {job.state}: {job.done:,} of {job.total:,} texts are classified."
        raise Refused(problems.JOB_NOT_DONE, detail, retry_after_s=2)
    if job.options.document is not None:
        return Response(await documents.document_result(job.options.document, service.jobs.results(job.id)), media_type=JSON)
    return JSONLines(service.jobs.results(job.id))


async def accept(service: InferenceService, request: Request, wanted: JobRequest, idempotency_key: str | None) -> Response:
    """Accept a job: 202 with its location.

    Raises:
        Refused: 422 for an unknown tier, 503 when the queue of jobs is full.
        NoSpace: The disk is nearly full.
        JobsUnavailable: The store cannot be written.
    """
    if bad := unknown_tier(wanted.tier, service.tiers):
        raise Refused(problems.INVALID, bad)
    options = Options(wanted.detail, wanted.tier, wanted.domain)
    return await _add(service, request, wanted.texts, options, idempotency_key)


async def _add(
    service: InferenceService, request: Request, texts: Sequence[Any], options: Options, idempotency_key: str | None
) -> Response:
    try:
        job = await service.jobs.add(owner_of(request) or "", texts, options, idempotency_key=idempotency_key)
    except TooMany:
        detail = "Too many texts wait in jobs; retry after the seconds in `Retry-After`."
        raise Refused(problems.JOB_QUEUE_FULL, detail, retry_after_s=_RETRY_AFTER_S) from None
    return JSONResponse(job.to_dict(), 202, {"location": f"/v1/jobs/{job.id}"})


async def _mine(jobs: Jobs, request: Request, identity: str) -> Job:
    job = await jobs.get(identity, owner_of(request))
    if job is None:
        raise Refused(problems.NOT_FOUND, f"Job {identity!r} of this caller not found; jobs are kept for a day.")
    return job


def owner_of(request: Request) -> str | None:
    """The id of the caller's key; None, the jobs of all keys, for an admin who reads.

    Where keys are off: the value of `OWNER` in the scope, else "".
    """
    key: Key | None = request.scope.get(KEY)
    if key is None:
        return request.scope.get(OWNER, "")
    return None if "admin" in key.scopes and request.method == "GET" else key.id


def unknown_tier(tier: str, known: Sequence[str]) -> str | None:
    """Return the reason, for the caller, why a request cannot name this tier; None: it can."""
    return None if tier in known else f"tier: found {tier!r}, expected {' or '.join(known)}"


def some_readable(texts: Sequence[str | None]) -> None:
    """Raise if no text of a job can be classified.

    Raises:
        Unfit: No text can be classified; names the first.
    """
    errors = (refusal(text) for text in texts)
    first = next(errors)
    if first and all(errors):
        raise Unfit(f"texts[0]: {first}; no text of the job can be classified")
