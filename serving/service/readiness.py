"""`/readyz`: whether a request would succeed now, and which stores work.

It checks what a request needs: that the API keys can be read, and that a text is classified. A store that is down, or a disk that
is nearly full, is reported but does not make the service unready: texts are classified without them.
"""

import asyncio
from collections.abc import Callable, MutableMapping
from typing import Any

from starlette.responses import JSONResponse

from serving.service import problems
from serving.service.inference import InferenceService
from serving.service.logs import log
from serving.service.middleware.admission import Authenticator
from serving.service.problems import Refused


class Readiness:
    """The middleware; BentoML's own route only checks that the process runs."""

    def __init__(self, app: Any, inference: Callable[[], InferenceService], authenticator: Callable[[], Authenticator]) -> None:
        self.app, self._inference, self._authenticator = app, inference, authenticator

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        """Handle one connection."""
        if scope["type"] != "http" or scope["path"] != "/readyz":
            await self.app(scope, receive, send)
            return
        reasons, details = [], {}
        try:
            await asyncio.to_thread(lambda: self._authenticator().check())
        except Exception as error:  # any failure: requests will fail in the same way
            log().warning("not ready: keys", error=repr(error))
            reasons.append("API keys cannot be read")
        try:
            service = self._inference()
            details = {"stores": service.stores(), "disk": service.disk_status()}
            await service.prove()
        except Refused:
            reasons.append("the model is not loaded")
        except Exception as error:
            log().warning("not ready: classification", error=repr(error))
            reasons.append("no text can be classified")
        body = {"ready": not reasons, "reasons": reasons, "stores": {}, "disk": {}} | details
        refused = Refused(problems.NOT_READY, "; ".join(reasons), retry_after_s=1)
        await (refused.response(**body) if reasons else JSONResponse(body))(scope, receive, send)
