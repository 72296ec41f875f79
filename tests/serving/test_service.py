"""The real service: `bentoml serve` at the root of the checkout, over HTTP."""

import itertools
import json
import re
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import Queue
from threading import Event, Thread

import httpx
import psutil
import pytest

from data.feedback import open_feedback
from serving.service.middleware.keys import keys_of
from tests.models import slow_bundle, tiny_bundle
from tests.serving.running import counters, serving
from tests.waiting import until

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


def test_predictions_are_in_order_with_the_model_version(service, bundle):
    client, _ = service
    response = post(client, {"texts": ["a great film", "an awful soup", "the number"], "detail": True, "domain": "reviews"})
    assert response.status_code == 200
    body = response.json()
    assert body["model_version"] == bundle.manifest.version
    assert [prediction["label"] for prediction in body["predictions"]] == ["positive", "negative", "neutral"]
    for prediction in body["predictions"]:
        assert prediction["confidence"] == max(prediction["probabilities"].values())


def test_service_describes_its_model_and_routes(service, bundle):
    client, _ = service
    model = client.get("/v1/model").json()
    assert model["version"] == bundle.manifest.version and model["labels"] == ["negative", "neutral", "positive"]
    document = client.get("/openapi.json").json()
    assert {"/v1/classify", "/v1/model", "/metrics", "/livez", "/readyz"} <= set(document["paths"])
    assert "Groundswell" in client.get("/docs").text
    assert client.get("/" + "a" * 300).status_code == 404, "a name too long for a file is an unknown route"
    page = client.get("/")
    assert page.status_code in {200, 503} and page.headers["content-type"].startswith(
        "text/html"
    )  # 503: not built, with the command that builds it
    assert client.get("/livez").status_code == client.get("/readyz").status_code == 200


@pytest.mark.parametrize(
    ("content", "status", "message"),
    [
        (b"{", 400, "not JSON"),
        (b'"text"', 422, "body"),
        (b'{"texts": []}', 422, "texts"),
        (b'{"texts": ["  ", ""]}', 422, "texts[0]: is blank"),
        (b'{"texts": ["a\\u0000b"]}', 422, "texts[0]: holds null bytes"),
        (b'{"texts": [7]}', 422, "texts[0]: is not a string"),
        (b'{"texts": [[], {}, null]}', 422, "texts[0]: is not a string"),
        (b'{"texts": ["\\u200b\\ufeff"]}', 422, "texts[0]: is blank"),
        (b'{"texts": ["&#8203;"]}', 422, "texts[0]: is blank"),
        (b'{"texts": {"a": "b"}}', 422, "texts"),
        (b'{"texts": "a"}', 422, "texts"),
        (b'{"texts": ["x"], "detail": []}', 422, "detail"),
        (b'{"texts": ["x"]} more', 400, "not JSON"),
        (b'{"texts": ["x",]}', 400, "not JSON"),
        (b'{"texts": [' + b"[" * 5000, 400, "not JSON"),
        (b'{"texts": ["x"], "domain": "poems"}', 422, "domain"),
        (b'{"text": ["x"]}', 422, "texts"),
        (b'{"texts": ["x"], "more": 1}', 422, "more"),
        (b'{"texts": ["' + b"x" * 100_001 + b'"]}', 422, "texts[0]"),
        (b'{"texts": [' + b",".join([b'"' + b"x" * 90_000 + b'"'] * 5) + b"]}", 413, "at most 409,600 characters"),
        (b'{"texts": [' + b",".join([b'"x"'] * 257) + b"]}", 422, "texts"),
        (b'{"texts": ["' + b"x" * 5_000_000 + b'"]}', 413, "more than"),
        (b'{"texts": ["\xff"]}', 400, "JSON"),
    ],
)
def test_invalid_request_gets_problem_details(content, status, message, service):
    client, _ = service
    response = client.post("/v1/classify", content=content, headers={"content-type": "application/json"})
    problem = response.json()
    assert (response.status_code, problem["status"]) == (status, status)
    assert response.headers["content-type"] == "application/problem+json"
    assert message in problem["detail"]


