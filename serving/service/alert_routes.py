"""`/v1/alerts/<id>`: one alert, and what a person does about it: acknowledge it, mute its source for some minutes.

Both are rows in the warehouse: they survive restarts, and `WS /v1/live` pushes them to all viewers. Reading needs the scope
`dashboard`, as panels do; acting needs `admin`.
"""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from data.errors import GroundswellError
from serving.service.admission import KEY
from serving.service.keys import Key
from serving.service.panel_schemas import AlertShown
from serving.service.problems import Refused
from serving.service.reading import parse_body, read_body
from serving.service.warehouse import Warehouse

MOST_MINUTES = 7 * 24 * 60
_MAX_BODY_BYTES = 4096
_ALL_TIME = datetime(1970, 1, 1, tzinfo=UTC)
_By = Field(default="", max_length=200, description="Your name; without it the name of the API key.")


class Acknowledgement(BaseModel):
    """`POST /v1/alerts/<id>/acknowledge`."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"by": "desk 4"}]})

    by: str = _By


class Mute(BaseModel):
    """`POST /v1/alerts/<id>/mute`."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"by": "desk 4", "minutes": 30}]})

    minutes: int = Field(ge=0, le=MOST_MINUTES, description="From now on; 0: the source is no longer muted.")
    by: str = _By


def alert_routes(var: Path, warehouse: Warehouse) -> list[Route]:
    """The routes.

    Args:
        var: Where the warehouse server is found.
        warehouse: Answers questions.
    """

    async def find(request: Request) -> AlertShown:
        name = request.path_params["id"]
        try:
            rows = await warehouse.ask("alerts", id=name, since=_ALL_TIME)
        except GroundswellError as error:
            raise _unavailable(error) from error
        if not rows:
            raise Refused(404, f"There is no alert {name[:64]!r}.")
        return AlertShown.model_validate(rows[0])

    async def show(request: Request) -> Response:
        return _json(await find(request))

    async def acknowledge(request: Request) -> Response:
        by = _actor(request, parse_body(Acknowledgement, await read_body(request, _MAX_BODY_BYTES)).by)
        alert = await find(request)
        if alert.acknowledged_at is None:  # the first one counts
            row = {"alert_id": alert.id, "acknowledged_by": by, "acknowledged_at": datetime.now(UTC)}
            await _insert(var, "alert_acknowledgements", row)
        return _json(await find(request))

    async def mute(request: Request) -> Response:
        asked = parse_body(Mute, await read_body(request, _MAX_BODY_BYTES))
        by, now = _actor(request, asked.by), datetime.now(UTC)
        alert = await find(request)
        until = now + timedelta(minutes=asked.minutes)
        await _insert(var, "alert_mutes", {"source": alert.source, "muted_until": until, "muted_by": by, "muted_at": now})
        return _json(await find(request))

    return [
        Route("/v1/alerts/{id}", show),
        Route("/v1/alerts/{id}/acknowledge", acknowledge, methods=["POST"]),
        Route("/v1/alerts/{id}/mute", mute, methods=["POST"]),
    ]


def _actor(request: Request, by: str) -> str:
    """Who acts, if they may."""
    key = request.scope.get(KEY)
    if isinstance(key, Key) and not key.may("admin"):
        raise Refused(403, f"API key {key.id} lacks scope `admin` (it has {', '.join(key.scopes)}).")
    name = by.strip() or (key.name if isinstance(key, Key) else "")
    if not name:
        raise Refused(422, "by: expected a name, found none; the alert shows who acted.")
    return name


async def _insert(var: Path, table: str, row: dict[str, Any]) -> None:
    try:
        await asyncio.to_thread(_insert_now, var, table, row)
    except GroundswellError as error:
        raise _unavailable(error) from error
    except Exception as error:  # clickhouse-connect and urllib3 raise unrelated classes
        raise Refused(503, "The warehouse did not take it; try again.", retry_after_s=2) from error


def _insert_now(var: Path, table: str, row: dict[str, Any]) -> None:
    from serving.warehouse.connect import connect

    with connect(var, own=False) as client:
        client.insert(table, [list(row.values())], column_names=list(row))


def _unavailable(error: GroundswellError) -> Refused:
    return Refused(503, f"{error.message} {error.remedy or ''}".strip(), retry_after_s=2)


def _json(alert: AlertShown) -> Response:
    return Response(alert.model_dump_json(), media_type="application/json", headers={"cache-control": "no-store"})


def alert_paths(says: Callable[..., dict[str, Any]]) -> dict[str, Any]:
    """The routes in OpenAPI's words; `says(description, schema[, media type])` makes a response."""
    problem = "application/problem+json"
    problems = {
        "403": says("The API key lacks the scope.", "Problem", problem),
        "404": says("No such alert.", "Problem", problem),
        "422": says("The body is invalid.", "Problem", problem),
        "503": says("The warehouse is unavailable.", "Problem", problem),
    }

    def action(summary: str, description: str, schema: str) -> dict[str, Any]:
        body = {"required": True, "content": says("", schema)["content"]}
        answers = {"200": says("The alert as it is now.", "AlertShown"), **problems}
        return {
            "post": {
                "summary": summary,
                "description": description,
                "requestBody": body,
                "responses": answers,
                "parameters": identity,
            }
        }

    identity = [{"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}]
    return {
        "/v1/alerts/{id}": {
            "get": {
                "summary": "Get an alert",
                "parameters": identity,
                "responses": {"200": says("The alert.", "AlertShown"), **problems},
            }
        },
        "/v1/alerts/{id}/acknowledge": action(
            "Acknowledge an alert", "Records who and when; the first one counts.", "Acknowledgement"
        ),
        "/v1/alerts/{id}/mute": action(
            "Mute an alert's source",
            "Until then its alerts notify no webhook and raise no alarm on the page; they are recorded, and shown as muted.",
            "Mute",
        ),
    }
