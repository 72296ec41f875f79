"""The dashboard's files at `/`, built by `make dashboard`; without them `/` explains how to build them."""

import os
from pathlib import Path
from typing import Any

from starlette.responses import HTMLResponse
from starlette.routing import Match, Mount
from starlette.staticfiles import StaticFiles

FOLDER = Path(__file__).resolve().parent.parent / "dashboard" / "out"
_HEADERS = {
    # Next embeds its data in the page as scripts, so inline scripts cannot be forbidden; all else must come from this origin.
    b"content-security-policy": b"default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
    b"img-src 'self' data:; object-src 'none'; base-uri 'none'; frame-ancestors 'none'",
    b"referrer-policy": b"same-origin",
    b"x-content-type-options": b"nosniff",
}
_NOT_BUILT = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Groundswell</title></head><body>
<h1>The dashboard is not built</h1><p>Run <code>make dashboard</code> (Node 20) and load this page again.
The API is there: <a href="/docs">/docs</a>.</p></body></html>"""


def is_page(path: str) -> bool:
    """Whether a path is a file of the dashboard. These hold no data, so they need no key."""
    if path == "/":
        return True
    if path.startswith("/v1/") or "\0" in path:
        return False
    file = (FOLDER / path.removeprefix("/") / ("index.html" if path.endswith("/") else "")).resolve()
    return file.is_relative_to(FOLDER) and os.path.isfile(file)  # noqa: PTH113 - Path.is_file raises where a name is too long


def page_route() -> Mount:
    """Make the route; it matches paths of pages only, so it may precede a catch-all route."""
    return _Pages("/", app=_Files(directory=FOLDER, html=True, check_dir=False))


class _Pages(Mount):
    def matches(self, scope: Any) -> Any:
        mine = scope["type"] == "http" and scope["method"] in {"GET", "HEAD"} and is_page(scope["path"])
        return super().matches(scope) if mine else (Match.NONE, {})


class _Files(StaticFiles):
    """Files below `/_next/static` are named by their content and cached forever; browsers revalidate all others."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if not (FOLDER / "index.html").is_file():
            await HTMLResponse(_NOT_BUILT, 503)(scope, receive, send)
            return
        immutable = scope["path"].startswith("/_next/static/")
        cache_control = b"public, max-age=31536000, immutable" if immutable else b"no-cache"

        async def send_with_headers(message: Any) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *_HEADERS.items(), (b"cache-control", cache_control)]
            await send(message)

        await super().__call__(scope, receive, send_with_headers)
