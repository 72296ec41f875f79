"""Two Lambda functions over the bundle in their image: `api` for API Gateway's proxy events, `jobs` for batches from SQS.

Both are stateless: predictions, jobs and results are stored in DynamoDB, and API Gateway checks keys and rates (a usage plan).
The routes are those of `serving/service/app.py`, called through Mangum; feedback is refused with 503, since there is no disk.
"""

import asyncio
import os
from collections.abc import MutableMapping
from functools import cache
from typing import Any

from mangum import Mangum

from data.settings_registry import check_settings
from serving.bundle import served_bundle
from serving.service.app import create_app
from serving.service.inference import InferenceService
from serving.service.jobs.queue import classify_part
from serving.service.jobs.routes import JSON_LINES, OWNER
from serving.service.jobs.sqs import SQSJobs
from serving.service.logs import log
from serving.service.middleware.admission import Authenticator
from serving.service.middleware.observing import Observing
from serving.settings import ServingSettings

_TEXTUAL = ["text/", "application/json", "application/problem+json", JSON_LINES]


def api(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Handle one request.

    Args:
        event: API Gateway's proxy event (REST).
        context: Lambda's.

    Returns:
        `statusCode`, `headers`, `body`: the response of the HTTP service to the same request.
    """
    service = _inference()  # before the loop runs
    response = _http()(event, context)
    # Lambda freezes the function after this returns: a later write would wait for the next request, or be lost.
    _loop().run_until_complete(service.settle())
    return response


def jobs(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Classify the parts of jobs that a batch of messages names.

    Args:
        event: `Records`, each a message of `SQSJobs`.
        context: Lambda's.

    Returns:
        `batchItemFailures`: the messages to deliver again; the others are done.
    """
    return {"batchItemFailures": [{"itemIdentifier": name} for name in _loop().run_until_complete(_classify(event["Records"]))]}


async def _classify(records: list[dict[str, Any]]) -> list[str]:
    service = _inference()
    assert isinstance(service.jobs, SQSJobs), "GROUNDSWELL_SERVING__JOBS has to be sqs"
    failed = []
    for record in records:
        attempt = int(record["attributes"]["ApproximateReceiveCount"])
        try:
            part = await asyncio.to_thread(service.jobs.part_of, record["body"], attempt, None)
            if part is not None:
                await classify_part(service.jobs, part, service.entries)
        except (
            Exception
        ) as error:  # the others are classified; SQS delivers this one again, and finally moves it to the dead letters
            log().error("part failed", message=record["messageId"], attempt=attempt, error=type(error).__name__)
            failed.append(record["messageId"])
    return failed


@cache
def _loop() -> asyncio.AbstractEventLoop:
    """One event loop for all invocations, since open clients belong to it. Mangum uses the current one."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    return loop


@cache
def _inference() -> InferenceService:
    async def load() -> InferenceService:
        check_settings()
        return InferenceService(served_bundle(), ServingSettings.load())

    return _loop().run_until_complete(load())


@cache
def _http() -> Mangum:
    app = create_app(_inference, lambda: Authenticator(None))
    return Mangum(_Owned(Observing(app)), lifespan="off", text_mime_types=_TEXTUAL)


class _Owned:
    """Set the owner of jobs to the API key that API Gateway checked."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        identity = scope["aws.event"]["requestContext"].get("identity") or {}
        scope[OWNER] = identity.get("apiKeyId") or ""
        await self.app(scope, receive, send)


if os.environ.get("AWS_LAMBDA_RUNTIME_API"):  # while the function starts it has a whole CPU, whatever its memory
    _inference()
