"""`GET /v1/panels/<name>`: the data of the dashboard, one route per panel; warehouse panels have the name of their query."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from data.errors import GroundswellError
from serving.questions import STEP_S, Every, rollup_of
from serving.service import problems
from serving.service.dependencies import Inference, Queries, Stream, Use, Var, not_stored
from serving.service.panels import model_schemas as models
from serving.service.panels import schemas
from serving.service.panels.evaluated import comparison, errors, evaluated_list
from serving.service.panels.models import gate, leaderboard, production, transfer
from serving.service.panels.warehouse import problem_of
from serving.service.problems import Kind, Refused, refuses

QUESTIONS: dict[str, tuple[type[schemas.Panel], str]] = {
    "distribution": (schemas.Distribution, "Count messages by label"),
    "trend": (schemas.Trend, "Get the sentiment over time"),
    "volume": (schemas.Volume, "Count messages over time"),
    "sources": (schemas.Sources, "Compare sources with their normal"),
    "messages": (schemas.Messages, "List the latest messages"),
    "top_negative": (schemas.TopNegative, "List the most negative messages"),
    "alerts": (schemas.Alerts, "List alerts"),
    "versions": (schemas.Versions, "List model versions in the stream"),
    "tiers": (schemas.TierShares, "Count messages over time by tier"),
    "latency": (schemas.Latency, "Get the latency of the stream"),
}
"""Warehouse panels, with the model of their response and their summary."""
MOST_BUCKETS = 20_000
Text = Annotated[str, Field(max_length=256)]


class PanelQuery(BaseModel):
    """Query parameters of a warehouse panel."""

    model_config = ConfigDict(extra="forbid")

    since: AwareDatetime | None = Field(default=None, description="From this event time on; without it the last hour.")
    until: AwareDatetime | None = Field(default=None, description="Before this time; without it now.")
    source: Text = Field(default="", description="Only of this source.")
    label: Literal["", "negative", "neutral", "positive"] = Field(default="", description="Only of this label (messages).")
    domain: Literal["", "general", "tweets", "reviews", "support", "finance", "news"] = Field(
        default="", description="Only those on which the head of this domain decided (messages)."
    )
    sarcastic: bool = Field(default=False, description="Only probably sarcastic ones (messages).")
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

    left: Text = Field(description="A name in the panel `evaluated`.", examples=["vader"])
    right: Text = Field(description="A name in the panel `evaluated`.", examples=["minilm"])


class ErrorsQuery(BaseModel):
    """Query parameters of the errors: a model and a cell of its confusion matrix."""

    model_config = ConfigDict(extra="forbid")

    name: Text = Field(description="A name in the panel `evaluated`.", examples=["minilm"])
    label: models.Label = Field(description="True label.", examples=["negative"])
    predicted: models.Label = Field(description="Predicted label.", examples=["positive"])


async def _without_parameters(request: Request) -> None:
    for name in request.query_params:
        raise Refused(problems.INVALID, f"{name[:64]}: found a parameter, expected none. Remove it: this panel takes none.")


router = APIRouter(tags=["Panels"], dependencies=[Depends(not_stored)])
_NO_PARAMETERS = [Depends(_without_parameters)]


def _described(name: str, summary: str, *kinds: Kind) -> dict[str, Any]:
    return {
        "path": f"/v1/panels/{name}",
        "operation_id": f"panel_{name}",
        "summary": summary,
        "response_description": "The panel.",
        "openapi_extra": refuses(problems.INVALID, *kinds),
    }


def _question(name: str, model: type[schemas.Panel]) -> Callable[..., Awaitable[BaseModel]]:
    async def show(asked: Annotated[PanelQuery, Query()], warehouse: Queries) -> BaseModel:
        now = datetime.now(UTC)
        since = asked.since or now - timedelta(hours=1)
        every = asked.every or _every(since, asked.until or now, now)
        span_s = max(0.0, ((asked.until or now) - since).total_seconds())
        if name in {"trend", "volume", "tiers"} and span_s / STEP_S[every] > MOST_BUCKETS:
            found = f"found buckets of a {every} for {span_s:,.0f} s, expected at most {MOST_BUCKETS:,} buckets"
            raise Refused(problems.INVALID, f"every: {found}. Use longer ones, or a shorter time span.")
        given = asked.model_dump(include={"until", "source", "label", "domain", "sarcastic", "by", "limit"})
        try:
            rows = await warehouse.ask(name, since=since, every=every, **given)
        except GroundswellError as error:
            raise Refused(problem_of(error), f"{error.message} {error.remedy or ''}".strip(), retry_after_s=2) from error
        return model.model_validate({"since": since, "until": asked.until, "every": every, "rows": rows})

    return show


for _name, (_model, _summary) in QUESTIONS.items():
    router.get(
        **_described(_name, _summary, problems.NO_DATABASE, problems.DATABASE_FAILED, problems.OVERLOADED),
        description=(_model.__doc__ or "").partition("\n\n")[0],
        response_model=_model,
    )(_question(_name, _model))


@router.get(**_described("stream", "Get the status of the stream", problems.STREAM_UNKNOWN), dependencies=_NO_PARAMETERS)
async def show_stream(stream: Stream) -> schemas.StreamStatus:
    """Status of the stream. Unknown counts are null; `broker` and `warehouse` then have the reason."""
    return await stream.read()


@router.get(**_described("history", "Get the history of the stream: lag, rates, CPU, memory, errors"))
async def show_history(asked: Annotated[TimeQuery, Query()], var: Var) -> schemas.StreamHistory:
    """Measurements of the supervisor; there are no rows for times in which none ran."""
    until = asked.until or datetime.now(UTC)
    return await asyncio.to_thread(_history, var, asked.since or until - timedelta(minutes=10), until)


@router.get(**_described("api", "Get the use of the API"))
async def show_api(asked: Annotated[SinceQuery, Query()], use: Use) -> schemas.ApiUse:
    """Use of this service within a time span, or since its start if that is shorter."""
    return await use.read(asked.since and asked.since.timestamp())


@router.get(**_described("leaderboard", "Compare models"), dependencies=_NO_PARAMETERS)
async def show_leaderboard(var: Var, service: Inference) -> models.Leaderboard:
    """The leaderboard; empty where this machine has none, `missing` then states what to do."""
    return leaderboard(var, service.version)


@router.get(**_described("production", "Get the production model and the alias history"), dependencies=_NO_PARAMETERS)
async def show_production(var: Var, service: Inference) -> models.Production:
    """The production bundle and the history of the aliases."""
    return production(var, service)


@router.get(**_described("gate", "Get the last decision of the promotion gate"), dependencies=_NO_PARAMETERS)
async def show_gate(var: Var) -> models.Gate:
    """The last gate decision; where there is none, `missing` states what to do."""
    return gate(var)


@router.get(**_described("transfer", "Get the domain-transfer matrix"), dependencies=_NO_PARAMETERS)
async def show_transfer(var: Var) -> models.Transfer:
    """How models that learned from one domain do on the others; empty where it was not measured."""
    return transfer(var)


@router.get(**_described("evaluated", "List the models that can be compared"), dependencies=_NO_PARAMETERS)
async def show_evaluated(var: Var, service: Inference) -> models.EvaluatedList:
    """Models that can be compared; empty where the pipeline stored no predictions."""
    return evaluated_list(var, service.version)


@router.get(**_described("comparison", "Compare two models on the same rows", problems.NOT_FOUND))
async def show_comparison(asked: Annotated[ComparisonQuery, Query()], var: Var) -> models.Comparison:
    """Two evaluated models on the same test rows of the primary dataset."""
    return await asyncio.to_thread(comparison, var, asked.left, asked.right)


@router.get(**_described("errors", "List wrong predictions of one confusion cell", problems.NOT_FOUND))
async def show_errors(asked: Annotated[ErrorsQuery, Query()], var: Var) -> models.Errors:
    """Texts of a cell of the confusion matrix, the most confident first."""
    return await asyncio.to_thread(errors, var, asked.name, asked.label, asked.predicted)


def _history(var: Path, since: datetime, until: datetime) -> schemas.StreamHistory:
    from serving.streaming.supervisor.history import read_history

    rows, step_s = read_history(var / "stream", since.timestamp(), until.timestamp())
    return schemas.StreamHistory.model_validate({"since": since, "until": until, "step_s": step_s, "rows": rows})


def _every(since: datetime, until: datetime, now: datetime) -> Every:
    return rollup_of(since, min(until, now), now)
