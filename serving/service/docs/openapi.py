"""The OpenAPI 3.1 document of the API, generated from its requests, responses and problems. `/docs` is generated from it."""

import json
from collections.abc import Iterable
from functools import cache
from typing import Any

from serving.service import problems
from serving.service.docs.prose import ABOUT, KEYS, PANELS, TAGS
from serving.service.docs.samples import samples_of
from serving.service.middleware.admission import OPEN, scope_of
from serving.service.panels.alerts import Acknowledgement, Mute
from serving.service.panels.routes import OTHERS, QUERIES, QUESTIONS
from serving.service.panels.schemas import AlertShown, LiveFrame
from serving.service.problems import CATALOG, Kind
from serving.service.schemas import (
    MAX_BODY_BYTES,
    MAX_JOB_BYTES,
    MAX_JOB_TEXTS,
    MAX_TEXTS,
    ClassifyRequest,
    ClassifyResponse,
    FeedbackRequest,
    FeedbackSaved,
    JobRequest,
    JobShown,
    ModelShown,
    Problem,
    Readiness,
)

_MIB = 2**20
_JSON, _PROBLEM = "application/json", "application/problem+json"
_BODY = (problems.INVALID_JSON, problems.TOO_LARGE, problems.NOT_JSON_TYPE, problems.INVALID, problems.OVERLOADED)
_ALWAYS = (problems.CROSS_SITE, problems.HOST_NOT_ALLOWED, problems.NO_MODEL, problems.FAILED, problems.TIMED_OUT)
_KEYED = (problems.NO_KEY, problems.NO_SCOPE, problems.NO_KEYS)
_KEPT = (problems.NO_DISK, problems.NO_JOBS, problems.JOB_QUEUE_FULL)


@cache
def openapi(keys: bool = False) -> dict[str, Any]:
    """Generate the document.

    Args:
        keys: Whether API keys are on: only then the document has a security scheme and the problems of keys.
    """
    from pydantic.json_schema import models_json_schema

    responses = (ClassifyResponse, JobShown, FeedbackSaved, Problem, Readiness, ModelShown, LiveFrame, AlertShown)
    models: list[Any] = [(model, "serialization") for model in (*responses, *QUESTIONS.values(), *OTHERS.values())]
    models += [(model, "validation") for model in (ClassifyRequest, JobRequest, FeedbackRequest, Acknowledgement, Mute)]
    schemas = models_json_schema(models, ref_template="#/components/schemas/{model}")[1]["$defs"]
    paths = {**_classification(), **_jobs(), **_feedback(), **_panels(), **_alerts(), **_operations()}
    for path, methods in paths.items():
        for method, operation in methods.items():
            if method != "parameters":
                _complete(path, method, operation, methods.get("parameters", []), keys)
    document: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {"title": "Groundswell sentiment", "version": "1", "description": ABOUT + (f"\n{KEYS}" if keys else "")},
        "servers": [{"url": "/"}],
        "tags": [{"name": name, "description": text} for name, text in TAGS.items()],
        "paths": paths,
        "components": {"schemas": schemas},
        "x-problems": [
            {"type": f"/docs#{kind.name}", "status": kind.status, "title": kind.title, "meaning": kind.meaning}
            for kind in CATALOG
        ],
    }
    if keys:
        scheme = {"type": "http", "scheme": "bearer", "description": "A key of `groundswell keys add`."}
        document["components"]["securitySchemes"] = {"key": scheme}
    return document


def _complete(path: str, method: str, operation: dict[str, Any], parameters: list[dict[str, Any]], keys: bool) -> None:
    """Add what all operations have: problems, security, samples."""
    kinds = (*operation.pop("problems"), *_ALWAYS, *(_KEYED if keys else (problems.NOT_LOCAL,)))
    if keys and "/v1/classify" in path:
        kinds = (*kinds, problems.RATE_LIMIT)
    if path not in OPEN:
        operation["responses"] |= _refusals(kinds)
        operation["x-problems"] = [kind.name for kind in CATALOG if kind in kinds]
        if keys:
            operation["security"] = [{"key": []}]
            scope = scope_of(path)
            operation["x-scope"] = scope or "any"
    operation["parameters"] = operation.get("parameters", [])
    operation["x-codeSamples"] = samples_of(path, method, operation, parameters, keys=keys and path not in OPEN)


