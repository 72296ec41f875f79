"""`/openapi.json` and `/docs`."""

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse

from serving.service.dependencies import Authentication
from serving.service.docs.openapi import openapi
from serving.service.docs.page import POLICY, docs_page

router = APIRouter(include_in_schema=False)


@router.get("/openapi.json")
async def show_openapi(authenticator: Authentication) -> Response:
    return JSONResponse(openapi(authenticator.asks_for_keys))


@router.get("/docs")
async def show_docs(request: Request, authenticator: Authentication) -> Response:
    page = docs_page(str(request.base_url).rstrip("/"), keys=authenticator.asks_for_keys)
    return HTMLResponse(page, headers={"content-security-policy": POLICY})
