"""Jobs: the same tests for each store, and the service on DynamoDB and SQS."""

import asyncio
import json
import sqlite3
import threading
import time
from contextlib import suppress
from functools import partial
from unittest.mock import patch

import pytest

from serving.service.batching import Overloaded
from serving.service.jobs import queue as jobs_module
from serving.service.jobs.queue import PLAIN, JobsUnavailable, Options, TooMany, work_forever
from serving.service.jobs.sqlite import SQLiteJobs
from serving.service.jobs.sqs import SQSJobs
from tests.components.java import DynamoDB, ElasticMQ, aws, environment, set_environment
from tests.models import tiny_bundle
from tests.serving.running import counters, finished, serving
from tests.waiting import BOUND_S, until_async


@pytest.fixture(scope="module")
def dynamodb(tmp_path_factory):
    server = DynamoDB(tmp_path_factory.mktemp("dynamodb"))
    server.table("groundswell")
    yield server
    server.stop()


@pytest.fixture(scope="module")
def elasticmq(tmp_path_factory):
    server = ElasticMQ(tmp_path_factory.mktemp("elasticmq"))
    yield server
    server.stop()


@pytest.fixture(params=["sqlite", pytest.param("sqs", marks=pytest.mark.integration)])
def open_jobs(request, tmp_path, monkeypatch):
    """Return a function that opens the same store."""
    if request.param == "sqlite":
        return partial(SQLiteJobs, tmp_path / "jobs.db")
    dynamodb, elasticmq = (request.getfixturevalue(name) for name in ("dynamodb", "elasticmq"))
    set_environment(monkeypatch, dynamodb, elasticmq)
    queue, _ = elasticmq.queue(f"jobs-{tmp_path.name[-40:]}")
    return partial(SQSJobs, "groundswell", queue)


async def echo(texts, options=PLAIN):
    return [{"text": text, **options._asdict()} for text in texts]


async def lines(jobs, job):
    """Return the results of a job without their ids, which are checked."""
    found = [json.loads(line) for part in [chunk async for chunk in jobs.results(job)] for line in part.splitlines()]
    assert [one.pop("id") for one in found] == [f"{job}-{n}" for n in range(len(found))]
    return found


async def until_done(jobs, job, classify=echo):
    worker = asyncio.create_task(work_forever(jobs, classify))

    async def done():
        found = await jobs.get(job, None)
        return found is not None and found.state == "done"

    await until_async(done)
    worker.cancel()
    await asyncio.wait([worker])


def test_job_is_classified_part_by_part_with_results_in_order(open_jobs):
    texts = [f"text {n}" for n in range(200)]

    async def go():
        jobs = open_jobs()
        options = Options(True, "small", "finance", '{"a": 1}')
        job = await jobs.add("me", texts, options)
        assert (job.state, job.total, job.done, job.options) == ("queued", 200, 0, options)
        await until_done(jobs, job.id)
        found = (
            await lines(jobs, job.id),
            await jobs.get(job.id, "me"),
            await jobs.get(job.id, "you"),
            await jobs.get("none", None),
        )
        await jobs.close()
        return found

    results, mine, yours, none = asyncio.run(go())
    assert results == [
        {"text": text, "detail": True, "tier": "small", "domain": "finance", "document": '{"a": 1}'} for text in texts
    ]
    assert mine.options.document == '{"a": 1}' and mine.options.detail
    assert mine.done == 200 and yours is None and none is None


def test_job_of_a_version_without_tiers_and_domains_is_classified_by_base(tmp_path):
    async def go():
        jobs = SQLiteJobs(tmp_path / "jobs.db")
        job = await jobs.add("me", ["old"], Options(tier="small", domain="news"))
        await jobs.close()
        with sqlite3.connect(tmp_path / "jobs.db") as before:
            before.execute("ALTER TABLE jobs DROP COLUMN tier")
            before.execute("ALTER TABLE jobs DROP COLUMN domain")
            before.execute("ALTER TABLE jobs DROP COLUMN document")
        before.close()
        jobs = SQLiteJobs(tmp_path / "jobs.db")
        await until_done(jobs, job.id)
        new = await jobs.add("me", ["new"], Options(tier="small", domain="news"))
        await until_done(jobs, new.id)
        found = [(one["tier"], one["domain"]) for name in (job.id, new.id) for one in await lines(jobs, name)]
        await jobs.close()
        return found

    assert asyncio.run(go()) == [("base", None), ("small", "news")]


