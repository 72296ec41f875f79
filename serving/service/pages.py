"""The few pages beside the API: which model answers, the OpenAPI document, and its page."""

from collections.abc import Callable
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse
from starlette.routing import Route

from serving.service.schemas import openapi

# The page's script and style come from BentoML's own package: nothing is fetched from elsewhere.
_DOCS = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Groundswell API</title>
<link rel="stylesheet" href="/static_content/swagger-ui.css"></head><body><div id="docs"></div>
<script src="/static_content/swagger-ui-bundle.js"></script>
<script>SwaggerUIBundle({url: "/openapi.json", dom_id: "#docs"})</script></body></html>"""


def pages(model: Callable[[], dict[str, Any]]) -> Starlette:
    """An ASGI app with `/v1/model`, `/openapi.json` and `/docs`; `/` leads to the last.

    BentoML's own page at `/` calls an analytics host, so it is not shown.

    Args:
        model: What `/v1/model` shows; called for each request, since the model is loaded after the app is made.
    """

    async def show_model(_: Request) -> JSONResponse:
        return JSONResponse(model())

    async def show_openapi(_: Request) -> JSONResponse:
        return JSONResponse(openapi())

    async def show_docs(_: Request) -> HTMLResponse:
        return HTMLResponse(_DOCS)

    async def to_docs(_: Request) -> RedirectResponse:
        return RedirectResponse("/docs")

    routes = {"/": to_docs, "/v1/model": show_model, "/openapi.json": show_openapi, "/docs": show_docs}
    return Starlette(routes=[Route(path, endpoint) for path, endpoint in routes.items()])
