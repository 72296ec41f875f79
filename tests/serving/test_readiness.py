"""`/readyz` asks what a request needs, and nothing that fails leaves a request without an answer."""

import asyncio

import httpx
import pytest
from starlette.responses import PlainTextResponse

from serving.service import answering as answering_module
from serving.service.admission import Gate
from serving.service.answering import Answering
from serving.service.batching import Overloaded
from serving.service.disk import Disk
from serving.service.keys import keys_of
from serving.service.problems import NO_MODEL, Refused
from serving.service.readiness import Readiness
from serving.settings import ServingSettings
from tests.models import tiny_bundle
from tests.serving.running import serving


class Here:
    """An `Answering` of which the test says what works."""

    def __init__(self, fails=None, free=50):
        self.fails, self.disk = fails, Disk(__file__ and answering_module.Path(__file__), 0.1, lambda _: (100, 100 - free, free))

    def stores(self):
        return {"jobs": "up"}

    disk_shown = Answering.disk_shown

    async def prove(self):
        if self.fails:
            raise self.fails


def ask(answering, gate=lambda: Gate(None)):
    async def go():
        app = Readiness(PlainTextResponse("the app"), answering, gate)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client:
            return await client.get("/readyz"), await client.get("/livez")

    ready, other = asyncio.run(go())
    assert other.text == "the app"
    return ready.status_code, ready.json()


def test_it_is_ready_when_a_text_is_classified_and_the_keys_can_be_read():
    assert ask(Here) == (
        200,
        {"ready": True, "reasons": [], "stores": {"jobs": "up"}, "disk": {"free": 0.5, "accepts_jobs": True}},
    )


@pytest.mark.parametrize("fails", [RuntimeError("the model is broken"), Overloaded(1, "queue"), TimeoutError()])
def test_it_is_not_ready_when_no_text_can_be_classified(fails):
    status, found = ask(lambda: Here(fails))
    assert (status, found["ready"], found["reasons"]) == (503, False, ["no text can be classified"])
    assert found["stores"] == {"jobs": "up"}


def test_it_is_not_ready_before_the_model_is_loaded():
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


def test_it_is_not_ready_while_the_keys_cannot_be_read(tmp_path):
    gate = Gate(keys_of(tmp_path))
    assert ask(Here, lambda: gate)[0] == 200
    (tmp_path / "service" / "keys.db").write_bytes(b"no database" * 1000)
    assert ask(Here, lambda: gate)[1]["reasons"] == ["API keys cannot be read"]

    def cannot_be_made():
        raise OSError

    assert ask(Here, cannot_be_made)[0] == 503


def test_a_full_disk_is_named_and_no_reason_to_send_no_requests():
    status, found = ask(lambda: Here(free=5))
    assert (status, found["disk"]) == (200, {"free": 0.05, "accepts_jobs": False})


@pytest.fixture
def here(tmp_path, monkeypatch):
    made = Answering(tiny_bundle(tmp_path / "bundle"), ServingSettings.load(answers="memory"))
    yield made
    made._batcher._threads.shutdown()


def test_a_text_is_classified_for_it_only_when_none_was_for_a_while(here, monkeypatch):
    async def go():
        submitted = []
        real = here._batcher.submit

        async def submit(texts):
            submitted.append(texts)
            return await real(texts)

        monkeypatch.setattr(here._batcher, "submit", submit)
        await here.prove()
        counts = [len(submitted)]
        monkeypatch.setattr(answering_module, "PROOF_S", -1.0)
        await here.prove()
        counts.append(len(submitted))
        monkeypatch.setattr(answering_module, "PROOF_S", 60.0)
        await here.prove()
        return [*counts, len(submitted)], here.describe()["cost"]["texts"]

    assert asyncio.run(go()) == ([0, 1, 1], 0), "and it is not counted among the texts that callers sent"


def test_a_model_that_hangs_or_fails_proves_nothing(here, monkeypatch):
    monkeypatch.setattr(answering_module, "PROOF_S", -1.0)
    monkeypatch.setattr(answering_module, "_PROOF_WAIT_S", 0.01)

    async def never(texts):
        await asyncio.Event().wait()

    def broken(texts):
        raise ZeroDivisionError

    monkeypatch.setattr(here._batcher, "_run", broken)
    with pytest.raises(ZeroDivisionError):
        asyncio.run(here._batcher.submit(["a"]))
    monkeypatch.setattr(here._batcher, "submit", never)
    with pytest.raises(TimeoutError):
        asyncio.run(here.prove())


@pytest.mark.integration
def test_when_the_keys_are_damaged_requests_are_answered_and_readiness_says_so(tmp_path):
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
