"""`/v1/jobs` and `/v1/results`: batch jobs, whose results are fetched later."""

from collections.abc import Callable, Sequence

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from serving.service import problems
from serving.service.jobs.queue import Job, Jobs, TooMany
from serving.service.json_reader import Unfit, read_fields, read_lines
from serving.service.middleware.keys import KEY, Key
from serving.service.problems import Refused
from serving.service.reading import JSON, fit, read_request
from serving.service.schemas import MAX_JOB_BYTES, MAX_JOB_TEXTS, JobRequest, refusal

JSON_LINES = "application/x-ndjson"
OWNER = "groundswell.owner"
"""Key in a request's scope of the owner of its jobs, where our own keys are off."""
_RETRY_AFTER_S = 30


def job_routes(jobs: Callable[[], Jobs]) -> list[Route]:
    """Make the routes; `jobs` is called for each request."""

    async def create(request: Request) -> Response:
        wanted = await read_request(request, MAX_JOB_BYTES, {JSON: _from_json, JSON_LINES: _from_lines})
        return await accept(jobs(), request, wanted)

    async def show(request: Request) -> Response:
        return JSONResponse((await _mine(jobs(), request)).to_dict())

    async def cancel(request: Request) -> Response:
        job = await _mine(jobs(), request)
        await jobs().cancel(job.id)
        return JSONResponse((await _mine(jobs(), request)).to_dict())

    async def results(request: Request) -> Response:
        job = await _mine(jobs(), request)
        if job.state != "done":
            detail = f"The job is {job.state}: {job.done:,} of {job.total:,} texts are classified."
            raise Refused(problems.JOB_NOT_DONE, detail, retry_after_s=2)
        return StreamingResponse(jobs().results(job.id), media_type=JSON_LINES)

    return [
        Route("/v1/jobs", create, methods=["POST"]),
        Route("/v1/jobs/{id}", show, methods=["GET"]),
        Route("/v1/jobs/{id}", cancel, methods=["DELETE"]),
        Route("/v1/results/{id}", results, methods=["GET"]),
    ]


async def accept(jobs: Jobs, request: Request, wanted: JobRequest) -> Response:
    """Accept a job: 202 with its location.

    Raises:
        Refused: 503 when the queue of jobs is full.
        NoSpace: The disk is nearly full.
        JobsUnavailable: The store cannot be written.
    """
    owner, key = owner_of(request) or "", request.headers.get("idempotency-key")
    try:
        job = await jobs.add(owner, wanted.texts, detail=wanted.detail, idempotency_key=key)
    except TooMany:
        detail = "Too many texts wait in jobs; retry after the seconds in `Retry-After`."
        raise Refused(problems.JOB_QUEUE_FULL, detail, retry_after_s=_RETRY_AFTER_S) from None
    return JSONResponse(job.to_dict(), 202, {"location": f"/v1/jobs/{job.id}"})


async def _mine(jobs: Jobs, request: Request) -> Job:
    job = await jobs.get(request.path_params["id"], owner_of(request))
    if job is None:
        detail = f"Job {request.path_params['id']!r} of this caller not found; jobs are kept for a day."
        raise Refused(problems.NOT_FOUND, detail)
    return job


def owner_of(request: Request) -> str | None:
    """The id of the caller's key; None, the jobs of all keys, for an admin who reads.

    Where keys are off: the value of `OWNER` in the scope, else "".
    """
    key: Key | None = request.scope.get(KEY)
    if key is None:
        return request.scope.get(OWNER, "")
    return None if "admin" in key.scopes and request.method == "GET" else key.id


def _from_json(body: bytes) -> JobRequest:
    wanted = fit(JobRequest, read_fields(body, texts=MAX_JOB_TEXTS))
    some_readable(wanted.texts)
    return wanted


def _from_lines(body: bytes) -> JobRequest:
    texts = read_lines(body, MAX_JOB_TEXTS)
    some_readable(texts)
    return JobRequest(texts=texts)


def some_readable(texts: Sequence[str | None]) -> None:
    """Raise if no text of a job can be classified.

    Raises:
        Unfit: No text can be classified; names the first.
    """
    errors = (refusal(text) for text in texts)
    first = next(errors)
    if first and all(errors):
        raise Unfit(f"texts[0]: {first}; no text of the job can be classified")
