"""`GET /v1/panels/<name>`: the data of the dashboard, one route per panel; warehouse panels have the name of their query."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from data.errors import GroundswellError
from serving.questions import STEP_S, Every, rollup_of
from serving.service import problems
from serving.service.inference import InferenceService
from serving.service.panels import model_schemas as models
from serving.service.panels import schemas
from serving.service.panels.api_use import ApiUse
from serving.service.panels.evaluated import comparison, errors, evaluated_list
from serving.service.panels.models import gate, leaderboard, production
from serving.service.panels.stream import StreamPanel
from serving.service.panels.warehouse import Warehouse, problem_of
from serving.service.problems import Refused

QUESTIONS: dict[str, type[schemas.Panel]] = {
    "distribution": schemas.Distribution,
    "trend": schemas.Trend,
    "volume": schemas.Volume,
    "sources": schemas.Sources,
    "messages": schemas.Messages,
    "top_negative": schemas.TopNegative,
    "alerts": schemas.Alerts,
    "versions": schemas.Versions,
    "latency": schemas.Latency,
}
OTHERS: dict[str, type[BaseModel]] = {
    "stream": schemas.StreamStatus,
    "history": schemas.StreamHistory,
    "api": schemas.ApiUse,
    "leaderboard": models.Leaderboard,
    "production": models.Production,
    "gate": models.Gate,
    "evaluated": models.EvaluatedList,
    "comparison": models.Comparison,
    "errors": models.Errors,
}
MOST_BUCKETS = 20_000
Text = Annotated[str, Field(max_length=256)]
Show = Callable[[Request], Awaitable[BaseModel]]


class PanelQuery(BaseModel):
    """Query parameters of a warehouse panel."""

    model_config = ConfigDict(extra="forbid")

    since: AwareDatetime | None = Field(default=None, description="From this event time on; without it the last hour.")
    until: AwareDatetime | None = Field(default=None, description="Before this time; without it now.")
    source: Text = Field(default="", description="Only of this source.")
    label: Literal["", "negative", "neutral", "positive"] = Field(default="", description="Only of this label (messages).")
    by: Literal["", "source"] = Field(default="", description="One line for each of the five busiest sources (trend).")
    every: Literal["second", "minute", "hour"] | None = Field(
        default=None, description="Bucket size; without it chosen by the time span."
    )
    limit: int = Field(default=100, ge=1, le=1_000, description="Most rows, of panels that list rows.")


class TimeQuery(BaseModel):
    """Query parameters of a panel of measurements."""

    model_config = ConfigDict(extra="forbid")

    since: AwareDatetime | None = Field(default=None, description="From this time on; without it the last ten minutes.")
    until: AwareDatetime | None = Field(default=None, description="Before this time; without it now.")


class SinceQuery(BaseModel):
    """Query parameters of the panel of the API's use."""

    model_config = ConfigDict(extra="forbid")

    since: AwareDatetime | None = Field(default=None, description="From this time on; without it the last minute.")


class ComparisonQuery(BaseModel):
    """Query parameters of the comparison: two models."""

    model_config = ConfigDict(extra="forbid")

    left: Text = Field(description="A name in the panel `evaluated`.")
    right: Text = Field(description="A name in the panel `evaluated`.")


class ErrorsQuery(BaseModel):
    """Query parameters of the errors: a model and a cell of its confusion matrix."""

    model_config = ConfigDict(extra="forbid")

    name: Text = Field(description="A name in the panel `evaluated`.")
    label: models.Label = Field(description="True label.")
    predicted: models.Label = Field(description="Predicted label.")


QUERIES: dict[str, type[BaseModel]] = {
    **dict.fromkeys(QUESTIONS, PanelQuery),
    "history": TimeQuery,
    "api": SinceQuery,
    "comparison": ComparisonQuery,
    "errors": ErrorsQuery,
}
"""Of the panels that take parameters."""
Query = TypeVar("Query", bound=BaseModel)


