"""All routes of the API, one router per group, in the order of the documentation. The busiest is matched first."""

from fastapi import APIRouter

from serving.service import classify_route, feedback_route, model_route, readiness
from serving.service.jobs import routes as jobs
from serving.service.panels import alerts, live
from serving.service.panels import routes as panels

ROUTERS: tuple[APIRouter, ...] = (
    classify_route.router,
    model_route.router,
    jobs.router,
    feedback_route.router,
    panels.router,
    alerts.router,
    live.router,
    readiness.router,
)