def test_invalid_text_gets_an_error_in_its_place(service):
    client, _ = service
    bad = ["  ", None, 7, "a\x00b", "x" * 100_001]
    response = post(client, {"texts": ["a great film", *bad, "an awful soup"]})
    assert response.status_code == 200
    first, *middle, last = response.json()["predictions"]
    assert (first["label"], last["label"]) == ("positive", "negative") and "probabilities" not in first
    reasons = [entry["error"] for entry in middle]
    assert reasons == [
        "is blank",
        "is not a string",
        "is not a string",
        "holds null bytes",
        "has 100,001 characters; at most 100,000 are classified",
    ]


def test_wrong_method_gets_problem_details(service):
    client, _ = service
    response = client.get("/v1/classify")
    assert (response.status_code, response.json()["status"]) == (405, 405)
    assert response.headers["content-type"] == "application/problem+json" and "POST" in response.headers["allow"]


def test_unknown_route_gets_problem_details(service):
    client, _ = service
    for method in ("GET", "POST", "DELETE"):
        response = client.request(method, "/v2/none")
        assert (response.status_code, response.headers["content-type"]) == (404, "application/problem+json")
        assert "/v2/none" in response.json()["detail"]
    assert client.get("/livez").status_code == client.get("/metrics").status_code == 200


def test_long_text_is_classified_by_windows_that_detail_returns(service):
    client, _ = service
    text = "the soup " * 200 + "great film " * 150
    short, long = post(client, {"texts": ["great", text], "detail": True}).json()["predictions"]
    assert "windows" not in short and long["label"] == "positive"
    assert " ".join(window["text"] for window in long["windows"]) == text.strip()
    again = post(client, {"texts": ["great", text], "detail": True}).json()["predictions"][1]
    assert again == long, "from the cache"
    assert "windows" not in post(client, {"texts": [text]}).json()["predictions"][0]


def test_model_has_its_limits_and_cost(bundle, tmp_path):
    moves = [{"alias": alias, "to": "1", "bundle": f"bundles/{bundle.manifest.version}"} for alias in ("staging", "production")]
    ledger = tmp_path / "var" / "registry" / "ledger.jsonl"
    ledger.parent.mkdir(parents=True)
    ledger.write_text("".join(json.dumps(move) + "\n" for move in moves))
    with serving(bundle, tmp_path) as (client, _):
        before = client.get("/v1/model").json()
        assert before["cost"]["usd_per_million_texts"] is None and before["alias"] == "production"
        post(client, {"texts": ["a great film"]})
        model = client.get("/v1/model").json()
        assert model["limits"]["texts"] == 256 and model["cost"]["texts"] == 1
        expected = model["cost"]["cpu_us_per_text"] / 3600 * model["cost"]["cpu_hour_usd"]
        assert model["cost"]["usd_per_million_texts"] == pytest.approx(expected, abs=1e-4)


def test_feedback_by_text_or_result_id_reaches_the_feedback_store(bundle, tmp_path):
    with serving(bundle, tmp_path) as (client, _):
        saved = client.post("/v1/feedback", json={"text": "Oh great, late again", "label": "negative", "by": "ann"})
        assert (saved.status_code, saved.json()) == (201, {"number": 1})
        job = client.post("/v1/jobs", json={"texts": ["an awful soup", "a great film"]}).json()
        by_id = {"id": f"{job['id']}-1", "label": "neutral", "by": "ben", "domain": "reviews"}
        assert client.post("/v1/feedback", json=by_id).status_code == 201
        for body, status in (
            ({"label": "negative", "by": "ann"}, 422),
            ({"text": "a", "id": "b", "label": "negative", "by": "ann"}, 422),
            ({"text": " ", "label": "negative", "by": "ann"}, 422),
            ({"text": "a", "label": "bad", "by": "ann"}, 422),
            ({"text": "a", "label": "negative"}, 422),
            ({"id": "none-1", "label": "negative", "by": "ann"}, 404),
        ):
            refused = client.post("/v1/feedback", json=body)
            assert (refused.status_code, refused.headers["content-type"]) == (status, "application/problem+json"), refused.text
    rows = {row.text: (row.label, row.domain) for row in open_feedback(tmp_path / "var").rows().itertuples()}
    assert rows == {"Oh great, late again": ("negative", None), "a great film": ("neutral", "reviews")}


