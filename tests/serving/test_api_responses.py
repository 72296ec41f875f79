"""Every route, in this process, over ASGI: its responses match the generated OpenAPI document, and errors are problems."""

import asyncio
import json
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import httpx
import pytest
from jsonschema import Draft202012Validator

from serving.service.app import create_app
from serving.service.docs.openapi import openapi
from serving.service.inference import InferenceService
from serving.service.middleware.admission import Authenticator
from serving.service.panels.schemas import StreamStatus
from serving.service.schemas import MAX_FEEDBACK_BYTES, MAX_JOB_BYTES
from serving.settings import ServingSettings
from tests.make import evaluated
from tests.models import tiny_bundle
from tests.serving.alert_rows import alert_row
from tests.waiting import until_async

NOW = datetime.now(UTC).replace(microsecond=0)
COUNTS = {"negative": 2, "neutral": 1, "positive": 1, "messages": 4, "points": 40.0}
MESSAGE = {"event_at": NOW, "source": "tweets", "confidence": 0.9, "text": "so good", "id": "a"}
ROWS = {
    "distribution": [COUNTS],
    "trend": [COUNTS | {"bucket": NOW, "source": "", "normal_low": 30.0, "normal_high": None}],
    "volume": [{"bucket": NOW, "messages": 4}],
    "sources": [COUNTS | {"source": "tweets"}],
    "messages": [
        MESSAGE
        | {
            "label": "positive",
            "sarcasm": None,
            "domain": "general",
            "tier": "base",
            "model_version": "1",
            "topic": "t",
            "partition": 0,
            "offset": 1,
        }
    ],
    "top_negative": [MESSAGE],
    "alerts": [alert_row("a", NOW, acknowledged_at=NOW, acknowledged_by="desk 4")],
    "versions": [{"model_version": "1", "tier": "base", "messages": 4, "first_at": NOW, "last_at": NOW}],
    "tiers": [{"bucket": NOW, "tier": "base", "messages": 4}],
    "latency": [{"topic": "t", "messages": 4, "p50_s": 0.1, "p95_s": 0.2, "p99_s": 0.3, "newest_s": 1.0}],
}
STREAM = {
    name: None if "None" in str(field.annotation) else [] if "list" in str(field.annotation) else field.annotation()
    for name, field in StreamStatus.model_fields.items()
}


class StubWarehouse:
    async def ask(self, question, **given):
        return [] if given.get("id") == "none" else ROWS[question]


class StubStream:
    async def read(self):
        return StreamStatus.model_validate(STREAM)


@asynccontextmanager
async def running(folder):
    """The app with a tiny bundle, without BentoML; yields a client."""
    settings = ServingSettings.load(prediction_store="memory", min_free_disk=0)
    service = InferenceService(tiny_bundle(folder / "bundle"), settings)
    app = create_app(lambda: service, lambda: Authenticator(None))
    app.state.warehouse, app.state.stream = StubWarehouse(), StubStream()
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://localhost", timeout=60) as client,
    ):
        yield client
    await service.close()


@pytest.fixture(scope="module")
def responses(tmp_path_factory):
    """Responses of every route, each with the name of its operation: successes and problems."""
    folder = tmp_path_factory.mktemp("api")
    for name in ("left", "right"):
        evaluated(folder / "var", name)

    async def ask():
        async with running(folder) as client:
            return await ask_all(client)

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GROUNDSWELL_PATHS__VAR_DIR", str(folder / "var"))
        return asyncio.run(ask())


async def ask_all(client):
    found = []

    async def ask(operation, path=None, **sent):
        method, route = operation.split()
        found.append((operation, await client.request(method, path or route, **sent)))
        return found[-1][1]

    texts = {"texts": ["a great film", "  ", "the soup " * 300], "detail": True}
    await ask("POST /v1/classify", json=texts)
    await ask("POST /v1/classify", json=texts, headers={"prefer": "respond-async"})
    job = (await ask("POST /v1/jobs", json=texts, headers={"idempotency-key": "a"})).json()["id"]
    again = await ask("POST /v1/jobs", json=texts, headers={"idempotency-key": "a"})
    assert again.json()["id"] == job and again.headers["location"] == f"/v1/jobs/{job}"

    async def done():
        return (await client.get(f"/v1/jobs/{job}")).json()["state"] == "done"

    await until_async(done)
    await ask("GET /v1/jobs/{id}", f"/v1/jobs/{job}")
    results = await ask("GET /v1/results/{id}", f"/v1/results/{job}")
    assert [set(json.loads(line)) for line in results.text.splitlines()][1] >= {"error"}
    lines = await ask(
        "POST /v1/jobs", content=b'"so good"\n{"text": "so bad"}\n', headers={"content-type": "application/x-ndjson"}
    )
    await ask("DELETE /v1/jobs/{id}", f"/v1/jobs/{lines.json()['id']}")
    await ask("POST /v1/feedback", json={"text": "so good", "label": "positive", "by": "desk 4"})
    for name in ROWS:
        await ask(f"GET /v1/panels/{name}")
    for name in ("stream", "history", "api", "leaderboard", "production", "gate", "transfer", "evaluated"):
        await ask(f"GET /v1/panels/{name}")
    await ask("GET /v1/panels/comparison", "/v1/panels/comparison?left=left&right=right")
    await ask("GET /v1/panels/errors", "/v1/panels/errors?name=left&label=negative&predicted=positive")
    await ask("GET /v1/alerts/{id}", "/v1/alerts/a")
    await ask("POST /v1/alerts/{id}/acknowledge", "/v1/alerts/a/acknowledge", json={"by": "desk 4"})
    for path in ("/v1/model", "/metrics", "/livez", "/readyz"):
        await ask(f"GET {path}")
    await ask_wrong(ask)
    return found


