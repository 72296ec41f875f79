"""The OpenAPI 3.1 document of the API, made from its requests and responses."""

import json
from typing import Any

from serving.service.panel_schemas import LiveFrame
from serving.service.panels import OTHERS, QUERIES, QUESTIONS
from serving.service.schemas import (
    MAX_BODY_BYTES,
    MAX_JOB_TEXTS,
    MAX_TEXTS,
    ClassifyRequest,
    ClassifyResponse,
    FeedbackRequest,
    JobRequest,
    JobShown,
    ModelShown,
    Problem,
)

_PROBLEMS = {
    "400": "The body is not JSON.",
    "401": "No key, or one that is not known or was revoked.",
    "403": "The key has not the route's scope.",
    "413": f"The body is too large: over {MAX_BODY_BYTES:,} bytes for /v1/classify.",
    "422": "The body is not as described, or no text can be judged; names the field and the text.",
    "429": "The key's rate is used up; Retry-After says when to come back.",
    "503": "Overloaded; Retry-After says when to come back.",
}


def openapi() -> dict[str, Any]:
    """The document."""
    from pydantic.json_schema import models_json_schema

    answers = (ClassifyResponse, JobShown, Problem, ModelShown, LiveFrame, *QUESTIONS.values(), *OTHERS.values())
    models: list[Any] = [(model, "serialization") for model in answers]
    models += [(model, "validation") for model in (ClassifyRequest, JobRequest, FeedbackRequest)]
    schemas = models_json_schema(models, ref_template="#/components/schemas/{model}")[1]["$defs"]
    return {
        "openapi": "3.1.0",
        "info": {"title": "Groundswell sentiment", "version": "1"},
        "paths": {**_judging(), **_looking(), **_panels()},
        "components": {
            "schemas": schemas,
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer", "description": "`groundswell keys add`"}},
        },
        "security": [{}, {"key": []}],
    }


def _judging() -> dict[str, Any]:
    problems = {status: _says(text, "Problem", "application/problem+json") for status, text in _PROBLEMS.items()}
    accepted = _says("Taken down; Location says where it is.", "JobShown")
    shown = {"200": _says("Where it stands.", "JobShown"), "404": _says("No such job.", "Problem", "application/problem+json")}
    identity = [{"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}]
    return {
        "/v1/classify": {
            "post": {
                "summary": f"Judge 1 to {MAX_TEXTS} texts",
                "parameters": [_header("Prefer", "`respond-async` makes a job of it: 202.")],
                "requestBody": {"required": True, "content": _content("ClassifyRequest")},
                "responses": {"200": _says("The answers.", "ClassifyResponse"), "202": accepted, **problems},
            }
        },
        "/v1/jobs": {
            "post": {
                "summary": f"Have 1 to {MAX_JOB_TEXTS:,} texts judged later",
                "description": "Also as application/x-ndjson: a line a text, a JSON object with `text` or a JSON string.",
                "parameters": [_header("Idempotency-Key", "The same key gives the same job.")],
                "requestBody": {"required": True, "content": _content("JobRequest")},
                "responses": {"202": accepted, **problems},
            }
        },
        "/v1/feedback": {
            "post": {
                "summary": "Say what a text's label should have been",
                "requestBody": {"required": True, "content": _content("FeedbackRequest")},
                "responses": {"201": {"description": "Kept, for the next training."}, "404": shown["404"], **problems},
            }
        },
        "/v1/jobs/{id}": {
            "parameters": identity,
            "get": {"summary": "Where a job stands", "responses": shown},
            "delete": {"summary": "Cancel a job", "responses": shown},
        },
        "/v1/results/{id}": {
            "parameters": identity,
            "get": {
                "summary": "The answers of a job that is done",
                "responses": {
                    "200": {
                        "description": "One entry a line, in order.",
                        "content": {"application/x-ndjson": {}},
                    },
                    "404": shown["404"],
                    "409": _says("Not yet done.", "Problem", "application/problem+json"),
                },
            },
        },
    }


def _panels() -> dict[str, Any]:
    problem = _says("What is wrong.", "Problem", "application/problem+json")
    roads = {}
    for name, model in {**QUESTIONS, **OTHERS}.items():
        what = "of the warehouse" if name in QUESTIONS else "of the service, the stream or the models"
        answers = {"200": _says("What it shows.", model.__name__), **dict.fromkeys(("401", "403", "404", "422", "503"), problem)}
        roads[f"/v1/panels/{name}"] = {
            "get": {
                "summary": f"Panel {name} of the dashboard, {what}",
                "parameters": _parameters(name),
                "responses": answers,
            }
        }
    return roads


def _parameters(panel: str) -> list[dict[str, Any]]:
    """What a panel may be asked, as OpenAPI parameters."""
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


def _looking() -> dict[str, Any]:
    roads = {
        "/metrics": "Prometheus metrics",
        "/livez": "The process lives",
        "/readyz": "The model is loaded",
    }
    plain = {road: {"get": {"summary": what, "responses": {"200": {"description": "OK"}}}} for road, what in roads.items()}
    shown = {"summary": "Which model answers", "responses": {"200": _says("What it is, and what it costs.", "ModelShown")}}
    return {"/v1/model": {"get": shown}, **plain}


def _content(schema: str, kind: str = "application/json") -> dict[str, Any]:
    return {kind: {"schema": {"$ref": f"#/components/schemas/{schema}"}}}


def _says(description: str, schema: str, kind: str = "application/json") -> dict[str, Any]:
    return {"description": description, "content": _content(schema, kind)}


def _header(name: str, description: str) -> dict[str, Any]:
    return {"name": name, "in": "header", "schema": {"type": "string"}, "description": description}


if __name__ == "__main__":
    print(json.dumps(openapi(), indent=1))
