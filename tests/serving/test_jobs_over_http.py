"""Jobs by HTTP: the real service, killed during a job, without its store, with keys."""

import json
import signal

import psutil
import pytest

from serving.service.middleware.keys import keys_of
from tests import filings
from tests.models import tiny_bundle
from tests.serving.running import finished, serving

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return tiny_bundle(tmp_path_factory.mktemp("bundle") / "bundle")


def test_broken_job_store_refuses_jobs_but_classify_works(bundle, tmp_path):
    (tmp_path / "var").mkdir()
    (tmp_path / "var" / "service").write_text("a file where the folder should be")
    with serving(bundle, tmp_path) as (client, _):
        refused = client.post("/v1/jobs", json={"texts": ["a great film"]})
        assert refused.status_code == 503 and refused.headers["content-type"] == "application/problem+json"
        assert client.post("/v1/classify", json={"texts": ["a great film"]}).status_code == 200


def test_jobs_over_http_as_json_as_lines_and_by_preference(bundle, tmp_path):
    with serving(bundle, tmp_path) as (client, _):
        texts = [f"a great film {n}" if n % 2 else f"an awful soup {n}" for n in range(300)] + ["  "]
        made = client.post("/v1/jobs", json={"texts": texts, "detail": True})
        assert made.status_code == 202 and made.json()["total"] == 301
        done = finished(client, made.headers["location"])
        results = [json.loads(line) for line in client.get(done["results"]).text.splitlines()]
        direct = client.post("/v1/classify", json={"texts": texts[:256], "detail": True}).json()["predictions"]
        assert [result.pop("id") for result in results] == [f"{done['id']}-{n}" for n in range(301)]
        assert len(results) == 301 and results[:256] == direct and results[-1] == {"error": "is blank"}

        upload = "".join(json.dumps(line) + "\n" for line in [{"text": "a great film"}, {"id": 7}, "an awful soup"])
        made = client.post("/v1/jobs", content=upload, headers={"content-type": "application/x-ndjson"})
        done = finished(client, made.headers["location"])
        great, invalid, awful = (json.loads(line) for line in client.get(done["results"]).text.splitlines())
        assert (great["label"], awful["label"]) == ("positive", "negative") and "not a string" in invalid["error"]

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


def test_document_is_a_job_of_the_real_service(bundle, tmp_path):
    with serving(bundle, tmp_path) as (client, _):
        page = filings.annual_report(sentences=60, repeat=20)
        made = client.post("/v1/jobs?name=10k", content=page, headers={"content-type": "text/html"})
        assert made.status_code == 202, made.text
        done = finished(client, made.headers["location"])
        result = client.get(done["results"]).json()
        assert (result["document"], result["form"], result["windows"]) == ("10k", "10-K", done["total"])
        assert len(result["strongest"]) == 10 and result["failed_windows"] == 0
        binary = client.post("/v1/jobs", content=b"\0\1\2" * 999, headers={"content-type": "application/octet-stream"})
        assert binary.status_code == 422 and "binary data" in binary.json()["detail"]
    assert "number 0 was" not in (tmp_path / "log").read_text(), "texts are never logged"


def test_job_survives_kill_9(bundle, tmp_path):
    texts = [f"text number {n}, " + "a great film " * 20 for n in range(10_000)]
    with serving(bundle, tmp_path) as (client, process):
        made = client.post("/v1/jobs", json={"texts": texts})
        path = made.headers["location"]
        while not client.get(path).json()["done"]:
            pass
        kill_family(process)
    with serving(bundle, tmp_path) as (client, _):
        before = client.get(path).json()
        assert 0 < before["done"] < 10_000, "the kill came during the job"
        done = finished(client, path)
        results = client.get(done["results"]).text.splitlines()
    assert len(results) == 10_000 and all("label" in json.loads(line) for line in results)


def kill_family(process):
    for member in [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]:
        member.send_signal(signal.SIGKILL)
    process.wait(100)


def test_job_is_visible_to_its_owner_and_admins_only(bundle, tmp_path):
    with serving(bundle, tmp_path, keys="true") as (client, _):
        keys = keys_of(tmp_path / "var")
        mine, yours, admin = (
            {"authorization": f"Bearer {keys.add(n, [s])}"}
            for n, s in (("me", "classify"), ("you", "classify"), ("boss", "admin"))
        )
        path = client.post("/v1/jobs", json={"texts": ["a great film"]}, headers=mine).headers["location"]
        finished(client, path, headers=mine)
        codes = [client.get(path, headers=who).status_code for who in (mine, yours, admin)]
        assert codes == [200, 404, 200]
        assert client.delete(path, headers=yours).status_code == 404
        assert client.get(path.replace("jobs", "results"), headers=yours).status_code == 404