def panel_routes(var: Path, warehouse: Warehouse, inference: Callable[[], InferenceService], use: ApiUse) -> list[Route]:
    """Make the routes.

    Args:
        var: Folder with the files of training, registry and stream.
        warehouse: Runs queries.
        inference: Returns the inference service; called for each request, since the model is loaded later.
        use: The API's own use.
    """
    stream = StreamPanel(var)

    async def show_stream(_: Request) -> BaseModel:
        return await stream.read()

    async def show_history(request: Request) -> BaseModel:
        asked = _query(request, TimeQuery)
        until = asked.until or datetime.now(UTC)
        return await asyncio.to_thread(_history, var, asked.since or until - timedelta(minutes=10), until)

    async def show_api(request: Request) -> BaseModel:
        since = _query(request, SinceQuery).since
        return use.read(since and since.timestamp())

    async def show_leaderboard(_: Request) -> BaseModel:
        return leaderboard(var, inference().version)

    async def show_production(_: Request) -> BaseModel:
        return production(var, inference())

    async def show_gate(_: Request) -> BaseModel:
        return gate(var)

    async def show_evaluated(_: Request) -> BaseModel:
        return evaluated_list(var, inference().version)

    async def show_comparison(request: Request) -> BaseModel:
        asked = _query(request, ComparisonQuery)
        return await asyncio.to_thread(comparison, var, asked.left, asked.right)

    async def show_errors(request: Request) -> BaseModel:
        asked = _query(request, ErrorsQuery)
        return await asyncio.to_thread(errors, var, asked.name, asked.label, asked.predicted)

    others: dict[str, Show] = {
        "stream": show_stream,
        "history": show_history,
        "api": show_api,
        "leaderboard": show_leaderboard,
        "production": show_production,
        "gate": show_gate,
        "evaluated": show_evaluated,
        "comparison": show_comparison,
        "errors": show_errors,
    }
    return [
        *(Route(f"/v1/panels/{name}", _question(warehouse, name, model)) for name, model in QUESTIONS.items()),
        *(Route(f"/v1/panels/{name}", _plain(show, name in QUERIES)) for name, show in others.items()),
    ]


def _history(var: Path, since: datetime, until: datetime) -> schemas.StreamHistory:
    from serving.streaming.supervisor.history import read_history

    rows, step_s = read_history(var / "stream", since.timestamp(), until.timestamp())
    return schemas.StreamHistory.model_validate({"since": since, "until": until, "step_s": step_s, "rows": rows})


def _question(warehouse: Warehouse, name: str, model: type[schemas.Panel]) -> Callable[[Request], Awaitable[Response]]:
    async def show(request: Request) -> Response:
        asked = _query(request, PanelQuery)
        now = datetime.now(UTC)
        since = asked.since or now - timedelta(hours=1)
        every = asked.every or _every(since, asked.until or now, now)
        span_s = max(0.0, ((asked.until or now) - since).total_seconds())
        if name in {"trend", "volume"} and span_s / STEP_S[every] > MOST_BUCKETS:
            reason = f"{span_s:,.0f} s are more than {MOST_BUCKETS:,} buckets of a {every}; use a coarser one"
            raise Refused(problems.INVALID, f"every: {reason}")
        try:
            rows = await warehouse.ask(
                name,
                since=since,
                until=asked.until,
                source=asked.source,
                label=asked.label,
                by=asked.by,
                limit=asked.limit,
                every=every,
            )
        except GroundswellError as error:
            raise Refused(problem_of(error), f"{error.message} {error.remedy or ''}".strip(), retry_after_s=2) from error
        return _json(model.model_validate({"since": since, "until": asked.until, "every": every, "rows": rows}))

    return show


def _plain(show: "Show", takes_parameters: bool) -> Callable[[Request], Awaitable[Response]]:
    async def respond(request: Request) -> Response:
        if request.query_params and not takes_parameters:
            raise Refused(problems.INVALID, f"{next(iter(request.query_params))}: this panel takes no parameters")
        return _json(await show(request))

    return respond


def _query(request: Request, model: type[Query]) -> Query:
    try:
        return model.model_validate(dict(request.query_params))
    except ValidationError as error:
        first = error.errors()[0]
        raise Refused(problems.INVALID, f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from error


def _every(since: datetime, until: datetime, now: datetime) -> Every:
    return rollup_of(since, min(until, now), now)


def _json(model: BaseModel) -> Response:
    return Response(model.model_dump_json(), media_type="application/json", headers={"cache-control": "no-store"})
