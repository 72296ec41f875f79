"""Documents as jobs: the API and its store in this process, the real reading process."""

import asyncio
import json
from contextlib import asynccontextmanager

import httpx
import pytest
from typer.testing import CliRunner

from orchestration.cli.main import app as command
from serving.service.app import create_app
from serving.service.forget import FORGOTTEN, count_in_jobs, forget_in_jobs
from serving.service.inference import InferenceService
from serving.service.jobs import documents
from serving.service.jobs.documents import classify_windows
from serving.service.jobs.queue import Options, work_forever
from serving.service.middleware.admission import Authenticator
from serving.settings import ServingSettings
from tests import filings
from tests.models import headed_bundle
from tests.waiting import until_async

HTML, PLAIN = {"content-type": "text/html; charset=utf-8"}, {"content-type": "application/octet-stream"}


@pytest.fixture
def bundle(tmp_path):
    return headed_bundle(tmp_path / "bundle")


@pytest.fixture
def service(bundle, monkeypatch):
    monkeypatch.setenv("GROUNDSWELL_SERVING__MIN_FREE_DISK", "0")
    return lambda: InferenceService(bundle, ServingSettings.load())


@asynccontextmanager
async def api(inference: InferenceService, *, works: bool = True):
    app = create_app(lambda: inference, lambda: Authenticator(None))
    worker = asyncio.create_task(work_forever(inference.jobs, inference.entries)) if works else None
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost", timeout=100) as client:
        yield client
    if worker:
        worker.cancel()
        await asyncio.wait([worker])
    await inference.close()


async def finished(client: httpx.AsyncClient, path: str) -> dict:
    async def done():
        return (await client.get(path)).json()["state"] == "done"

    await until_async(done)
    return (await client.get(path.replace("/jobs/", "/results/"))).json()


def test_result_of_a_document_is_that_of_the_command(service, bundle, tmp_path):
    path = tmp_path / "10k.htm"
    path.write_text(filings.annual_report(sentences=40, repeat=4), encoding="utf-8")

    async def go():
        async with api(service()) as client:
            query = {"name": str(path), "tier": "base"}
            made = await client.post("/v1/jobs", content=path.read_bytes(), headers=HTML, params=query)
            assert made.status_code == 202, made.text
            return made.json(), await finished(client, made.headers["location"])

    job, result = asyncio.run(go())
    shown = CliRunner().invoke(command, ["classify", str(path), "--bundle", str(bundle.directory), "--json"])
    assert result == json.loads(shown.stdout)
    assert job["total"] == result["windows"] > 64 and result["domain"] == "finance" and "options" not in job


def test_plain_text_is_a_document_with_the_domain_of_the_query(service):
    async def go():
        async with api(service()) as client:
            made = await client.post("/v1/jobs?domain=news", content=b"The soup was great.", headers=PLAIN)
            return await finished(client, made.headers["location"])

    result = asyncio.run(go())
    assert (result["document"], result["domain"], result["label"], result["form"]) == ("document", "general", "positive", None)


@pytest.mark.parametrize(
    ("content", "headers", "query", "status", "detail"),
    [
        (b"%PDF-1.7", HTML, "", 422, "found: a PDF"),
        (b"PK\x03\x04", PLAIN, "?name=a.docx", 422, "a.docx is not text"),
        (b"", HTML, "", 422, "is empty"),
        (b"<p>1,234</p>", HTML, "", 422, "has no text"),
        ("<div>" * 6_000, HTML, "", 422, "nested too deep"),
        (b"Good.", PLAIN, "?tier=none", 422, "expected base or auto"),
        (b"Good.", PLAIN, "?domain=none", 422, "domain: found"),
        (b"Good.", PLAIN, "?other=1", 422, "does not know"),
        (b"Good.", {"content-type": "application/pdf"}, "", 415, "not supported"),
        (b"Good.", {"content-type": "text/plain"}, "", 415, "not supported"),  # a form of another site can send it
    ],
)
def test_document_that_cannot_be_read_is_refused_with_the_reason(service, content, headers, query, status, detail):
    async def go():
        async with api(service(), works=False) as client:
            return await client.post(f"/v1/jobs{query}", content=content, headers=headers)

    response = asyncio.run(go())
    assert response.status_code == status and response.headers["content-type"] == "application/problem+json"
    assert detail in response.json()["detail"], response.text