def test_each_request_has_an_id_a_log_line_and_a_count_without_text_or_key(bundle, tmp_path):
    with serving(bundle, tmp_path, keys="true") as (client, _):
        token = keys_of(tmp_path / "var").add("desk", ["admin"])
        headers = {"authorization": f"Bearer {token}"}
        named = client.post("/v1/classify", json={"texts": ["a secret film"]}, headers=headers | {"x-request-id": "mine-7"})
        assert named.headers["x-request-id"] == "mine-7"
        forged = client.get("/v1/model", headers=headers | {"x-request-id": 'x"}\u007b'.encode()})
        assert re.fullmatch(r"[0-9a-f]{16}", forged.headers["x-request-id"])
        client.get("/v1/jobs/a-secret-id", headers=headers)
        client.get("/secret/path")
        seen = counters(client, headers)
        assert seen['groundswell_requests_total{route="/v1/classify",status="200"}'] == 1
        assert seen['groundswell_requests_total{route="other",status="401"}'] == 1
        assert seen['groundswell_request_seconds_count{route="/v1/jobs"}'] == 1
    log = (tmp_path / "log").read_text()
    lines = [line for line in map(json.loads, filter(lambda line: line.startswith('{"'), log.splitlines())) if "route" in line]
    mine = next(line for line in lines if line["request_id"] == "mine-7")
    assert (mine["route"], mine["status"], mine["key"]) == ("/v1/classify", 200, token.split("_")[1]) and mine["ms"] > 0
    assert [line["route"] for line in lines] == ["/v1/classify", "/v1/model", "/v1/jobs", "other"]
    assert "secret" not in log and token not in log


def test_readiness_reports_which_stores_work(bundle, tmp_path):
    (tmp_path / "var").mkdir()
    with serving(bundle, tmp_path) as (client, _):
        ready = client.get("/readyz").json()
        assert (ready["ready"], ready["reasons"], ready["stores"]) == (True, [], {"jobs": "up", "answers": "up"})
        assert 0 <= ready["disk"]["free"] <= 1 and ready["disk"]["accepts_jobs"] is True
    (tmp_path / "broken" / "var").mkdir(parents=True)
    (tmp_path / "broken" / "var" / "service").write_text("a file where the folder should be")
    with serving(bundle, tmp_path / "broken", processes="1") as (client, _):
        post(client, {"texts": ["a great film"]})
        ready = client.get("/readyz").json()
        assert (ready["ready"], ready["stores"]) == (True, {"jobs": "down", "answers": "down"})
        seen = counters(client)
        assert seen["groundswell_store_up"] == seen["groundswell_jobs_up"] == 0


def test_traces_go_to_the_configured_endpoint(bundle, tmp_path, monkeypatch):
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    bodies = Queue()

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self):
            bodies.put((self.path, self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Collector)
    Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "200")
    try:
        with serving(bundle, tmp_path) as (client, _):
            trace = "4bf92f3577b34da6a3ce929d0e0e4736"
            client.post(
                "/v1/classify", json={"texts": ["a great film"]}, headers={"traceparent": f"00-{trace}-00f067aa0ba902b7-01"}
            )
            spans = {}
            while not {"POST /v1/classify", "classify", "batch"} <= set(spans):
                path, body = bodies.get(timeout=20)
                assert path == "/v1/traces"
                for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                    spans |= {span.name: span for scope in resource.scope_spans for span in scope.spans}
    finally:
        server.shutdown()
    request, classify, batch = (spans[name] for name in ("POST /v1/classify", "classify", "batch"))
    assert request.trace_id.hex() == classify.trace_id.hex() == trace and classify.parent_span_id == request.span_id
    attributes = {attribute.key: attribute.value for attribute in (*request.attributes, *batch.attributes)}
    assert attributes["http.response.status_code"].int_value == 200 and attributes["groundswell.texts"].int_value == 1
    assert "great film" not in str(spans)


def test_panel_without_its_database_reports_the_cause(service):
    client, _ = service
    response = client.get("/v1/panels/trend")
    problem = response.json()
    assert (response.status_code, problem["title"], problem["type"]) == (503, "Message database not running", "/docs#no-database")
    assert response.headers["retry-after"] and "groundswell stream up" in problem["detail"]


