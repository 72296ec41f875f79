"""`/readyz`: whether a request would be answered now, and which stores work.

It asks what a request needs: the API keys, and a text that is classified. A store that is down, or a disk that is nearly full,
is named and no reason to send nobody here: texts are classified without them.
"""

import asyncio
from collections.abc import Callable, MutableMapping
from typing import Any

from starlette.responses import JSONResponse

from serving.service import problems
from serving.service.admission import Gate
from serving.service.answering import Answering
from serving.service.logs import log
from serving.service.problems import Refused


class Readiness:
    """A middleware, since BentoML's own route for this knows only that the process runs."""

    def __init__(self, app: Any, answering: Callable[[], Answering], gate: Callable[[], Gate]) -> None:
        self.app, self._answering, self._gate = app, answering, gate

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        """Handle one connection."""
        if scope["type"] != "http" or scope["path"] != "/readyz":
            await self.app(scope, receive, send)
            return
        reasons, found = [], {}
        try:
            await asyncio.to_thread(lambda: self._gate().check())
        except Exception as error:  # whatever it is, requests will meet it too
            log().warning("not ready: keys", error=repr(error))
            reasons.append("API keys cannot be read")
        try:
            here = self._answering()
            found = {"stores": here.stores(), "disk": here.disk_shown()}
            await here.prove()
        except Refused:
            reasons.append("the model is not loaded")
        except Exception as error:
            log().warning("not ready: classification", error=repr(error))
            reasons.append("no text can be classified")
        body = {"ready": not reasons, "reasons": reasons, "stores": {}, "disk": {}} | found
        refused = Refused(problems.NOT_READY, "; ".join(reasons), retry_after_s=1)
        await (refused.response(**body) if reasons else JSONResponse(body))(scope, receive, send)
