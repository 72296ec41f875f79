"""`/v1/alerts/<id>`: read an alert, acknowledge it, or mute its source for some minutes.

Both are written to the warehouse: they survive restarts, and `WS /v1/live` pushes them to all viewers. Reading needs the scope
`dashboard`, as panels do; acting needs `admin`.
"""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Depends
from fastapi import Path as InPath
from pydantic import BaseModel, ConfigDict, Field

from data.errors import GroundswellError
from serving.service import problems
from serving.service.dependencies import Caller, Queries, Var, not_stored
from serving.service.middleware.keys import Key
from serving.service.panels.schemas import AlertShown
from serving.service.panels.warehouse import Warehouse, problem_of
from serving.service.problems import Refused, refuses
from serving.service.routing import bounded

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

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"by": "desk 4", "minutes": 60}]})

    minutes: int = Field(ge=0, le=MOST_MINUTES, description="From now on; 0: the source is no longer muted.")
    by: str = _By


AlertId = Annotated[str, InPath(alias="id", examples=["9f2c41d07be35a68"])]
_PROBLEMS = (problems.NOT_FOUND, problems.INVALID, problems.NO_DATABASE, problems.DATABASE_FAILED)
_AS_IT_IS = "The alert as it is now."

router = APIRouter(tags=["Alerts"], route_class=bounded(_MAX_BODY_BYTES), dependencies=[Depends(not_stored)])


@router.get(
    "/v1/alerts/{id}",
    operation_id="alert",
    summary="Get an alert",
    response_description=_AS_IT_IS,
    openapi_extra=refuses(*_PROBLEMS),
)
async def show(identity: AlertId, warehouse: Queries) -> AlertShown:
    """One alert, by its id."""
    return await _find(warehouse, identity)


@router.post(
    "/v1/alerts/{id}/acknowledge",
    operation_id="acknowledge_alert",
    summary="Acknowledge an alert",
    response_description=_AS_IT_IS,
    openapi_extra=refuses(*problems.BODY, *_PROBLEMS),
)
async def acknowledge(identity: AlertId, asked: Acknowledgement, warehouse: Queries, var: Var, key: Caller) -> AlertShown:
    """Records who saw it and when; only the first acknowledgement is saved."""
    by = _actor(key, asked.by)
    alert = await _find(warehouse, identity)
    if alert.acknowledged_at is None:  # only the first one is saved
        row = {"alert_id": alert.id, "acknowledged_by": by, "acknowledged_at": datetime.now(UTC)}
        await _insert(var, "alert_acknowledgements", row)
    return await _find(warehouse, identity)


@router.post(
    "/v1/alerts/{id}/mute",
    operation_id="mute_alert",
    summary="Mute the source of an alert",
    description="Until then its alerts notify no webhook and raise no alarm on the page; they are recorded, and shown as muted.",
    response_description=_AS_IT_IS,
    openapi_extra=refuses(*problems.BODY, *_PROBLEMS),
)
async def mute(identity: AlertId, asked: Mute, warehouse: Queries, var: Var, key: Caller) -> AlertShown:
    by, now = _actor(key, asked.by), datetime.now(UTC)
    alert = await _find(warehouse, identity)
    until = now + timedelta(minutes=asked.minutes)
    await _insert(var, "alert_mutes", {"source": alert.source, "muted_until": until, "muted_by": by, "muted_at": now})
    return await _find(warehouse, identity)


async def _find(warehouse: Warehouse, identity: str) -> AlertShown:
    try:
        rows = await warehouse.ask("alerts", id=identity, since=_ALL_TIME)
    except GroundswellError as error:
        raise _unavailable(error) from error
    if not rows:
        raise Refused(problems.NOT_FOUND, f"Alert {identity[:64]!r} not found.")
    return AlertShown.model_validate(rows[0])


def _actor(key: Key | None, by: str) -> str:
    """Return the name of the caller; raises if its key lacks the scope."""
    if key and not key.may("admin"):
        raise Refused(problems.NO_SCOPE, f"API key {key.id} lacks scope `admin` (it has {', '.join(key.scopes)}).")
    name = by.strip() or (key.name if key else "")
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
