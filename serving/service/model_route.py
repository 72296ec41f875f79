"""`GET /v1/model`: the model that is served."""

import asyncio

from fastapi import APIRouter

from serving.service.counters import counters
from serving.service.dependencies import Inference
from serving.service.panels.api_use import Counts, count_now
from serving.service.schemas import ModelShown

router = APIRouter(tags=["Model"])


@router.get(
    "/v1/model",
    operation_id="model",
    summary="Get the served model",
    response_description="The model.",
)
async def model(service: Inference) -> ModelShown:
    """Its version and alias, its metrics by slice, the limits, and what a million texts cost."""
    if not counters.has_others:
        return ModelShown.model_validate(service.describe())
    whole = sum((await asyncio.to_thread(count_now)).values(), Counts())
    return ModelShown.model_validate(service.describe((whole.cpu_s, whole.texts)))