def _refusals(kinds: Iterable[Kind]) -> dict[str, Any]:
    by_status: dict[int, list[str]] = {}
    for kind in CATALOG:
        if kind in kinds:
            by_status.setdefault(kind.status, []).append(f"{kind.title}. {kind.meaning}")
    return {str(status): _response("\n\n".join(texts), "Problem", _PROBLEM) for status, texts in by_status.items()}


def _classification() -> dict[str, Any]:
    return {
        "/v1/classify": {
            "post": {
                "tags": ["Classification"],
                "operationId": "classify",
                "summary": f"Classify 1 to {MAX_TEXTS} texts",
                "description": f"In at most {MAX_BODY_BYTES // _MIB} MiB. With `Prefer: respond-async` the texts become a job.",
                "parameters": [_header("Prefer", "Set `respond-async` to run it as a background job (202).")],
                "requestBody": {"required": True, "content": _content("ClassifyRequest")},
                "responses": {"200": _response("The predictions.", "ClassifyResponse"), "202": _accepted()},
                "problems": (*_BODY, *_KEPT),
            }
        },
        "/v1/model": {
            "get": {
                "tags": ["Model"],
                "operationId": "model",
                "summary": "Get the served model",
                "description": "Its version and alias, its metrics by slice, the limits, and what a million texts cost.",
                "responses": {"200": _response("The model.", "ModelShown")},
                "problems": (),
            }
        },
    }


def _jobs() -> dict[str, Any]:
    identity = {"name": "id", "in": "path", "required": True, "schema": {"type": "string"}, "description": "Of the job."}
    gone = (problems.NOT_FOUND, problems.NO_JOBS)
    return {
        "/v1/jobs": {
            "post": {
                "tags": ["Jobs"],
                "operationId": "submitJob",
                "summary": "Submit a batch job",
                "description": f"1 to {MAX_JOB_TEXTS:,} texts in at most {MAX_JOB_BYTES // _MIB} MiB; on disk once accepted. "
                "Also as `application/x-ndjson`: one line per text, a JSON string or an object with `text`.",
                "parameters": [_header("Idempotency-Key", "The same key gives the same job, so that a request may be repeated.")],
                "requestBody": {"required": True, "content": _content("JobRequest")},
                "responses": {"202": _accepted()},
                "problems": (*_BODY, *_KEPT),
            }
        },
        "/v1/jobs/{id}": {
            "parameters": [identity],
            "get": {
                "tags": ["Jobs"],
                "operationId": "getJob",
                "summary": "Get job status",
                "description": "The results can be read once its state is `done`.",
                "responses": {"200": _response("The job.", "JobShown")},
                "problems": gone,
            },
            "delete": {
                "tags": ["Jobs"],
                "operationId": "cancelJob",
                "summary": "Cancel a job",
                "description": "Its texts and results are deleted. A job that is done stays done.",
                "responses": {"200": _response("The job.", "JobShown")},
                "problems": gone,
            },
        },
        "/v1/results/{id}": {
            "parameters": [identity],
            "get": {
                "tags": ["Jobs"],
                "operationId": "getResults",
                "summary": "Get the results of a job",
                "description": "One JSON line per text, in their order: a prediction or an error, and an `id` for feedback.",
                "responses": {
                    "200": {
                        "description": "The results.",
                        "content": {"application/x-ndjson": {"schema": {"type": "string"}}},
                    }
                },
                "problems": (*gone, problems.JOB_NOT_DONE),
            },
        },
    }


def _feedback() -> dict[str, Any]:
    return {
        "/v1/feedback": {
            "post": {
                "tags": ["Feedback"],
                "operationId": "correct",
                "summary": "Correct a label",
                "description": "The correct label of a text, named by itself or by the `id` of a result.",
                "requestBody": {"required": True, "content": _content("FeedbackRequest")},
                "responses": {"201": _response("Saved; used in the next training run.", "FeedbackSaved")},
                "problems": (*_BODY, problems.NOT_FOUND, problems.NO_DISK, problems.NO_JOBS, problems.NO_FEEDBACK),
            }
        }
    }


