"""`POST /v1/classify` past the routers responds as the route does."""

import asyncio
import json

import httpx
import pytest
from starlette.responses import PlainTextResponse

from serving.service.app import Shortcut, classify_app, create_app
from serving.service.inference import InferenceService
from serving.service.middleware.admission import Authenticator
from serving.service.middleware.observing import Observing
from serving.settings import ServingSettings
from tests.models import tiny_bundle

JSON = {"content-type": "application/json"}
TEXTS = json.dumps({"texts": ["a great film", " ", "an awful soup"], "detail": True})


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return tiny_bundle(tmp_path_factory.mktemp("bundle") / "bundle")


@pytest.fixture
def ask(bundle, monkeypatch, tmp_path):
    """Return a function that sends requests past the routers and to the route, and returns both lists of responses."""
    monkeypatch.setenv("GROUNDSWELL_PATHS__VAR_DIR", str(tmp_path))

    def ask(*requests, change=lambda service: None):
        async def go():
            service = InferenceService(bundle, ServingSettings.load(prediction_store="memory", min_free_disk=0))
            change(service)
            app = create_app(lambda: service, lambda: Authenticator(None))
            other = PlainTextResponse("BentoML")
            found = []
            for way in (Shortcut(other, Observing(classify_app(app))), Observing(app)):
                transport = httpx.ASGITransport(app=way, raise_app_exceptions=False)
                async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
                    found.append([await client.request(**request) for request in requests])
            await service.close()
            return found

        return asyncio.run(go())

    return ask


def classify(content, headers=JSON):
    return {"method": "POST", "url": "/v1/classify", "content": content, "headers": headers}


def test_responses_and_refusals_are_those_of_the_route(ask):
    directly, by_route = ask(
        classify(TEXTS),
        classify('{"texts": []}'),
        classify('{"texts": ["a"], "tier": "unknown"}'),
        classify('{"texts": '),
        classify(TEXTS, {"content-type": "text/plain"}),
        classify('{"texts": ["' + "a" * (5 * 2**20) + '"]}'),
    )
    assert [one.status_code for one in directly] == [200, 422, 422, 400, 415, 413]
    for mine, expected in zip(directly, by_route, strict=True):
        assert (mine.status_code, mine.json()) == (expected.status_code, expected.json())
        assert {k: v for k, v in mine.headers.items() if k != "x-request-id"} == {
            k: v for k, v in expected.headers.items() if k != "x-request-id"
        }


def test_a_preference_for_later_makes_a_job(ask):
    for (response,) in ask(classify(TEXTS, JSON | {"prefer": "respond-async"})):
        assert response.status_code == 202 and response.json()["total"] == 3
        assert response.headers["location"] == f"/v1/jobs/{response.json()['id']}"


def test_a_failed_store_and_a_failed_model_are_problems(ask):
    def without_jobs(service):
        async def fail(*_, **__):
            raise JobsUnavailable("gone")

        service.jobs.add = fail

    def without_model(service):
        service.predictions = None

    from serving.service.jobs.queue import JobsUnavailable

    for change, status, request in (
        (without_jobs, 503, classify(TEXTS, JSON | {"prefer": "respond-async"})),
        (without_model, 500, classify(TEXTS)),
    ):
        (mine,), (expected,) = ask(request, change=change)
        assert mine.status_code == expected.status_code == status and mine.json() == expected.json()
        assert mine.headers["content-type"] == "application/problem+json"


def test_other_and_forwarded_requests_go_to_the_app(ask):
    requests = [
        {"method": method, "url": url} for method, url in (("GET", "/v1/classify"), ("POST", "/v1/classify/"), ("GET", "/"))
    ]
    requests += [classify(TEXTS, JSON | {name: "10.0.0.1"}) for name in ("X-Forwarded-For", "x-forwarded-proto")]
    directly, _ = ask(*requests)
    assert [one.text for one in directly] == ["BentoML"] * 5
