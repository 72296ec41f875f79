"""Jobs: the file alone, and the real service that is killed in the middle of one."""

import asyncio
import json
import signal
import sqlite3
import threading
import time

import psutil
import pytest
from tenacity import Retrying, retry_if_result, stop_after_delay, wait_fixed

from serving.service import jobs as jobs_module
from serving.service.batching import Overloaded
from serving.service.jobs import Jobs, TooMany, work_forever
from serving.service.keys import keys_of
from tests.models import tiny_bundle
from tests.serving.running import serving


async def echo(texts, detail):
    return [{"text": text, "detail": detail} for text in texts]


async def lines(jobs, job):
    return [json.loads(line) for part in [chunk async for chunk in jobs.results(job)] for line in part.splitlines()]


async def until_done(jobs, job, judge=echo):
    worker = asyncio.create_task(work_forever(jobs, judge))
    async with asyncio.timeout(30):
        while (found := await jobs.get(job, None)) is None or found.state != "done":
            await asyncio.sleep(0.01)
    worker.cancel()
    await asyncio.wait([worker])


def test_a_job_is_judged_part_by_part_and_its_answers_come_in_order(tmp_path):
    texts = [f"text {n}" for n in range(200)]

    async def go():
        jobs = Jobs(tmp_path / "jobs.db")
        job = await jobs.add("me", texts, detail=True)
        assert (job.state, job.total, job.done) == ("queued", 200, 0)
        await until_done(jobs, job.id)
        found = (
            await lines(jobs, job.id),
            await jobs.get(job.id, "me"),
            await jobs.get(job.id, "you"),
            await jobs.get("none", None),
        )
        await jobs.close()
        return found

    answers, mine, yours, none = asyncio.run(go())
    assert answers == [{"text": text, "detail": True} for text in texts]
    assert mine.done == 200 and yours is None and none is None


def test_the_same_idempotency_key_gives_the_same_job_to_its_owner_only(tmp_path):
    async def go():
        jobs = Jobs(tmp_path / "jobs.db")
        ids = [
            (await jobs.add(owner, ["a"], detail=False, idempotency_key=key)).id
            for owner, key in (("me", "k"), ("me", "k"), ("you", "k"), ("me", None), ("me", None))
        ]
        await jobs.close()
        return ids

    ids = asyncio.run(go())
    assert ids[0] == ids[1] and len(set(ids)) == 4


def test_a_part_whose_judge_died_goes_to_the_next_and_counts_once(tmp_path, monkeypatch):
    monkeypatch.setattr(jobs_module, "CLAIM_S", 0.2)

    async def go():
        dead, alive = Jobs(tmp_path / "jobs.db"), Jobs(tmp_path / "jobs.db")
        job = await dead.add("me", ["a", "b"], detail=False)
        part = await dead.claim()
        assert await alive.claim() is None, "it is being judged"
        async with asyncio.timeout(10):
            while (again := await alive.claim()) is None:
                await asyncio.sleep(0.02)
        assert again.texts == part.texts and again.attempt == 2
        await alive.finish(again, [{"n": 1}, {"n": 2}])
        await dead.finish(part, [{"n": 8}, {"n": 9}])  # it was only slow
        found = await lines(alive, job.id), (await alive.get(job.id, None)).done
        await dead.close()
        await alive.close()
        return found

    assert asyncio.run(go()) == ([{"n": 1}, {"n": 2}], 2)


