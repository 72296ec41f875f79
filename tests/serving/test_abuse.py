"""What strangers, bursts and broken neighbours do to the real service."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import psutil
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from serving.client import AsyncSentimentClient
from serving.service.openapi import openapi
from serving.service.panels import OTHERS, QUESTIONS
from tests.components.redis import RedisServer
from tests.models import slow_bundle, tiny_bundle
from tests.serving.running import ROOT, serving

pytestmark = pytest.mark.integration
FUZZED = settings(max_examples=1000, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
JUDGED_ROUTES = ("POST /v1/classify", "POST /v1/jobs", "POST /v1/feedback")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return tiny_bundle(tmp_path_factory.mktemp("bundle") / "bundle")


@pytest.fixture(scope="module")
def service(bundle, tmp_path_factory):
    with serving(bundle, tmp_path_factory.mktemp("service")) as (client, _):
        yield client


def sound(response) -> None:
    """No failure but a deliberate one, and every refusal a problem that says something."""
    status, kind = response.status_code, str(response.headers.get("content-type", ""))
    assert status < 500 or (status == 503 and "retry-after" in response.headers), (status, response.text[:300])
    if status >= 400:
        assert response.text.startswith("{"), (status, response.request.url, response.request.method, response.text[:300])
        problem = response.json()
        assert "application/problem+json" in kind, (status, kind)
        assert problem["status"] == status and problem["detail"]


DOCUMENT = schemathesis.openapi.from_dict(openapi())
OPERATIONS = {operation.ok().label: operation.ok() for operation in DOCUMENT.get_all_operations()}
WITH_INPUT = sorted(label for label in OPERATIONS if "{" in label or label.startswith("POST"))


def test_every_route_is_in_the_document():
    panels = {f"GET /v1/panels/{name}" for name in (*QUESTIONS, *OTHERS)}
    assert panels | {"POST /v1/classify", "POST /v1/jobs", "POST /v1/feedback", "GET /v1/jobs/{id}", "DELETE /v1/jobs/{id}",
            "GET /v1/results/{id}", "GET /v1/model", "GET /metrics", "GET /livez", "GET /readyz"} == set(OPERATIONS)  # fmt: skip


@pytest.mark.parametrize("label", WITH_INPUT)
def test_requests_made_from_the_document_never_break_a_route(label, service):
    """Right ones and wrong ones: with the bytes below, over ten thousand requests."""
    operation = OPERATIONS[label]
    wrong_ones = operation.as_strategy(generation_mode=schemathesis.GenerationMode.NEGATIVE) if "POST" in label else st.none()
    with requests.Session() as session:

        @FUZZED
        @given(operation.as_strategy(), wrong_ones)
        def ask(right, wrong):
            for one in filter(None, (right, wrong)):
                sound(one.call(base_url=str(service.base_url), timeout=20, session=session))

        ask()


@pytest.mark.parametrize("label", JUDGED_ROUTES)
def test_bytes_that_are_anything_never_break_a_route(label, service):
    method, road = label.split()
    bodies = st.binary(max_size=200) | st.recursive(
        st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
        lambda more: st.lists(more, max_size=4) | st.dictionaries(st.sampled_from(["texts", "text", "label", "by", "id"]), more),
    ).map(lambda value: json.dumps(value).encode())

    @FUZZED
    @given(bodies, st.sampled_from(["application/json", "application/x-ndjson", "text/plain", ""]))
    def ask(body, kind):
        sound(service.request(method, road, content=body, headers={"content-type": kind}))

    ask()


def readiness(client):
    return client.get("/readyz").json()["stores"]["answers"]


@pytest.mark.parametrize("trouble", ["down", "slow", "full"])
def test_without_its_store_the_service_answers_says_so_and_takes_it_up_again(trouble, bundle, tmp_path):
    redis = RedisServer(tmp_path)
    numbers = iter(range(10**6))

    def ask(client):
        text = f"a great film, number {next(numbers)}"
        started = time.monotonic()
        response = client.post("/v1/classify", json={"texts": [text]})
        assert response.json()["predictions"][0]["label"] == "positive", response.text
        return time.monotonic() - started

    def until(client, state):
        ends = time.monotonic() + 30
        while readiness(client) != state:
            assert time.monotonic() < ends, f"{trouble}: not {state}"
            ask(client)

    try:
        with serving(bundle, tmp_path, answers="redis", redis_url=redis.url) as (client, _):
            ask(client)
            assert readiness(client) == "up"
            {"down": redis.stop, "slow": redis.pause, "full": redis.fill}[trouble]()
            until(client, "down")
            waits = sorted(ask(client) for _ in range(200))
            assert waits[150] < 0.2, "a store that hangs costs a time-out now and then, not on each request"
            assert "groundswell_store_up 0.0" in client.get("/metrics").text
            {"down": redis.start, "slow": redis.resume, "full": redis.empty}[trouble]()
            until(client, "up")
    finally:
        redis.resume()
        redis.stop()


def ask_at(url, folder, rate, seconds):
    """An open loop: each request when it is due, on up to 200 connections and more."""
    bodies = folder / "bodies"
    lines = (json.dumps({"texts": [f"a great film, number {n}"]}) for n in range(round(rate * seconds)))
    bodies.write_text("\n".join(lines) + "\n")
    command = [sys.executable, "-m", "orchestration.bench_api.generator", f"{url}/v1/classify", str(bodies)]
    done = subprocess.run(
        [*command, "--rate", str(rate), "--timeout", "30"], cwd=ROOT, capture_output=True, check=True, timeout=seconds + 90
    )
    return json.loads(done.stdout)


def memory_mib(process):
    family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    return sum(member.memory_info().rss for member in family) / 2**20


def test_at_twice_its_capacity_some_are_refused_at_once_and_the_others_answered_in_time(tmp_path):
    """`make soak` asks for a minute; the suite for some seconds."""
    seconds, deadline_s = float(os.environ.get("SOAK_S", "8")), 1.0
    with serving(slow_bundle(tmp_path / "b"), tmp_path, answers="memory", deadline_ms=str(int(1000 * deadline_s))) as (
        client,
        process,
    ):
        url = str(client.base_url)
        with ThreadPoolExecutor(16) as pool:  # what it can do, measured now: this machine is never the same
            started = time.monotonic()
            list(pool.map(lambda n: client.post("/v1/classify", json={"texts": [f"warming up {n}"]}), range(300)))
            capacity = 300 / (time.monotonic() - started)
        ask_at(url, tmp_path, 2 * capacity, 3)  # buffers grow to their size once
        before = memory_mib(process)
        found = ask_at(url, tmp_path, 2 * capacity, seconds)
        if not found["refused_ms"]:  # others used this machine while it was measured: it can do what it just did
            capacity = len(found["ms"]) / seconds
            found = ask_at(url, tmp_path, 2 * capacity, seconds)
        answered, refused = sorted(found["ms"]), sorted(found["refused_ms"])
        p99, grown = answered[int(0.99 * len(answered))], memory_mib(process) - before
        print(f"{capacity:.0f}/s; {len(answered)} answered, p99 {p99:.0f} ms; {len(refused)} refused; {grown:+.0f} MiB")
        assert found["failed"] == 0 and refused, "twice the capacity is too much"
        assert len(answered) > 0.4 * capacity * seconds, f"{len(answered)} answered at {capacity:.0f} a second"
        assert p99 < 1000 * (deadline_s + 0.5)
        assert refused[len(refused) // 2] < 250
        assert grown < 40
        after = client.post("/v1/classify", json={"texts": ["a great film afterwards"]})
        assert after.json()["predictions"][0]["label"] == "positive"


def test_a_new_model_never_gives_the_old_ones_answers_under_load(tmp_path):
    """Two services on one store, one a model that calls everything the other way round, asked for the same texts at once."""
    one = tiny_bundle(tmp_path / "one")
    other = tiny_bundle(tmp_path / "other", strength=-2.0)
    redis = RedisServer(tmp_path)
    texts = [f"a great film {n}" for n in range(300)]
    (tmp_path / "a").mkdir(), (tmp_path / "b").mkdir()

    async def ask(url):
        async with AsyncSentimentClient(url) as client:
            found = await asyncio.gather(*(client.classify([text]) for text in texts * 2))
        return {entry[0].label for entry in found}

    async def both(urls):
        return await asyncio.gather(*(ask(url) for url in urls))

    try:
        with (
            serving(one, tmp_path / "a", answers="redis", redis_url=redis.url) as (first, _),
            serving(other, tmp_path / "b", answers="redis", redis_url=redis.url) as (second, _),
        ):
            seen = asyncio.run(both([str(first.base_url), str(second.base_url)]))
        assert seen[0] == {"positive"} and "positive" not in seen[1]
    finally:
        redis.stop()


def test_a_service_that_is_told_to_stop_answers_what_it_has_accepted(tmp_path):
    with serving(slow_bundle(tmp_path / "b"), tmp_path, answers="memory") as (client, process):
        url, answers, together = str(client.base_url), [], threading.Barrier(16)

        def ask(n):
            with httpx.Client(base_url=url, timeout=30) as mine:
                mine.get("/livez")  # connected before the door is closed: what waits there is the system's, not the service's
                together.wait(30)
                try:
                    answers.append(
                        mine.post("/v1/classify", json={"texts": [f"a great film {n} {k}" for k in range(20)]}).status_code
                    )
                except httpx.HTTPError as error:
                    answers.append(error)

        threads = [threading.Thread(target=ask, args=[n]) for n in range(16)]
        for thread in threads:
            thread.start()
        ends = time.monotonic() + 20
        while "groundswell_batch_texts_count" not in (seen := client.get("/metrics").text) or count(seen) < 2:
            assert time.monotonic() < ends
        process.send_signal(signal.SIGTERM)
        for thread in threads:
            thread.join(60)
        assert len(answers) == 16 and set(answers) == {200}, answers
        process.wait(20)


def count(metrics):
    return next(float(line.split()[1]) for line in metrics.splitlines() if line.startswith("groundswell_batch_texts_count"))


def test_two_services_on_one_file_share_jobs_and_answers(bundle, tmp_path):
    """Two processes, one `var/`."""
    with serving(bundle, tmp_path) as (first, _), serving(bundle, tmp_path) as (second, _):
        texts = [f"a great film {n}" for n in range(2000)]
        jobs = [client.post("/v1/jobs", json={"texts": texts}).json()["id"] for client in (first, second)]
        with ThreadPoolExecutor(8) as pool:
            asked = list(
                pool.map(lambda n: (first, second)[n % 2].post("/v1/classify", json={"texts": texts[n : n + 5]}), range(400))
            )
        assert {response.status_code for response in asked} == {200}
        ends = time.monotonic() + 60
        while any(first.get(f"/v1/jobs/{job}").json()["state"] != "done" for job in jobs):
            assert time.monotonic() < ends
        for client in (first, second):
            for job in jobs:
                lines = client.get(f"/v1/results/{job}").text.splitlines()
                assert [json.loads(line)["label"] for line in lines] == ["positive"] * 2000
