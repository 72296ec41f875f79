"""`/readyz`: whether the model is loaded, and which stores work. A store that is away is no reason to send nobody here."""

from collections.abc import Callable, MutableMapping
from typing import Any

from starlette.responses import JSONResponse

from serving.service.answering import Answering
from serving.service.problems import Refused


class Readiness:
    """A middleware, since BentoML's own page for this says nothing of stores."""

    def __init__(self, app: Any, answering: Callable[[], Answering]) -> None:
        self.app, self._answering = app, answering

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        """Handle one connection."""
        if scope["type"] != "http" or scope["path"] != "/readyz":
            await self.app(scope, receive, send)
            return
        try:
            found, status = self._answering().stores(), 200
        except Refused:
            found, status = {}, 503
        await JSONResponse({"ready": status == 200, "stores": found}, status)(scope, receive, send)