def test_several_processes_share_a_file_and_no_part_is_judged_twice(tmp_path):
    judged, texts = [], [f"text {n}" for n in range(64 * 30)]

    async def count(texts, detail):
        judged.extend(texts)
        return await echo(texts, detail)

    async def make():
        jobs = Jobs(tmp_path / "jobs.db")
        job = await jobs.add("me", texts, detail=False)
        await jobs.close()
        return job.id

    job = asyncio.run(make())

    async def work():
        jobs = Jobs(tmp_path / "jobs.db")
        await until_done(jobs, job, count)
        await jobs.close()

    threads = [threading.Thread(target=lambda: asyncio.run(work())) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(judged) == sorted(texts)


def test_a_cancelled_job_is_judged_no_further_and_a_finished_one_stays_finished(tmp_path):
    async def go():
        jobs = Jobs(tmp_path / "jobs.db")
        first = await jobs.add("me", ["a"] * 100, detail=False)
        await jobs.finish(await jobs.claim(), await echo(["a"] * 64, False))
        await jobs.cancel(first.id)
        assert await jobs.claim() is None
        second = await jobs.add("me", ["b"], detail=False)
        await until_done(jobs, second.id)
        await jobs.cancel(second.id)
        states = [(await jobs.get(job.id, None)).state for job in (first, second)]
        await jobs.close()
        return states

    assert asyncio.run(go()) == ["cancelled", "done"]


def test_the_queue_is_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(jobs_module, "MAX_WAITING_TEXTS", 100)

    async def go():
        jobs = Jobs(tmp_path / "jobs.db")
        await jobs.add("me", ["a"] * 90, detail=False)
        with pytest.raises(TooMany):
            await jobs.add("me", ["a"] * 11, detail=False)
        await jobs.add("me", ["a"] * 10, detail=False)
        await jobs.close()

    asyncio.run(go())


def test_a_part_at_which_the_service_always_fails_ends_as_errors_and_holds_up_nobody(tmp_path, monkeypatch):
    monkeypatch.setattr(jobs_module, "CLAIM_S", 0.01)
    monkeypatch.setattr(jobs_module, "_LOOK_S", 0.02)

    async def judge(texts, detail):
        if "poison" in texts:
            raise RuntimeError("broken")
        return await echo(texts, detail)

    async def go():
        jobs = Jobs(tmp_path / "jobs.db")
        bad, good = await jobs.add("me", ["poison"], detail=False), await jobs.add("me", ["fine"], detail=False)
        await until_done(jobs, bad.id, judge)
        await until_done(jobs, good.id, judge)
        found = await lines(jobs, bad.id), await lines(jobs, good.id)
        await jobs.close()
        return found

    bad, good = asyncio.run(go())
    assert "failed 5 times" in bad[0]["error"] and good[0]["text"] == "fine"


def test_when_the_service_is_full_callers_who_wait_come_first(tmp_path):
    refused = []

    async def judge(texts, detail):
        if not refused:
            refused.append(texts)
            raise Overloaded(0, "queue")
        return await echo(texts, detail)

    async def go():
        jobs = Jobs(tmp_path / "jobs.db")
        job = await jobs.add("me", ["a"], detail=False)
        await until_done(jobs, job.id, judge)
        await jobs.close()

    asyncio.run(go())
    assert refused == [["a"]]


def test_a_file_that_cannot_be_written_for_a_while_stops_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(jobs_module, "CLAIM_S", 0.05)
    monkeypatch.setattr(jobs_module, "_LOOK_S", 0.02)
    broken = []

    class Full(Jobs):
        async def finish(self, part, results):
            if len(broken) < 2:
                broken.append(part)
                raise sqlite3.OperationalError("database or disk is full")
            await super().finish(part, results)

    async def go():
        jobs = Full(tmp_path / "jobs.db")
        job = await jobs.add("me", ["a"], detail=False)
        await until_done(jobs, job.id)
        found = await lines(jobs, job.id)
        await jobs.close()
        return found

    assert asyncio.run(go()) == [{"text": "a", "detail": False}] and len(broken) == 2


def test_giving_a_part_up_survives_a_file_that_cannot_be_written(tmp_path, monkeypatch):
    monkeypatch.setattr(jobs_module, "CLAIM_S", 0.01)
    monkeypatch.setattr(jobs_module, "_LOOK_S", 0.02)
    monkeypatch.setattr(jobs_module, "MAX_ATTEMPTS", 0)
    broken = []

    class Full(Jobs):
        async def finish(self, part, results):
            if not broken:
                broken.append(part)
                raise sqlite3.OperationalError("database or disk is full")
            await super().finish(part, results)

    async def go():
        jobs = Full(tmp_path / "jobs.db")
        job = await jobs.add("me", ["a"], detail=False)
        await until_done(jobs, job.id)
        await jobs.close()

    asyncio.run(go())
    assert broken


@pytest.mark.integration
def test_where_jobs_cannot_be_kept_the_caller_is_told_and_classify_answers(bundle, tmp_path):
    (tmp_path / "var").mkdir()
    (tmp_path / "var" / "service").write_text("a file where the folder should be")
    with serving(bundle, tmp_path) as (client, _):
        refused = client.post("/v1/jobs", json={"texts": ["a great film"]})
        assert refused.status_code == 503 and refused.headers["content-type"] == "application/problem+json"
        assert client.post("/v1/classify", json={"texts": ["a great film"]}).status_code == 200


def finished(client, road, timeout=60, **kwargs):
    wait = Retrying(
        retry=retry_if_result(lambda job: job["state"] != "done"), stop=stop_after_delay(timeout), wait=wait_fixed(0.05)
    )
    return wait(lambda: client.get(road, **kwargs).json())


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return tiny_bundle(tmp_path_factory.mktemp("bundle") / "bundle")


@pytest.mark.integration
def test_jobs_over_http_as_json_as_lines_and_by_preference(bundle, tmp_path):
    with serving(bundle, tmp_path) as (client, _):
        texts = [f"a great film {n}" if n % 2 else f"an awful soup {n}" for n in range(300)] + ["  "]
        made = client.post("/v1/jobs", json={"texts": texts, "detail": True})
        assert made.status_code == 202 and made.json()["total"] == 301
        done = finished(client, made.headers["location"])
        answers = [json.loads(line) for line in client.get(done["results"]).text.splitlines()]
        direct = client.post("/v1/classify", json={"texts": texts[:256], "detail": True}).json()["predictions"]
        assert len(answers) == 301 and answers[:256] == direct and answers[-1] == {"error": "is blank"}

        upload = "".join(json.dumps(line) + "\n" for line in [{"text": "a great film"}, {"id": 7}, "an awful soup"])
        made = client.post("/v1/jobs", content=upload, headers={"content-type": "application/x-ndjson"})
        done = finished(client, made.headers["location"])
        great, nothing, awful = (json.loads(line) for line in client.get(done["results"]).text.splitlines())
        assert (great["label"], awful["label"]) == ("positive", "negative") and "not a string" in nothing["error"]

        preferred = client.post("/v1/classify", json={"texts": ["a great film"]}, headers={"prefer": "respond-async"})
        assert preferred.status_code == 202
        assert json.loads(client.get(finished(client, preferred.headers["location"])["results"]).text)["label"] == "positive"

        broken = client.post("/v1/jobs", content='"a"\nnot', headers={"content-type": "application/x-ndjson"})
        for response, status in (
            (client.get("/v1/jobs/none"), 404),
            (client.get("/v1/results/none"), 404),
            (client.post("/v1/jobs", json={"texts": []}), 422),
            (client.post("/v1/jobs", json={"texts": ["x"] * 10_001}), 422),
            (broken, 400),
        ):
            assert (response.status_code, response.headers["content-type"]) == (status, "application/problem+json"), response.text


@pytest.mark.integration
def test_a_job_survives_kill_9(bundle, tmp_path):
    texts = [f"text number {n}, " + "a great film " * 20 for n in range(10_000)]
    with serving(bundle, tmp_path) as (client, process):
        made = client.post("/v1/jobs", json={"texts": texts})
        road = made.headers["location"]
        ends = time.monotonic() + 30
        while not client.get(road).json()["done"]:
            assert time.monotonic() < ends
        kill_family(process)
    with serving(bundle, tmp_path) as (client, _):
        before = client.get(road).json()
        assert 0 < before["done"] < 10_000, "it was in the middle of it"
        done = finished(client, road, timeout=120)
        results = client.get(done["results"]).text.splitlines()
    assert len(results) == 10_000 and all("label" in json.loads(line) for line in results)


def kill_family(process):
    for member in [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]:
        member.send_signal(signal.SIGKILL)
    process.wait(20)


@pytest.mark.integration
def test_a_job_is_its_owners(bundle, tmp_path):
    with serving(bundle, tmp_path, keys="true") as (client, _):
        keys = keys_of(tmp_path / "var")
        mine, yours, admin = ({"authorization": f"Bearer {keys.add(n, [s])}"} for n, s in
                              (("me", "classify"), ("you", "classify"), ("boss", "admin")))  # fmt: skip
        road = client.post("/v1/jobs", json={"texts": ["a great film"]}, headers=mine).headers["location"]
        finished(client, road, headers=mine)
        codes = [client.get(road, headers=who).status_code for who in (mine, yours, admin)]
        assert codes == [200, 404, 200]
        assert client.delete(road, headers=yours).status_code == 404
        assert client.get(road.replace("jobs", "results"), headers=yours).status_code == 404
