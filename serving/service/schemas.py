"""Requests and responses of the API, and the OpenAPI document made from them."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from data.contracts import MAX_TEXT_CHARS

MAX_TEXTS = 256
MAX_BODY_BYTES = 4 * MAX_TEXT_CHARS * MAX_TEXTS
Domain = Literal["tweets", "reviews", "support", "finance", "news"]


def refusal(text: Any) -> str | None:
    """Why a text is not judged, or None."""
    if not isinstance(text, str):
        return f"is {type(text).__name__}, not a string"
    if len(text) > MAX_TEXT_CHARS:
        return f"has {len(text):,} characters, at most {MAX_TEXT_CHARS:,} are judged"
    if "\x00" in text:
        return "holds null bytes"
    return None if text.strip() else "is blank"


class ClassifyRequest(BaseModel):
    """`POST /v1/classify`."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"texts": ["Great service, thank you!"]}]})

    texts: list[Any] = Field(
        min_length=1, max_length=MAX_TEXTS, json_schema_extra={"items": {"type": "string"}},
        description=f"Each 1 to {MAX_TEXT_CHARS:,} characters. One that cannot be judged gets an error in its place.",
    )  # fmt: skip
    domain: Domain | None = Field(default=None, description="What kind of texts these are: counted in the metrics.")
    detail: bool = Field(default=False, description="Give the probabilities of all labels too.")


class Probabilities(BaseModel):
    """Summing to 1, rounded to 4 decimals."""

    negative: float
    neutral: float
    positive: float


class Answer(BaseModel):
    """One judged text."""

    label: Literal["negative", "neutral", "positive"]
    confidence: float = Field(description="Probability of the label, 0 to 1.")
    probabilities: Probabilities | None = Field(default=None, description="With `detail` only.")


class NotJudged(BaseModel):
    """In the place of a text that cannot be judged."""

    error: str


class ClassifyResponse(BaseModel):
    """One entry a text, in the order of the texts."""

    model_config = ConfigDict(protected_namespaces=())

    model_version: str
    predictions: list[Answer | NotJudged]


class Problem(BaseModel):
    """RFC 9457 problem details."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str


def openapi() -> dict[str, Any]:
    """The OpenAPI 3.1 document of the API."""
    from pydantic.json_schema import models_json_schema

    models: list[Any] = [(model, "serialization") for model in (ClassifyResponse, Problem)] + [(ClassifyRequest, "validation")]
    schemas = models_json_schema(models, ref_template="#/components/schemas/{model}")[1]["$defs"]

    def content(name: str, kind: str = "application/json") -> dict[str, Any]:
        return {"content": {kind: {"schema": {"$ref": f"#/components/schemas/{name}"}}}}

    problems = {
        status: {"description": text, **content("Problem", "application/problem+json")}
        for status, text in {
            "400": "The body is not JSON.",
            "401": "No key, or one that is not known or was revoked.",
            "403": "The key has not the scope `classify`.",
            "413": f"The body is over {MAX_BODY_BYTES:,} bytes.",
            "422": "The body is not as described, or no text can be judged; names the field and the text.",
            "429": "The key's rate is used up; Retry-After says when to come back.",
            "503": "Overloaded; Retry-After says when to come back.",
        }.items()
    }
    classify = {
        "summary": f"Judge 1 to {MAX_TEXTS} texts",
        "requestBody": {"required": True, **content("ClassifyRequest")},
        "responses": {"200": {"description": "The answers.", **content("ClassifyResponse")}, **problems},
        "security": [{}, {"key": []}],
    }
    plain = {"200": {"description": "OK"}}
    return {
        "openapi": "3.1.0",
        "info": {"title": "Groundswell sentiment", "version": "1"},
        "paths": {
            "/v1/classify": {"post": classify},
            "/v1/model": {"get": {"summary": "Which model answers", "responses": plain}},
            "/metrics": {"get": {"summary": "Prometheus metrics", "responses": plain}},
            "/livez": {"get": {"summary": "The process lives", "responses": plain}},
            "/readyz": {"get": {"summary": "The model is loaded", "responses": plain}},
        },
        "components": {
            "schemas": schemas,
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer", "description": "`groundswell keys add`"}},
        },
    }