def test_idempotency_key_returns_the_same_job_to_its_owner_only(open_jobs):
    async def go():
        jobs = open_jobs()
        ids = [
            (await jobs.add(owner, ["a"], idempotency_key=key)).id
            for owner, key in (("me", "k"), ("me", "k"), ("you", "k"), ("me", None), ("me", None))
        ]
        await jobs.close()
        return ids

    ids = asyncio.run(go())
    assert ids[0] == ids[1] and len(set(ids)) == 4


def test_part_of_a_dead_worker_is_claimed_again_and_counts_once(open_jobs):
    async def go():
        dead, alive = open_jobs(claim_s=3), open_jobs(claim_s=3)
        job = await dead.add("me", ["a", "b"])
        part = await dead.claim()
        assert await alive.claim() is None, "the part is claimed"
        again = await until_async(alive.claim)
        assert again.texts == part.texts and again.attempt == 2
        await alive.finish(again, [{"n": 1}, {"n": 2}])
        await dead.finish(part, [{"n": 8}, {"n": 9}])  # it was slow, not dead
        found = await lines(alive, job.id), (await alive.get(job.id, None)).done
        await dead.close()
        await alive.close()
        return found

    assert asyncio.run(go()) == ([{"n": 1}, {"n": 2}], 2)


def test_several_workers_share_a_store_and_no_part_is_classified_twice(open_jobs):
    classified, texts = [], [f"text {n}" for n in range(64 * 30)]

    async def count(texts, options):
        classified.extend(texts)
        return await echo(texts, options)

    async def make():
        jobs = open_jobs()
        job = await jobs.add("me", texts)
        await jobs.close()
        return job.id

    job = asyncio.run(make())

    async def work():
        jobs = open_jobs()
        await until_done(jobs, job, count)
        await jobs.close()

    threads = [threading.Thread(target=lambda: asyncio.run(work())) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(300)
    assert sorted(classified) == sorted(texts)


def test_cancelled_job_is_not_classified_further_and_finished_one_stays_finished(open_jobs):
    async def go():
        jobs = open_jobs()
        first = await jobs.add("me", ["a"] * 100)
        await jobs.finish(await jobs.claim(), await echo(["a"] * 64))
        await jobs.cancel(first.id)
        assert await jobs.claim() is None
        second = await jobs.add("me", ["b"])
        await until_done(jobs, second.id)
        await jobs.cancel(second.id)
        states = [(await jobs.get(job.id, None)).state for job in (first, second)]
        await jobs.close()
        return states

    assert asyncio.run(go()) == ["cancelled", "done"]


def test_queue_is_bounded(open_jobs):
    async def go():
        jobs = open_jobs(max_waiting_texts=200)
        await jobs.add("me", ["a"] * 128)
        with pytest.raises(TooMany):
            await jobs.add("me", ["a"] * 128)
        await jobs.add("me", ["a"] * 64)
        await jobs.close()

    asyncio.run(go())


def test_part_that_always_fails_gets_errors_and_delays_no_other_job(open_jobs, monkeypatch):
    monkeypatch.setattr(jobs_module, "_POLL_S", 0.02)

    async def classify(texts, options):
        if "poison" in texts:
            raise RuntimeError("broken")
        return await echo(texts, options)

    async def go():
        jobs = open_jobs(claim_s=0)
        bad, good = await jobs.add("me", ["poison"]), await jobs.add("me", ["fine"])
        await until_done(jobs, bad.id, classify)
        await until_done(jobs, good.id, classify)
        found = await lines(jobs, bad.id), await lines(jobs, good.id)
        await jobs.close()
        return found

    bad, good = asyncio.run(go())
    assert "failed 5 times" in bad[0]["error"] and good[0]["text"] == "fine"


def test_overloaded_service_delays_jobs(open_jobs):
    refused = []

    async def classify(texts, options):
        if not refused:
            refused.append(texts)
            raise Overloaded(0, "queue")
        return await echo(texts, options)

    async def go():
        jobs = open_jobs()
        job = await jobs.add("me", ["a"])
        await until_done(jobs, job.id, classify)
        await jobs.close()

    asyncio.run(go())
    assert refused == [["a"]]


def test_temporary_write_failure_is_retried(tmp_path, monkeypatch):
    monkeypatch.setattr(jobs_module, "_POLL_S", 0.02)
    broken = []

    class Full(SQLiteJobs):
        async def finish(self, part, results):
            if len(broken) < 2:
                broken.append(part)
                raise JobsUnavailable("database or disk is full")
            await super().finish(part, results)

    async def go():
        jobs = Full(tmp_path / "jobs.db", claim_s=0.02)
        job = await jobs.add("me", ["a"])
        await until_done(jobs, job.id)
        found = await lines(jobs, job.id)
        await jobs.close()
        return found

    assert (
        asyncio.run(go()) == [{"text": "a", "detail": False, "tier": "base", "domain": None, "document": None}]
        and len(broken) == 2
    )


def test_final_errors_of_a_part_are_retried_after_a_write_failure(tmp_path, monkeypatch):
    monkeypatch.setattr(jobs_module, "_POLL_S", 0.02)
    monkeypatch.setattr(jobs_module, "MAX_ATTEMPTS", 0)
    broken = []

    class Full(SQLiteJobs):
        async def finish(self, part, results):
            if not broken:
                broken.append(part)
                raise JobsUnavailable("database or disk is full")
            await super().finish(part, results)

    async def go():
        jobs = Full(tmp_path / "jobs.db", claim_s=0.02)
        job = await jobs.add("me", ["a"])
        await until_done(jobs, job.id)
        await jobs.close()

    asyncio.run(go())
    assert broken


def test_clock_set_back_or_ahead_loses_no_part(open_jobs, monkeypatch):
    """The dead process had a clock an hour ahead, the next has the right time, the third is an hour behind."""
    monkeypatch.setattr(jobs_module, "_POLL_S", 0.05)
    real = time.time

    async def go():
        dead, jobs = open_jobs(claim_s=1), open_jobs(claim_s=1)
        with patch("time.time", lambda: real() + 3600):
            job = await dead.add("me", ["a"] * 70)
            assert await dead.claim() is not None
        await until_done(jobs, job.id)
        with patch("time.time", lambda: real() - 3600):
            later = await jobs.add("me", ["b"])
            await until_done(jobs, later.id)
        found = len(await lines(jobs, job.id)), await lines(jobs, later.id)
        await dead.close()
        await jobs.close()
        return found

    assert asyncio.run(go()) == (70, [{"text": "b", "detail": False, "tier": "base", "domain": None, "document": None}])


def test_text_is_found_by_the_id_of_its_result(open_jobs):
    texts = [f"text {n}" + " and so on" * (n % 3 * 90) for n in range(150)]

    async def go():
        jobs = open_jobs()
        job = await jobs.add("me", texts)
        found = [await jobs.text(f"{job.id}-{n}", None) for n in (0, 63, 64, 149)]
        wrong = [
            f"{job.id}-150",
            f"{job.id}--1",
            f"{job.id}-",
            job.id,
            "none-0",
            "",
            "-",
            f"{job.id}-999999999999",
            f"{job.id}-²",
        ]
        missing = [await jobs.text(identity, None) for identity in wrong] + [await jobs.text(f"{job.id}-0", "you")]
        await until_done(jobs, job.id)
        found.append(await jobs.text(f"{job.id}-7", "me"))
        await jobs.close()
        return found, missing

    found, missing = asyncio.run(go())
    assert found == [texts[0], texts[63], texts[64], texts[149], texts[7]] and missing == [None] * 10


@pytest.mark.integration
class TestQueue:
    """Cases that only a message queue has."""

    @pytest.fixture
    def queue(self, dynamodb, elasticmq, tmp_path, monkeypatch):
        set_environment(monkeypatch, dynamodb, elasticmq)
        return elasticmq.queue(f"q-{tmp_path.name[-40:]}", receives=2)

    def test_message_delivered_again_changes_nothing(self, elasticmq, queue):
        async def go():
            jobs = SQSJobs("groundswell", queue[0])
            job = await jobs.add("me", ["a"] * 70)
            await until_done(jobs, job.id)
            for first in (0, 64, 0):
                aws("sqs", elasticmq.url).send_message(QueueUrl=queue[0], MessageBody=json.dumps({"job": job.id, "first": first}))
            async with asyncio.timeout(BOUND_S):
                while jobs._waiting():
                    assert await jobs.claim() is None
            found = await jobs.get(job.id, None), len(await lines(jobs, job.id))
            await jobs.close()
            return found

        job, count = asyncio.run(go())
        assert (job.done, count) == (70, 70)

    def test_unreadable_message_becomes_a_dead_letter_and_delays_no_job(self, elasticmq, queue):
        client = aws("sqs", elasticmq.url)
        for body in ("not json", "[]", '{"job": "x"}', '{"job": "x", "first": "y"}'):
            client.send_message(QueueUrl=queue[0], MessageBody=body)

        async def go():
            jobs = SQSJobs("groundswell", queue[0], claim_s=0)
            job = await jobs.add("me", ["a"])
            await until_done(jobs, job.id)
            async with asyncio.timeout(BOUND_S):
                while int(dead()) < 4:
                    await jobs.claim()
            await jobs.close()

        def dead():
            name = "ApproximateNumberOfMessages"
            return client.get_queue_attributes(QueueUrl=queue[1], AttributeNames=[name])["Attributes"][name]

        asyncio.run(go())

    def test_retry_after_a_crash_during_submission_gets_a_whole_job(self, queue, monkeypatch):
        async def go():
            jobs = SQSJobs("groundswell", queue[0])
            with monkeypatch.context() as dying:
                dying.setattr(jobs, "_send", lambda job, firsts: (_ for _ in ()).throw(ZeroDivisionError))
                with pytest.raises(ZeroDivisionError):
                    await jobs.add("me", ["a"] * 70, idempotency_key="again")
            job = await jobs.add("me", ["a"] * 70, idempotency_key="again")
            await until_done(jobs, job.id)
            count = len(await lines(jobs, job.id))
            await jobs.close()
            return count

        assert asyncio.run(go()) == 70

    def test_restart_of_both_servers_during_a_job_loses_nothing(self, tmp_path, monkeypatch):
        (tmp_path / "d").mkdir(), (tmp_path / "q").mkdir()
        dynamodb, elasticmq = DynamoDB(tmp_path / "d"), ElasticMQ(tmp_path / "q")
        monkeypatch.setattr(jobs_module, "_POLL_S", 0.2)
        try:
            set_environment(monkeypatch, dynamodb, elasticmq)
            dynamodb.table("groundswell")
            queue, _ = elasticmq.queue("jobs")
            half = threading.Event()

            async def classify(texts, options):
                half.set()
                await asyncio.sleep(0.05)
                return await echo(texts, options)

            def restart():
                half.wait(150)
                for server in (dynamodb, elasticmq):
                    server.stop()
                    server.start()

            async def go():
                jobs = SQSJobs("groundswell", queue, claim_s=2)
                job = await jobs.add("me", [f"text {n}" for n in range(64 * 20)])
                worker, restarting = asyncio.create_task(work_forever(jobs, classify)), asyncio.to_thread(restart)
                await restarting

                async def done():
                    with suppress(JobsUnavailable):
                        return (await jobs.get(job.id, None)).state == "done"

                await until_async(done)
                worker.cancel()
                await asyncio.wait([worker])
                found = await lines(jobs, job.id)
                await jobs.close()
                return found

            assert asyncio.run(go()) == [
                {"text": f"text {n}", "detail": False, "tier": "base", "domain": None, "document": None} for n in range(64 * 20)
            ]
        finally:
            dynamodb.stop()
            elasticmq.stop()


@pytest.mark.integration
def test_the_service_on_dynamodb_and_sqs(tmp_path, dynamodb, elasticmq, monkeypatch):
    for name, value in environment(dynamodb, elasticmq).items():
        monkeypatch.setenv(name, value)
    queue, _ = elasticmq.queue("service")
    bundle = tiny_bundle(tmp_path / "bundle")
    settings = {"prediction_store": "dynamodb", "jobs": "sqs", "sqs_queue_url": queue}
    texts = [f"a great film {number}" for number in range(50)]
    with serving(bundle, tmp_path, **settings) as (client, _):
        job = client.post("/v1/jobs", json={"texts": [text for each in texts for text in (each, "an awful soup")]}).json()
        done = finished(client, f"/v1/jobs/{job['id']}")
        labels = [json.loads(line)["label"] for line in client.get(done["results"]).text.splitlines()]
        assert labels == ["positive", "negative"] * 50
    with serving(bundle, tmp_path, **settings) as (client, _):
        stored = 'groundswell_cached_texts_total{tier="store"}'
        for text in texts:  # a slow store is skipped: one text from the store is enough
            assert client.post("/v1/classify", json={"texts": [text]}).json()["predictions"][0]["label"] == "positive"
            if stored in counters(client):
                break
            time.sleep(0.5)  # after a time-out the store is left alone for two seconds
        assert stored in counters(client)
        assert not list((tmp_path / "var" / "service").glob("jobs*"))