def test_unknown_urls_add_no_metric(service):
    """BentoML's own family has a label for each; it is off."""
    client, _ = service

    def ask(n):
        for route in (f"/nope-{n}", f"/v1/jobs/{n}", f"/static_content/{n}", f"/v1/panels/{n}", f"/v1/{n}/x?y={n}"):
            for method in ("GET", "POST", "DELETE"):
                client.request(method, route, json={})

    ask(0)
    before = counters(client)
    for n in range(1, 20):
        ask(n)
    after = counters(client)
    assert set(after) == set(before) and after['groundswell_requests_total{route="other",status="404"}'] > 100
    assert not any(name.startswith("bentoml") for name in after)


def test_concurrent_requests_share_batches_and_are_counted(service):
    client, _ = service
    texts = [["a great film"], ["an awful soup", "the number"]]

    def ask(n):  # all texts differ, or the cache would serve them
        mine = [f"{text} {n}" for text in texts[n % 2]]
        return [prediction["label"] for prediction in post(client, {"texts": mine}).json()["predictions"]]

    before = counters(client)
    with ThreadPoolExecutor(32) as pool:
        labels = list(pool.map(ask, range(400)))
    after = counters(client)
    assert labels == [["positive"], ["negative", "neutral"]] * 200
    grew = {name: after[name] - before.get(name, 0) for name in after}
    batches = grew["groundswell_batch_texts_count"]
    assert grew["groundswell_batch_texts_sum"] == 600
    assert batches <= 300, "requests share batches, though this model is faster than they arrive"
    assert grew["groundswell_queue_seconds_count"] == 400
    assert sum(value for name, value in grew.items() if name.startswith("groundswell_texts_total")) == 600


def test_at_64_callers_the_histogram_shows_batches(tmp_path):
    with serving(slow_bundle(tmp_path / "bundle"), tmp_path, prediction_store="memory", processes="1") as (client, _):
        with ThreadPoolExecutor(64) as pool:
            codes = set(pool.map(lambda n: post(client, {"texts": [f"a great film {n}"]}).status_code, range(960)))
        seen = counters(client)
    assert codes == {200}
    sizes = {size: seen[f'groundswell_batch_texts_bucket{{le="{size}.0"}}'] for size in (1, 4, 8, 16, 32)}
    batches = seen["groundswell_batch_texts_count"]
    assert seen["groundswell_batch_texts_sum"] == 960 and sizes[32] == batches
    assert 960 / batches >= 8 and sizes[4] < batches / 2, sizes


def test_repeated_text_is_not_classified_again(service):
    client, _ = service
    body = {"texts": ["a great film, seen twice", "a great film, seen twice"], "detail": True}
    before = counters(client)
    first, again = (post(client, body).json() for _ in range(2))
    after = counters(client)
    assert first == again and first["predictions"][0] == first["predictions"][1]
    assert after["groundswell_batch_texts_sum"] - before["groundswell_batch_texts_sum"] == 1
    assert after['groundswell_cached_texts_total{tier="memory"}'] >= 2


def test_metrics_show_waiting_texts_and_store_state(bundle, tmp_path):
    stop = Event()

    def load():
        for number in itertools.count():
            if stop.is_set():
                return
            texts = [f"text {number} {n}, " + "a great film " * 20 for n in range(200)]
            httpx.post(f"{client.base_url}/v1/classify", json={"texts": texts}, timeout=600)

    with serving(bundle, tmp_path, max_batch_texts="1", processes="2") as (client, _), ThreadPoolExecutor(1) as pool:
        loading = pool.submit(load)
        try:
            seen = until(lambda: (found := counters(client))["groundswell_waiting_texts"] and found)
        finally:
            stop.set()
        loading.result(600)
        assert seen["groundswell_store_up"] == 2, "in both processes"


def test_service_imports_no_torch_and_listens_on_this_machine_only(service):
    _, process = service
    parent = psutil.Process(process.pid)
    family = [parent, *parent.children(recursive=True)]
    maps = " ".join(m.path for member in family for m in member.memory_maps())
    assert "onnxruntime" in maps and "torch" not in maps
    listening = [c for member in family for c in member.net_connections("tcp") if c.status == psutil.CONN_LISTEN]
    assert {connection.laddr.ip for connection in listening} == {"127.0.0.1"}