def _panels() -> dict[str, Any]:
    paths = {}
    for name, model in {**QUESTIONS, **OTHERS}.items():
        kinds = (problems.NO_DATABASE, problems.DATABASE_FAILED, problems.OVERLOADED) if name in QUESTIONS else ()
        kinds = (problems.NOT_FOUND,) if name in {"comparison", "errors"} else kinds
        paths[f"/v1/panels/{name}"] = {
            "get": {
                "tags": ["Panels"],
                "operationId": f"panel_{name}",
                "summary": PANELS.get(name, f"Get the panel {name}"),
                "description": (model.__doc__ or "").strip().partition("\n\n")[0],
                "parameters": _parameters(name),
                "responses": {"200": _response("The panel.", model.__name__)},
                "problems": (problems.INVALID, *kinds, *([problems.STREAM_UNKNOWN] if name == "stream" else [])),
            }
        }
    return paths


def _alerts() -> dict[str, Any]:
    kinds = (problems.NOT_FOUND, problems.INVALID, problems.NO_DATABASE, problems.DATABASE_FAILED)
    identity = [{"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}]

    def operation(identifier: str, summary: str, description: str, schema: str | None = None) -> dict[str, Any]:
        body = {"requestBody": {"required": True, "content": _content(schema)}} if schema else {}
        return {
            "tags": ["Alerts"],
            "operationId": identifier,
            "summary": summary,
            "description": description,
            **body,
            "responses": {"200": _response("The alert as it is now.", "AlertShown")},
            "problems": (*_BODY, *kinds) if schema else kinds,
        }

    acknowledge = "Records who saw it and when; only the first acknowledgement is saved."
    mute = "Until then its alerts notify no webhook and raise no alarm on the page; they are recorded, and shown as muted."
    return {
        "/v1/alerts/{id}": {"parameters": identity, "get": operation("alert", "Get an alert", "One alert, by its id.")},
        "/v1/alerts/{id}/acknowledge": {
            "parameters": identity,
            "post": operation("acknowledge_alert", "Acknowledge an alert", acknowledge, "Acknowledgement"),
        },
        "/v1/alerts/{id}/mute": {
            "parameters": identity,
            "post": operation("mute_alert", "Mute the source of an alert", mute, "Mute"),
        },
    }


def _parameters(panel: str) -> list[dict[str, Any]]:
    """Return the query parameters of a panel, as OpenAPI parameters."""
    if panel not in QUERIES:
        return []
    schema = QUERIES[panel].model_json_schema()
    return [
        {
            "name": name,
            "in": "query",
            "required": name in schema.get("required", []),
            "description": of.pop("description"),
            "schema": of,
        }
        for name, of in schema["properties"].items()
    ]


def _operations() -> dict[str, Any]:
    text = {"text/plain": {"schema": {"type": "string"}}}
    live = "Responds as long as the process runs: for a liveness probe."
    ready = "Checks what a request needs: the API keys, and a text that is classified. Reports stores and free disk space too."
    return {
        "/metrics": {
            "get": _plain("metrics", "Get Prometheus metrics", "Rules and a dashboard: serving/service/monitoring.", text)
        },
        "/livez": {"get": _plain("live", "Check that the process runs", live, text)},
        "/readyz": {
            "get": _plain("ready", "Check that requests would succeed", ready, _content("Readiness"))
            | {"responses": {"200": _response("Ready.", "Readiness"), **_refusals([problems.NOT_READY])}}
        },
    }


def _plain(identity: str, summary: str, description: str, content: dict[str, Any]) -> dict[str, Any]:
    return {
        "tags": ["Operations"],
        "operationId": identity,
        "summary": summary,
        "description": description,
        "responses": {"200": {"description": "OK", "content": content}},
        "problems": (),
    }


def _accepted() -> dict[str, Any]:
    return _response("Accepted as a job; its path is in `Location`.", "JobShown")


def _content(schema: str, kind: str = _JSON) -> dict[str, Any]:
    return {kind: {"schema": {"$ref": f"#/components/schemas/{schema}"}}}


def _response(description: str, schema: str, kind: str = _JSON) -> dict[str, Any]:
    return {"description": description, "content": _content(schema, kind)}


def _header(name: str, description: str) -> dict[str, Any]:
    return {"name": name, "in": "header", "schema": {"type": "string"}, "description": description}


if __name__ == "__main__":
    print(json.dumps(openapi(), indent=1))
