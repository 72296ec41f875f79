"""`/v1/jobs` and `/v1/results`: work that is accepted now and fetched later."""

import json
from collections.abc import Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from serving.service.admission import KEY
from serving.service.jobs import Job, Jobs, TooMany
from serving.service.keys import Key
from serving.service.problems import Refused
from serving.service.reading import parse_body, read_body
from serving.service.schemas import MAX_JOB_BYTES, MAX_JOB_TEXTS, JobRequest

JSON_LINES = "application/x-ndjson"
OWNER = "groundswell.owner"
"""Where a scope says whose jobs are seen, when no key of ours does."""
_RETRY_AFTER_S = 30


def job_routes(jobs: Callable[[], Jobs]) -> list[Route]:
    """The routes; `jobs` is called for each request."""

    async def create(request: Request) -> Response:
        body = await read_body(request, MAX_JOB_BYTES)
        lines = request.headers.get("content-type", "").partition(";")[0].strip() == JSON_LINES
        wanted = _from_lines(body) if lines else parse_body(JobRequest, body)
        return await accept(jobs(), request, wanted.texts, wanted.detail)

    async def show(request: Request) -> Response:
        return JSONResponse((await _mine(jobs(), request)).to_dict())

    async def cancel(request: Request) -> Response:
        job = await _mine(jobs(), request)
        await jobs().cancel(job.id)
        return JSONResponse((await _mine(jobs(), request)).to_dict())

    async def results(request: Request) -> Response:
        job = await _mine(jobs(), request)
        if job.state != "done":
            raise Refused(409, f"The job is {job.state}: {job.done:,} of {job.total:,} texts are judged.", retry_after_s=2)
        return StreamingResponse(jobs().results(job.id), media_type=JSON_LINES)

    return [
        Route("/v1/jobs", create, methods=["POST"]),
        Route("/v1/jobs/{id}", show, methods=["GET"]),
        Route("/v1/jobs/{id}", cancel, methods=["DELETE"]),
        Route("/v1/results/{id}", results, methods=["GET"]),
    ]


async def accept(jobs: Jobs, request: Request, texts: list[Any], detail: bool) -> Response:
    """Take a job down and say where it is: 202.

    Raises:
        Refused: 503 when as many texts wait as may.
    """
    try:
        job = await jobs.add(
            owner_of(request) or "", texts, detail=detail, idempotency_key=request.headers.get("idempotency-key")
        )
    except TooMany:
        raise Refused(503, "Too many texts wait in jobs; come back later.", retry_after_s=_RETRY_AFTER_S) from None
    return JSONResponse(job.to_dict(), 202, {"location": f"/v1/jobs/{job.id}"})


async def _mine(jobs: Jobs, request: Request) -> Job:
    job = await jobs.get(request.path_params["id"], owner_of(request))
    if job is None:
        raise Refused(404, f"There is no job {request.path_params['id']!r} of this key; jobs are forgotten after a day.")
    return job


def owner_of(request: Request) -> str | None:
    """The id of the caller's key; None, everybody's jobs, for an admin who looks.

    Where keys are off: what stands under `OWNER`, else "".
    """
    key: Key | None = request.scope.get(KEY)
    if key is None:
        return request.scope.get(OWNER, "")
    return None if "admin" in key.scopes and request.method == "GET" else key.id


def _from_lines(body: bytes) -> JobRequest:
    """Each line a JSON object with `text`, or a JSON string."""
    texts: list[Any] = []
    for number, line in enumerate(body.splitlines(), 1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except ValueError as error:
            raise Refused(400, f"Line {number} is not JSON: {error}") from None
        texts.append(value.get("text") if isinstance(value, dict) else value)
    if not 1 <= len(texts) <= MAX_JOB_TEXTS:
        raise Refused(422, f"texts: {len(texts):,} lines, 1 to {MAX_JOB_TEXTS:,} are taken")
    return JobRequest(texts=texts)
