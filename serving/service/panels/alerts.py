"""`/v1/alerts/<id>`: read an alert, acknowledge it, or mute its source for some minutes.

Both are written to the warehouse: they survive restarts, and `WS /v1/live` pushes them to all viewers. Reading needs the scope
`dashboard`, as panels do; acting needs `admin`.
"""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from data.errors import GroundswellError
from serving.service import problems
from serving.service.json_reader import read_fields
from serving.service.middleware.keys import KEY, Key
from serving.service.panels.schemas import AlertShown
from serving.service.panels.warehouse import Warehouse, problem_of
from serving.service.problems import Refused
from serving.service.reading import fit, read_request

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


Body = TypeVar("Body", Acknowledgement, Mute)


def alert_routes(var: Path, warehouse: Warehouse) -> list[Route]:
    """Make the routes.

    Args:
        var: Folder with the address of the warehouse server.
        warehouse: Runs queries.
    """

    async def find(request: Request) -> AlertShown:
        name = request.path_params["id"]
        try:
            rows = await warehouse.ask("alerts", id=name, since=_ALL_TIME)
        except GroundswellError as error:
            raise _unavailable(error) from error
        if not rows:
            raise Refused(problems.NOT_FOUND, f"Alert {name[:64]!r} not found.")
        return AlertShown.model_validate(rows[0])

    async def show(request: Request) -> Response:
        return _json(await find(request))

    async def acknowledge(request: Request) -> Response:
        by = _actor(request, (await _body(request, Acknowledgement)).by)
        alert = await find(request)
        if alert.acknowledged_at is None:  # only the first one is saved
            row = {"alert_id": alert.id, "acknowledged_by": by, "acknowledged_at": datetime.now(UTC)}
            await _insert(var, "alert_acknowledgements", row)
        return _json(await find(request))

    async def mute(request: Request) -> Response:
        asked = await _body(request, Mute)
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


async def _body(request: Request, model: type[Body]) -> Body:
    return await read_request(request, _MAX_BODY_BYTES, lambda body: fit(model, read_fields(body)))


def _actor(request: Request, by: str) -> str:
    """Return the name of the caller; raises if its key lacks the scope."""
    key = request.scope.get(KEY)
    if isinstance(key, Key) and not key.may("admin"):
        raise Refused(problems.NO_SCOPE, f"API key {key.id} lacks scope `admin` (it has {', '.join(key.scopes)}).")
    name = by.strip() or (key.name if isinstance(key, Key) else "")
    if not name:
        raise Refused(problems.INVALID, "by: expected a name, found none; the alert shows who acted.")
    return name


async def _insert(var: Path, table: str, row: dict[str, Any]) -> None:
    try:
        await asyncio.to_thread(_insert_now, var, table, row)
    except GroundswellError as error:
        raise _unavailable(error) from error
    except Exception as error:  # clickhouse-connect and urllib3 raise unrelated classes
        raise Refused(problems.DATABASE_FAILED, "The message database did not save it; try again.", retry_after_s=2) from error


def _insert_now(var: Path, table: str, row: dict[str, Any]) -> None:
    from serving.warehouse.connect import connect

    with connect(var, own=False) as client:
        client.insert(table, [list(row.values())], column_names=list(row))


def _unavailable(error: GroundswellError) -> Refused:
    return Refused(problem_of(error), f"{error.message} {error.remedy or ''}".strip(), retry_after_s=2)


def _json(alert: AlertShown) -> Response:
    return Response(alert.model_dump_json(), media_type="application/json", headers={"cache-control": "no-store"})