async def ask_wrong(ask):
    """Send requests that each get a problem."""
    large = {"POST /v1/feedback": MAX_FEEDBACK_BYTES, "POST /v1/jobs": MAX_JOB_BYTES, "POST /v1/alerts/{id}/mute": 4096}
    for operation in ("POST /v1/classify", "POST /v1/jobs", "POST /v1/feedback", "POST /v1/alerts/{id}/mute"):
        path = operation.split()[1].replace("{id}", "a")
        await ask(operation, path, json={"more": []})
        await ask(operation, path, content=b"{", headers={"content-type": "application/json"})
        await ask(operation, path, content=b"{}", headers={"content-type": "text/plain"})
        body = b" " * (large.get(operation, 4 * 2**20) + 1)
        await ask(operation, path, content=body, headers={"content-type": "application/json"})
    for path in ("jobs", "results", "alerts"):
        await ask(f"GET /v1/{path}/{{id}}", f"/v1/{path}/none")
    for path in (
        "volume?every=second&since=2020-01-01T00:00:00Z",
        "trend?limit=0",
        "stream?limit=1",
        "comparison?left=left",
        "errors?name=left&label=bad&predicted=positive",
    ):
        await ask(f"GET /v1/panels/{path.partition('?')[0]}", f"/v1/panels/{path}")


def test_every_operation_responds(responses):
    document = openapi()
    every = {f"{method.upper()} {path}" for path, methods in document["paths"].items() for method in methods}
    # muting is written to a warehouse: test_alert_routes.py has one
    good = {operation for operation, response in responses if response.status_code < 400}
    assert good == every - {"POST /v1/alerts/{id}/mute"}


def test_each_response_matches_its_schema(responses):
    document = openapi()
    for operation, response in responses:
        method, path = operation.split()
        declared = document["paths"][path][method.lower()]["responses"]
        assert str(response.status_code) in declared, (operation, response.status_code, response.text)
        kind = response.headers["content-type"].partition(";")[0]
        schema = declared[str(response.status_code)]["content"][kind]["schema"]
        value = response.json() if "json" in kind and "ndjson" not in kind else response.text
        Draft202012Validator({**schema, "components": document["components"]}).validate(value)
        fields = document["components"]["schemas"].get(schema.get("$ref", "").rpartition("/")[2], {}).get("properties")
        assert fields is None or value.keys() <= fields.keys(), (operation, value.keys())


def test_each_problem_has_what_was_found_what_was_expected_and_what_to_do(responses):
    problems = {(operation, response.status_code): response for operation, response in responses if response.status_code >= 400}
    for operation in ("POST /v1/classify", "POST /v1/jobs", "POST /v1/feedback", "POST /v1/alerts/{id}/mute"):
        assert {status for name, status in problems if name == operation} == {400, 413, 415, 422}, operation
    for response in problems.values():
        assert response.headers["content-type"] == "application/problem+json"
        assert response.json()["status"] == response.status_code
    details = {operation: response.json()["detail"] for (operation, status), response in problems.items() if status == 422}
    for operation, detail in details.items():
        assert "found" in detail and "expected" in detail and detail.count(". ") >= 1, operation
    assert details["GET /v1/panels/trend"].startswith(
        "limit: found '0', expected a number greater than or equal to 1. Correct it"
    )
    assert "buckets of a second" in details["GET /v1/panels/volume"]
    assert details["POST /v1/feedback"].startswith("label: found nothing, expected a value. Add it")
    assert details["GET /v1/panels/errors"].startswith("label: found 'bad', expected 'negative', 'neutral' or 'positive'")


def test_panels_and_alerts_are_not_stored_by_caches(responses):
    for operation, response in responses:
        is_live = "/v1/panels/" in operation or "/v1/alerts/" in operation
        assert response.status_code >= 400 or (response.headers.get("cache-control") == "no-store") == is_live, operation


def test_head_is_get_and_allow_names_all_methods_of_a_path(tmp_path, monkeypatch):
    monkeypatch.setenv("GROUNDSWELL_PATHS__VAR_DIR", str(tmp_path / "var"))

    async def ask():
        async with running(tmp_path) as client:
            heads = [await client.head(path) for path in ("/v1/model", "/docs", "/openapi.json", "/livez", "/v1/panels/gate")]
            return [head.status_code for head in heads], await client.patch("/v1/jobs/a"), await client.post("/v1/model")

    heads, jobs, model = asyncio.run(ask())
    assert heads == [200] * 5
    assert (jobs.status_code, jobs.headers["allow"]) == (405, "DELETE, GET, HEAD")
    assert (model.status_code, model.headers["allow"]) == (405, "GET, HEAD") and "use GET, HEAD" in model.json()["detail"]


def test_body_is_read_within_its_limit_while_it_arrives(tmp_path, monkeypatch):
    monkeypatch.setenv("GROUNDSWELL_PATHS__VAR_DIR", str(tmp_path / "var"))
    sent = []

    async def endless():
        while True:
            sent.append(1)
            yield b" " * 65_536

    async def ask():
        async with running(tmp_path) as client:
            return await client.post("/v1/feedback", content=endless(), headers={"content-type": "application/json"})

    assert asyncio.run(ask()).status_code == 413 and len(sent) * 65_536 <= MAX_FEEDBACK_BYTES + 2 * 65_536
