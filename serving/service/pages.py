"""The dashboard's files at `/`, as `make dashboard` built them; without them `/` says so."""

import os
from pathlib import Path
from typing import Any

from starlette.responses import HTMLResponse
from starlette.routing import Match, Mount
from starlette.staticfiles import StaticFiles

FOLDER = Path(__file__).resolve().parent.parent / "dashboard" / "out"
_HEADERS = {
    # Next writes its data into the page as scripts, so inline ones cannot be forbidden; nothing else may come from elsewhere.
    b"content-security-policy": b"default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
    b"img-src 'self' data:; object-src 'none'; base-uri 'none'; frame-ancestors 'none'",
    b"referrer-policy": b"same-origin",
    b"x-content-type-options": b"nosniff",
}
_NOT_BUILT = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Groundswell</title></head><body>
<h1>The dashboard is not built</h1><p>Run <code>make dashboard</code> (Node 20) and load this page again.
The API is there: <a href="/docs">/docs</a>.</p></body></html>"""


def is_page(path: str) -> bool:
    """Whether a path leads to a file of the dashboard. They hold no data, so no key is asked for."""
    if path == "/":
        return True
    if path.startswith("/v1/") or "\0" in path:
        return False
    file = (FOLDER / path.removeprefix("/") / ("index.html" if path.endswith("/") else "")).resolve()
    return file.is_relative_to(FOLDER) and os.path.isfile(file)  # noqa: PTH113 - Path.is_file raises where a name is too long


def page_route() -> Mount:
    """The route; it takes paths of pages only, so it may stand before a route for all else."""
    return _Pages("/", app=_Files(directory=FOLDER, html=True, check_dir=False))


class _Pages(Mount):
    def matches(self, scope: Any) -> Any:
        mine = scope["type"] == "http" and scope["method"] in {"GET", "HEAD"} and is_page(scope["path"])
        return super().matches(scope) if mine else (Match.NONE, {})


class _Files(StaticFiles):
    """Named by their content, those below `/_next/static` never change; all others are asked for anew each time."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if not (FOLDER / "index.html").is_file():
            await HTMLResponse(_NOT_BUILT, 503)(scope, receive, send)
            return
        lasting = scope["path"].startswith("/_next/static/")
        cache_control = b"public, max-age=31536000, immutable" if lasting else b"no-cache"

        async def answer(message: Any) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *_HEADERS.items(), (b"cache-control", cache_control)]
            await send(message)

        await super().__call__(scope, receive, answer)
