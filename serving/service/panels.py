"""`GET /v1/panels/<name>`: what the dashboard shows, one road a panel; those of the warehouse are named as their question."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from data.errors import GroundswellError
from serving.service import panel_schemas as schemas
from serving.service import problems
from serving.service.answering import Answering
from serving.service.api_use import ApiUse
from serving.service.model_panels import leaderboard, production
from serving.service.problems import Refused
from serving.service.stream_panel import StreamPanel
from serving.service.warehouse import TooManyQuestions, Warehouse

QUESTIONS: dict[str, type[schemas.Panel]] = {
    "distribution": schemas.Distribution, "trend": schemas.Trend, "volume": schemas.Volume, "sources": schemas.Sources,
    "messages": schemas.Messages, "top_negative": schemas.TopNegative, "alerts": schemas.Alerts, "versions": schemas.Versions,
    "latency": schemas.Latency,
}  # fmt: skip
OTHERS: dict[str, type[BaseModel]] = {
    "stream": schemas.StreamStatus, "api": schemas.ApiUse, "leaderboard": schemas.Leaderboard, "production": schemas.Production,
}  # fmt: skip
MOST_BUCKETS = 20_000
_STEP_S = {"second": 1, "minute": 60, "hour": 3600}
Text = Annotated[str, Field(max_length=256)]


class PanelQuery(BaseModel):
    """What may be asked of a panel that a question to the warehouse fills."""

    model_config = ConfigDict(extra="forbid")

    since: AwareDatetime | None = Field(default=None, description="From this event time on; without it the last hour.")
    until: AwareDatetime | None = Field(default=None, description="Before this time; without it now.")
    source: Text = Field(default="", description="Only of this source.")
    label: Literal["", "negative", "neutral", "positive"] = Field(default="", description="Only of this label (messages).")
    by: Literal["", "source"] = Field(default="", description="A line each of the five busiest sources (trend).")
    every: Literal["second", "minute", "hour"] | None = Field(
        default=None, description="Buckets; without it as the span asks for."
    )
    limit: int = Field(default=100, ge=1, le=1_000, description="At most so many rows, of panels that list.")


def panel_routes(var: Path, warehouse: Warehouse, answering: Callable[[], Answering]) -> list[Route]:
    """The routes.

    Args:
        var: Where the files of training, registry and stream lie.
        warehouse: Answers questions.
        answering: Called for each request, since the model is loaded later.
    """
    stream, use = StreamPanel(var), ApiUse()

    async def stream_panel() -> BaseModel:
        return await stream.read()

    async def api_panel() -> BaseModel:
        return use.read()

    async def leaderboard_panel() -> BaseModel:
        return leaderboard(var, answering().version)

    async def production_panel() -> BaseModel:
        return production(var, answering())

    others: dict[str, Callable[[], Awaitable[BaseModel]]] = {
        "stream": stream_panel, "api": api_panel, "leaderboard": leaderboard_panel, "production": production_panel,
    }  # fmt: skip
    return [
        *(Route(f"/v1/panels/{name}", _question(warehouse, name, model)) for name, model in QUESTIONS.items()),
        *(Route(f"/v1/panels/{name}", _plain(read)) for name, read in others.items()),
    ]


def _question(warehouse: Warehouse, name: str, model: type[schemas.Panel]) -> Callable[[Request], Awaitable[Response]]:
    async def show(request: Request) -> Response:
        asked = _query(request)
        now = datetime.now(UTC)
        since = asked.since or now - timedelta(hours=1)
        every = asked.every or _every(since, asked.until or now, now)
        span_s = max(0.0, ((asked.until or now) - since).total_seconds())
        if name in {"trend", "volume"} and span_s / _STEP_S[every] > MOST_BUCKETS:
            raise Refused(422, f"every: {every}s of so long a time would be more than {MOST_BUCKETS:,} buckets")
        try:
            rows = await warehouse.ask(
                name, since=since, until=asked.until, source=asked.source, label=asked.label, by=asked.by, limit=asked.limit,
                every=every,
            )  # fmt: skip
        except GroundswellError as error:
            raise Refused(_kind_of(error), f"{error.message} {error.remedy or ''}".strip(), retry_after_s=2) from error
        return _json(model.model_validate({"since": since, "until": asked.until, "every": every, "rows": rows}))

    return show


def _plain(read: Callable[[], Awaitable[BaseModel]]) -> Callable[[Request], Awaitable[Response]]:
    async def show(request: Request) -> Response:
        if request.query_params:
            raise Refused(422, f"{next(iter(request.query_params))}: this panel takes no parameters")
        return _json(await read())

    return show


def _query(request: Request) -> PanelQuery:
    try:
        return PanelQuery.model_validate(dict(request.query_params))
    except ValidationError as error:
        first = error.errors()[0]
        raise Refused(422, f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from error


def _kind_of(error: GroundswellError) -> problems.Kind:
    if isinstance(error, TooManyQuestions):
        return problems.OVERLOADED
    from serving.warehouse.connect import WarehouseAway  # with filelock, which may not be installed

    return problems.NO_DATABASE if isinstance(error, WarehouseAway) else problems.DATABASE_FAILED


def _every(since: datetime, until: datetime, now: datetime) -> Literal["second", "minute", "hour"]:
    from serving.warehouse.questions import rollup_of  # with clickhouse-connect, which nobody may need

    return rollup_of(since, min(until, now), now)


def _json(model: BaseModel) -> Response:
    return Response(model.model_dump_json(), media_type="application/json", headers={"cache-control": "no-store"})
