"""The real service: `bentoml serve` at the root of the checkout, over HTTP."""

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from tests.models import tiny_bundle
from tests.serving.running import serving

pytestmark = pytest.mark.integration
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return tiny_bundle(tmp_path_factory.mktemp("bundle") / "bundle")


@pytest.fixture(scope="module")
def service(bundle, tmp_path_factory):
    with serving(bundle, tmp_path_factory.mktemp("service")) as started:
        yield started


def post(client, body, **kwargs):
    return client.post("/v1/classify", json=body, **kwargs)


def test_it_answers_in_order_with_its_version(service, bundle):
    client, _ = service
    response = post(client, {"texts": ["a great film", "an awful soup", "the number"], "detail": True, "domain": "reviews"})
    assert response.status_code == 200
    body = response.json()
    assert body["model_version"] == bundle.manifest.version
    assert [answer["label"] for answer in body["predictions"]] == ["positive", "negative", "neutral"]
    for answer in body["predictions"]:
        assert answer["confidence"] == max(answer["probabilities"].values())


def test_it_says_which_model_answers_and_describes_itself(service, bundle):
    client, _ = service
    model = client.get("/v1/model").json()
    assert model["version"] == bundle.manifest.version and model["labels"] == ["negative", "neutral", "positive"]
    document = client.get("/openapi.json").json()
    assert {"/v1/classify", "/v1/model", "/metrics", "/livez", "/readyz"} <= set(document["paths"])
    assert "Groundswell" in client.get("/docs").text
    assert client.get("/", follow_redirects=False).headers["location"] == "/docs"
    assert client.get("/livez").status_code == client.get("/readyz").status_code == 200


@pytest.mark.parametrize(
    ("content", "status", "says"),
    [
        (b"{", 400, "not JSON"),
        (b'"text"', 422, "body"),
        (b'{"texts": []}', 422, "texts"),
        (b'{"texts": ["  ", ""]}', 422, "texts[0]: is blank"),
        (b'{"texts": ["a\\u0000b"]}', 422, "texts[0]: holds null bytes"),
        (b'{"texts": [7]}', 422, "texts[0]: is int"),
        (b'{"texts": ["x"], "domain": "poems"}', 422, "domain"),
        (b'{"text": ["x"]}', 422, "texts"),
        (b'{"texts": ["x"], "more": 1}', 422, "more"),
        (b'{"texts": ["' + b"x" * 10_001 + b'"]}', 422, "texts[0]"),
        (b'{"texts": [' + b",".join([b'"x"'] * 257) + b"]}", 422, "texts"),
        (b'{"texts": ["' + b"x" * 11_000_000 + b'"]}', 413, "over"),
        (b'{"texts": ["\xff"]}', 400, "JSON"),
    ],
)
def test_a_bad_request_gets_problem_details(content, status, says, service):
    client, _ = service
    response = client.post("/v1/classify", content=content, headers={"content-type": "application/json"})
    problem = response.json()
    assert (response.status_code, problem["status"]) == (status, status)
    assert response.headers["content-type"] == "application/problem+json"
    assert says in problem["detail"]


def test_a_bad_text_gets_an_error_in_its_place_and_the_others_their_answers(service):
    client, _ = service
    bad = ["  ", None, 7, "a\x00b", "x" * 10_001]
    response = post(client, {"texts": ["a great film", *bad, "an awful soup"]})
    assert response.status_code == 200
    first, *middle, last = response.json()["predictions"]
    assert (first["label"], last["label"]) == ("positive", "negative") and "probabilities" not in first
    said = [entry["error"] for entry in middle]
    assert said == ["is blank", "is NoneType, not a string", "is int, not a string", "holds null bytes",
                    "has 10,001 characters, at most 10,000 are judged"]  # fmt: skip


def test_a_wrong_method_gets_problem_details_too(service):
    client, _ = service
    response = client.get("/v1/classify")
    assert (response.status_code, response.json()["status"]) == (405, 405)
    assert response.headers["content-type"] == "application/problem+json" and "POST" in response.headers["allow"]


def counters(client) -> dict[str, float]:
    lines = (line.rsplit(" ", 1) for line in client.get("/metrics").text.splitlines() if line and line[0] != "#")
    return {name: float(value) for name, value in lines}


def test_concurrent_requests_are_judged_in_common_batches_and_counted(service):
    client, _ = service
    texts = [["a great film"], ["an awful soup", "the number"]]

    def ask(n):  # no two texts alike: the cache would answer them
        mine = [f"{text} {n}" for text in texts[n % 2]]
        return [answer["label"] for answer in post(client, {"texts": mine}).json()["predictions"]]

    before = counters(client)
    with ThreadPoolExecutor(32) as pool:
        answers = list(pool.map(ask, range(400)))
    after = counters(client)
    assert answers == [["positive"], ["negative", "neutral"]] * 200
    grew = {name: after[name] - before.get(name, 0) for name in after}
    batches = grew["groundswell_batch_texts_count"]
    assert grew["groundswell_batch_texts_sum"] == 600
    assert batches <= 200, "requests are judged together: two and more a batch"
    assert grew["groundswell_queue_seconds_count"] == 400
    assert sum(value for name, value in grew.items() if name.startswith("groundswell_texts_total")) == 600


def test_a_text_asked_again_is_not_judged_again(service):
    client, _ = service
    body = {"texts": ["a great film, seen twice", "a great film, seen twice"], "detail": True}
    before = counters(client)
    first, again = (post(client, body).json() for _ in range(2))
    after = counters(client)
    assert first == again and first["predictions"][0] == first["predictions"][1]
    assert after["groundswell_batch_texts_sum"] - before["groundswell_batch_texts_sum"] == 1
    assert after['groundswell_cached_texts_total{tier="memory"}'] >= 2


def test_metrics_show_what_waits_and_what_works(bundle, tmp_path):
    with serving(bundle, tmp_path, max_batch_texts="1") as (client, _):
        job = client.post("/v1/jobs", json={"texts": [f"text {n}, " + "a great film " * 20 for n in range(10_000)]})
        ends, seen = time.monotonic() + 30, counters(client)
        while not seen["groundswell_waiting_texts"] and time.monotonic() < ends:
            seen = counters(client)
        assert seen["groundswell_waiting_texts"] > 0 and seen["groundswell_store_up"] == 1
        client.delete(job.headers["location"])


def test_the_service_holds_no_torch_and_listens_on_this_machine_only(service):
    _, process = service
    parent = psutil.Process(process.pid)
    family = [parent, *parent.children(recursive=True)]
    maps = " ".join(m.path for member in family for m in member.memory_maps())
    assert "onnxruntime" in maps and "torch" not in maps
    listening = [c for member in family for c in member.net_connections("tcp") if c.status == psutil.CONN_LISTEN]
    assert {connection.laddr.ip for connection in listening} == {"127.0.0.1"}