def test_large_document_is_refused_as_it_arrives(service, monkeypatch):
    monkeypatch.setattr(documents, "MAX_DOCUMENT_BYTES", 1_000)
    sent = []

    async def body():
        for number in range(100):
            sent.append(number)
            yield b"Good. " * 50

    async def go():
        async with api(service(), works=False) as client:
            return await client.post("/v1/jobs", content=body(), headers=PLAIN)

    response = asyncio.run(go())
    assert response.status_code == 413 and "1,000 bytes" in response.json()["detail"]


def test_too_many_documents_at_once_are_refused_and_their_places_are_free_again(service, monkeypatch):
    monkeypatch.setattr(documents, "AT_ONCE", 1)

    async def go():
        started, may_end = asyncio.Event(), asyncio.Event()

        async def slow():
            yield b"The soup "
            started.set()
            await may_end.wait()
            yield b"was great."

        async with api(service(), works=False) as client:
            first = asyncio.create_task(client.post("/v1/jobs", content=slow(), headers=PLAIN))
            await started.wait()
            second = await client.post("/v1/jobs", content=b"Good.", headers=PLAIN)
            may_end.set()
            return second, await first, await client.post("/v1/jobs", content=b"Good.", headers=PLAIN)

    refused, first, third = asyncio.run(go())
    assert (refused.status_code, first.status_code, third.status_code) == (503, 202, 202)
    assert refused.headers["retry-after"] == "5"


def test_document_is_refused_when_the_disk_is_nearly_full(service, monkeypatch):
    monkeypatch.setenv("GROUNDSWELL_SERVING__MIN_FREE_DISK", "1")  # after the fixture, which sets 0

    async def go():
        async with api(service(), works=False) as client:
            return await client.post("/v1/jobs", content=b"Good.", headers=PLAIN)

    assert asyncio.run(go()).status_code == 503


def test_result_of_a_document_counts_windows_that_failed(service):
    async def go():
        inference = service()
        async with api(inference, works=False) as client:
            made = await client.post("/v1/jobs", content=filings.annual_report(sentences=40).encode(), headers=HTML)
            part = await inference.jobs.claim()
            await inference.jobs.finish(part, [{"error": "could not be classified"}] * len(part.texts))
            while part := await inference.jobs.claim():
                await inference.jobs.finish(part, await inference.entries(part.texts, part.options))
            return (await client.get(made.json()["results"])).json(), made.json()["total"]

    result, total = asyncio.run(go())
    assert result["failed_windows"] == min(64, total) and result["windows"] == total - result["failed_windows"]


def test_window_with_a_forgotten_sentence_is_deleted_with_its_result(service, tmp_path):
    text = "The soup was great. Jane Roe was awful."

    async def go():
        inference = service()
        async with api(inference) as client:
            made = await client.post("/v1/jobs", content=text.encode(), headers=PLAIN)
            await finished(client, made.headers["location"])
            file = tmp_path / "var" / "service" / "jobs-2.db"
            counts = count_in_jobs(file, ["Jane Roe was awful."]), forget_in_jobs(file, ["Jane  Roe was awful."])
            result = (await client.get(made.json()["results"])).json()
            stored = await inference.jobs.text(f"{made.json()['id']}-0", None)
            again = await classify_windows(inference, [None], Options(document="{}"))
            return counts, result, stored, again

    counts, result, stored, again = asyncio.run(go())
    assert counts == (1, 1) and result["failed_windows"] == 1 and result["strongest"] == [] and stored is None
    assert "error" in again[0] and FORGOTTEN not in result
