"""Two Lambda functions over the bundle in their image: `api` for API Gateway's proxy events, `jobs` for batches from SQS.

Both are stateless: answers, jobs and results lie in DynamoDB, and who may ask how much is API Gateway's business (keys and a
usage plan). The routes are those of `serving/service/app.py`, called through Mangum; feedback is refused with 503, as there is no
disk to keep it on.
"""

import asyncio
import os
from collections.abc import MutableMapping
from functools import cache
from typing import Any

from mangum import Mangum

from data.settings_registry import check_settings
from serving.bundle import served_bundle
from serving.service.admission import Gate
from serving.service.answering import Answering
from serving.service.app import create_app
from serving.service.job_routes import JSON_LINES, OWNER
from serving.service.jobs import judge_part
from serving.service.jobs_sqs import SQSJobs
from serving.service.logs import log
from serving.service.observing import Observing
from serving.settings import ServingSettings

_TEXTUAL = ["text/", "application/json", "application/problem+json", JSON_LINES]


def api(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Answer one request.

    Args:
        event: API Gateway's proxy event (REST).
        context: Lambda's.

    Returns:
        `statusCode`, `headers`, `body`: what the HTTP service answers to the same request.
    """
    here = _answering()  # before the loop runs
    answer = _http()(event, context)
    # What is not written before this returns would be written when the function is thawed for the next request, perhaps never.
    _loop().run_until_complete(here.settle())
    return answer


def jobs(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Judge the parts of jobs that a batch of messages names.

    Args:
        event: `Records`, each a message of `SQSJobs`.
        context: Lambda's.

    Returns:
        `batchItemFailures`: the messages that are to be delivered again; the others are done.
    """
    return {"batchItemFailures": [{"itemIdentifier": name} for name in _loop().run_until_complete(_judge(event["Records"]))]}


async def _judge(records: list[dict[str, Any]]) -> list[str]:
    here = _answering()
    assert isinstance(here.jobs, SQSJobs), "GROUNDSWELL_SERVING__JOBS has to be sqs"
    failed = []
    for record in records:
        attempt = int(record["attributes"]["ApproximateReceiveCount"])
        try:
            part = await asyncio.to_thread(here.jobs.part_of, record["body"], attempt, None)
            if part is not None:
                await judge_part(here.jobs, part, here.entries)
        except Exception as error:  # the others are judged; this one comes again, and at last to the dead letters
            log().error("part failed", message=record["messageId"], attempt=attempt, error=type(error).__name__)
            failed.append(record["messageId"])
    return failed


@cache
def _loop() -> asyncio.AbstractEventLoop:
    """One for all invocations, since what is open belongs to it. Mangum takes the current one."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    return loop


@cache
def _answering() -> Answering:
    async def load() -> Answering:
        check_settings()
        return Answering(served_bundle(), ServingSettings.load())

    return _loop().run_until_complete(load())


@cache
def _http() -> Mangum:
    app = create_app(_answering, lambda: Gate(None))
    return Mangum(_Owned(Observing(app)), lifespan="off", text_mime_types=_TEXTUAL)


class _Owned:
    """Jobs belong to the API key that API Gateway saw."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        identity = scope["aws.event"]["requestContext"].get("identity") or {}
        scope[OWNER] = identity.get("apiKeyId") or ""
        await self.app(scope, receive, send)


if os.environ.get("AWS_LAMBDA_RUNTIME_API"):  # while the function starts it has a whole processor, whatever its memory
    _answering()
