"""`GET /v1/model`: the model that is served."""

from fastapi import APIRouter

from serving.service.dependencies import Inference
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
    return ModelShown.model_validate(service.describe())
