"""The real service under invalid requests, load and failed dependencies."""

import asyncio
import json
import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from serving.client import AsyncSentimentClient
from serving.service.docs.openapi import openapi
from tests.components.redis import RedisServer
from tests.models import slow_bundle, tiny_bundle
from tests.serving.running import counters, serving

pytestmark = pytest.mark.integration
FUZZED = settings(
    max_examples=int(os.environ.get("SOAK_EXAMPLES", "300")),
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
POST_ROUTES = ("POST /v1/classify", "POST /v1/jobs", "POST /v1/feedback")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return tiny_bundle(tmp_path_factory.mktemp("bundle") / "bundle")


@pytest.fixture(scope="module")
def service(bundle, tmp_path_factory):
    with serving(bundle, tmp_path_factory.mktemp("service")) as (client, _):
        yield client


def sound(response) -> None:
    """Check that only deliberate failures occur, and that every refusal is a problem with a detail."""
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


@pytest.mark.parametrize("label", WITH_INPUT)
def test_requests_generated_from_the_document_never_fail_a_route(label, service):
    """Valid and invalid requests; with the bytes below, over ten thousand of them."""
    operation = OPERATIONS[label]
    wrong_ones = operation.as_strategy(generation_mode=schemathesis.GenerationMode.NEGATIVE) if "POST" in label else st.none()
    with requests.Session() as session:

        @FUZZED
        @given(operation.as_strategy(), wrong_ones)
        def ask(right, wrong):
            for one in filter(None, (right, wrong)):
                sound(one.call(base_url=str(service.base_url), timeout=20, session=session))

        ask()


@pytest.mark.parametrize("label", POST_ROUTES)
def test_arbitrary_bytes_never_fail_a_route(label, service):
    method, path = label.split()
    bodies = st.binary(max_size=200) | st.recursive(
        st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
        lambda more: st.lists(more, max_size=4) | st.dictionaries(st.sampled_from(["texts", "text", "label", "by", "id"]), more),
    ).map(lambda value: json.dumps(value).encode())

    @FUZZED
    @given(bodies, st.sampled_from(["application/json", "application/x-ndjson", "text/plain", ""]))
    def ask(body, kind):
        sound(service.request(method, path, content=body, headers={"content-type": kind}))

    ask()


def store_state(client):
    return client.get("/readyz").json()["stores"]["answers"]


@pytest.mark.parametrize("trouble", ["down", "slow", "full"])
def test_failed_store_is_reported_bypassed_and_used_again(trouble, bundle, tmp_path):
    redis = RedisServer(tmp_path)
    numbers = iter(range(10**6))

    def ask(client):
        text = f"a great film, number {next(numbers)}"
        response = client.post("/v1/classify", json={"texts": [text]})
        assert response.json()["predictions"][0]["label"] == "positive", response.text

    def until(client, state):
        while store_state(client) != state:
            ask(client)

    try:
        with serving(bundle, tmp_path, prediction_store="redis", redis_url=redis.url, processes="1") as (client, _):
            ask(client)
            assert store_state(client) == "up"
            {"down": redis.stop, "slow": redis.pause, "full": redis.fill}[trouble]()
            until(client, "down")
            for _ in range(200):
                ask(client)
            assert "groundswell_store_up 0.0" in client.get("/metrics").text
            {"down": redis.start, "slow": redis.resume, "full": redis.empty}[trouble]()
            until(client, "up")
    finally:
        redis.resume()
        redis.stop()


def test_new_model_never_returns_predictions_of_the_old_model_under_load(tmp_path):
    """Two services share one store; the second has a model with opposite labels; both get the same texts at once."""
    one = tiny_bundle(tmp_path / "one")
    other = tiny_bundle(tmp_path / "other", strength=-2.0)
    redis = RedisServer(tmp_path)
    texts = [f"a great film {n}" for n in range(60)]
    (tmp_path / "a").mkdir(), (tmp_path / "b").mkdir()

    async def ask(url):
        async with AsyncSentimentClient(url, timeout_s=120) as client:
            found = await asyncio.gather(*(client.classify([text]) for text in texts * 2))
        return {entry[0].label for entry in found}

    async def both(urls):
        return await asyncio.gather(*(ask(url) for url in urls))

    try:
        with (
            serving(one, tmp_path / "a", prediction_store="redis", redis_url=redis.url) as (first, _),
            serving(other, tmp_path / "b", prediction_store="redis", redis_url=redis.url) as (second, _),
        ):
            seen = asyncio.run(both([str(first.base_url), str(second.base_url)]))
        assert seen[0] == {"positive"} and "positive" not in seen[1]
    finally:
        redis.stop()


def test_stopping_service_completes_accepted_requests(tmp_path):
    with serving(slow_bundle(tmp_path / "b"), tmp_path, prediction_store="memory") as (client, process):
        url, outcomes, together = str(client.base_url), [], threading.Barrier(16)

        def ask(n):
            with httpx.Client(base_url=url, timeout=30) as mine:
                mine.get("/livez")  # connect first: the service does not know connections in the system's backlog
                together.wait(150)
                try:
                    outcomes.append(
                        mine.post("/v1/classify", json={"texts": [f"a great film {n} {k}" for k in range(20)]}).status_code
                    )
                except httpx.HTTPError as error:
                    outcomes.append(error)

        threads = [threading.Thread(target=ask, args=[n]) for n in range(16)]
        for thread in threads:
            thread.start()
        while counters(client)["groundswell_batch_texts_count"] < 2:
            pass
        process.send_signal(signal.SIGTERM)
        for thread in threads:
            thread.join(300)
        assert len(outcomes) == 16 and set(outcomes) == {200}, outcomes
        process.wait(100)


def test_two_services_on_one_folder_share_jobs_and_predictions(bundle, tmp_path):
    """Two processes, one `var/`."""
    with serving(bundle, tmp_path) as (first, _), serving(bundle, tmp_path) as (second, _):
        texts = [f"a great film {n}" for n in range(2000)]
        jobs = [client.post("/v1/jobs", json={"texts": texts}).json()["id"] for client in (first, second)]
        with ThreadPoolExecutor(8) as pool:
            asked = list(
                pool.map(lambda n: (first, second)[n % 2].post("/v1/classify", json={"texts": texts[n : n + 5]}), range(400))
            )
        assert {response.status_code for response in asked} == {200}
        while any(first.get(f"/v1/jobs/{job}").json()["state"] != "done" for job in jobs):
            pass
        for client in (first, second):
            for job in jobs:
                lines = client.get(f"/v1/results/{job}").text.splitlines()
                assert [json.loads(line)["label"] for line in lines] == ["positive"] * 2000
