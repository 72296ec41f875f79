"""`/livez` and `/readyz`, for probes, and `/metrics`.

`/readyz` checks what a request needs: that the API keys can be read, and that a text is classified. A store that is down, or a
disk that is nearly full, is reported but does not make the service unready: texts are classified without them.
"""

import asyncio
from collections.abc import MutableMapping
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from serving.service import problems, schemas
from serving.service.counters import counters
from serving.service.logs import log
from serving.service.problems import Refused, refuses

router = APIRouter(tags=["Operations"])


@router.get(
    "/metrics",
    operation_id="metrics",
    summary="Get Prometheus metrics",
    response_class=PlainTextResponse,
    response_description="OK",
)
async def metrics() -> Response:
    """Rules and a dashboard: serving/service/monitoring."""
    return Response(await asyncio.to_thread(generate_latest, counters), media_type=CONTENT_TYPE_LATEST)


@router.get(
    "/livez",
    operation_id="live",
    summary="Check that the process runs",
    response_class=PlainTextResponse,
    response_description="OK",
)
async def live() -> str:
    """Responds as long as the process runs: for a liveness probe."""
    return "\n"


@router.get(
    "/readyz",
    operation_id="ready",
    summary="Check that requests would succeed",
    response_model=schemas.Readiness,
    response_description="Ready.",
    openapi_extra=refuses(problems.NOT_READY),
)
async def ready(request: Request) -> Response:
    """Checks what a request needs: the API keys, and a text that is classified. Reports stores and free disk space too."""
    state, reasons, details = request.app.state, [], {}
    try:
        await asyncio.to_thread(lambda: state.authenticator().check())
    except Exception as error:  # any failure: requests will fail in the same way
        log().warning("not ready: keys", error=repr(error))
        reasons.append("API keys cannot be read")
    try:
        service = state.inference()
        details = {"stores": service.stores(), "disk": service.disk_status()}
        await service.prove()
    except Refused:
        reasons.append("the model is not loaded")
    except Exception as error:
        log().warning("not ready: classification", error=repr(error))
        reasons.append("no text can be classified")
    body = {"ready": not reasons, "reasons": reasons, "stores": {}, "disk": {}} | details
    refused = Refused(problems.NOT_READY, "; ".join(reasons), retry_after_s=1)
    return refused.response(**body) if reasons else JSONResponse(body)


class Probes:
    """The middleware that passes the probes to our routes; BentoML's own, of the same paths, only check that the process runs."""

    def __init__(self, app: Any, routes: Any) -> None:
        self.app, self._routes = app, routes

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        """Handle one connection."""
        is_probe = scope["type"] == "http" and scope["path"] in {"/livez", "/readyz"}
        await (self._routes if is_probe else self.app)(scope, receive, send)
