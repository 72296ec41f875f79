"""`/readyz` checks what a request needs; every failure gets a response."""

import asyncio

import httpx
import pytest
from starlette.responses import PlainTextResponse

from serving.service import inference as inference_module
from serving.service.app import create_app
from serving.service.batching import Overloaded
from serving.service.disk import Disk
from serving.service.inference import InferenceService
from serving.service.middleware.admission import Authenticator
from serving.service.middleware.keys import keys_of
from serving.service.problems import NO_MODEL, Refused
from serving.service.readiness import Probes
from serving.settings import ServingSettings
from tests.models import tiny_bundle
from tests.serving.running import serving


class StubService:
    """An `InferenceService` whose failures the test sets."""

    def __init__(self, fails=None, free=50):
        self.fails, self.disk = fails, Disk(__file__ and inference_module.Path(__file__), 0.1, lambda _: (100, 100 - free, free))

    def stores(self):
        return {"jobs": "up"}

    disk_status = InferenceService.disk_status

    async def prove(self):
        if self.fails:
            raise self.fails


def ask(inference, authenticator=lambda: Authenticator(None)):
    async def go():
        app = Probes(PlainTextResponse("BentoML"), create_app(inference, authenticator))
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client:
            return await client.get("/readyz"), await client.get("/livez"), await client.get("/healthz")

    ready, live, other = asyncio.run(go())
    assert (live.status_code, live.text, other.text) == (200, "\n", "BentoML")
    return ready.status_code, ready.json()


def test_service_is_ready_when_a_text_is_classified_and_keys_are_readable():
    assert ask(StubService) == (
        200,
        {"ready": True, "reasons": [], "stores": {"jobs": "up"}, "disk": {"free": 0.5, "accepts_jobs": True}},
    )


@pytest.mark.parametrize("fails", [RuntimeError("the model is broken"), Overloaded(1, "queue"), TimeoutError()])
def test_service_is_not_ready_when_no_text_can_be_classified(fails):
    status, found = ask(lambda: StubService(fails))
    assert (status, found["ready"], found["reasons"]) == (503, False, ["no text can be classified"])
    assert found["stores"] == {"jobs": "up"}


def test_service_is_not_ready_before_the_model_is_loaded():
    def not_loaded():
        raise Refused(NO_MODEL, "not loaded")

    assert ask(not_loaded) == (
        503,
        {
            "type": "/docs#not-ready",
            "title": "Not ready",
            "status": 503,
            "detail": "the model is not loaded",
            "ready": False,
            "reasons": ["the model is not loaded"],
            "stores": {},
            "disk": {},
        },
    )


def test_service_is_not_ready_while_keys_are_unreadable(tmp_path):
    authenticator = Authenticator(keys_of(tmp_path))
    assert ask(StubService, lambda: authenticator)[0] == 200
    (tmp_path / "service" / "keys.db").write_bytes(b"no database" * 1000)
    assert ask(StubService, lambda: authenticator)[1]["reasons"] == ["API keys cannot be read"]

    def cannot_be_made():
        raise OSError

    assert ask(StubService, cannot_be_made)[0] == 503


def test_full_disk_is_reported_and_the_service_stays_ready():
    status, found = ask(lambda: StubService(free=5))
    assert (status, found["disk"]) == (200, {"free": 0.05, "accepts_jobs": False})


@pytest.fixture
def service(tmp_path, monkeypatch):
    made = InferenceService(tiny_bundle(tmp_path / "bundle"), ServingSettings.load(prediction_store="memory"))
    yield made
    made._batcher._threads.shutdown()


def test_probe_classifies_a_text_only_without_recent_ones(service, monkeypatch):
    async def go():
        submitted = []
        real = service._batcher.submit

        async def submit(texts, **how):
            submitted.append(texts)
            return await real(texts, **how)

        monkeypatch.setattr(service._batcher, "submit", submit)
        await service.prove()
        counts = [len(submitted)]
        monkeypatch.setattr(inference_module, "PROOF_S", -1.0)
        await service.prove()
        counts.append(len(submitted))
        monkeypatch.setattr(inference_module, "PROOF_S", 60.0)
        await service.prove()
        return [*counts, len(submitted)], service.describe()["cost"]["texts"]

    assert asyncio.run(go()) == ([0, 1, 1], 0), "the probe text is not counted"


def test_model_that_hangs_or_fails_raises(service, monkeypatch):
    monkeypatch.setattr(inference_module, "PROOF_S", -1.0)
    monkeypatch.setattr(inference_module, "_PROOF_WAIT_S", 0.01)

    async def never(texts, **_):
        await asyncio.Event().wait()

    def broken(texts):
        raise ZeroDivisionError

    monkeypatch.setattr(service._batcher, "_run", broken)
    with pytest.raises(ZeroDivisionError):
        asyncio.run(service._submit(["a"], "base", "general"))
    monkeypatch.setattr(service._batcher, "submit", never)
    with pytest.raises(TimeoutError):
        asyncio.run(service.prove())


@pytest.mark.integration
def test_damaged_keys_give_503_and_are_reported_by_readiness(tmp_path):
    with serving(tiny_bundle(tmp_path / "bundle"), tmp_path, keys="true") as (client, _):
        token = keys_of(tmp_path / "var").add("desk", ["classify", "dashboard"])
        headers = {"authorization": f"Bearer {token}"}
        body = {"texts": ["a great film"]}
        assert client.post("/v1/classify", json=body, headers=headers).status_code == 200
        path = tmp_path / "var" / "service" / "keys.db"
        whole = path.read_bytes()
        path.write_bytes(b"no database" * 1000)
        for route in ("/v1/model", "/v1/classify", "/docs", "/v1/panels/api"):
            refused = client.get(route, headers=headers)
            assert (refused.status_code, refused.json()["title"]) == (503, "API keys unavailable") and refused.headers[
                "retry-after"
            ]
        ready = client.get("/readyz")
        assert (ready.status_code, ready.json()["reasons"]) == (503, ["API keys cannot be read"])
        assert client.get("/livez").status_code == 200
        path.write_bytes(whole)
        assert client.get("/readyz").status_code == client.post("/v1/classify", json=body, headers=headers).status_code == 200
    assert '"status": 503' in (tmp_path / "log").read_text()
