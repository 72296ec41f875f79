"""The head of a text's domain decides, on every way to the model. That all ways agree is in test_one_prediction.py."""

import asyncio
import json
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import pytest

from data.errors import BundleError, SettingsError
from orchestration.terminal.scoring import classify_texts, score_labeled_file
from serving.bundle import read_bundle
from serving.classifier import Classifier
from serving.lakehouse.classify import _request_predictions
from serving.settings import StreamSettings
from serving.streaming.worker.processing import process_batch
from tests.models import HEADS, headed_bundle, tiered_bundle, tiny_bundle
from tests.serving.test_languages import ask
from tests.serving.test_stream import messages
from tests.waiting import until_async

TEXT = "the film was great"
DOMAINS = (None, "finance", "news")
EXPECTED = [("positive", "general"), ("negative", "finance"), ("positive", "general")]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return headed_bundle(tmp_path_factory.mktemp("headed") / "bundle")


@pytest.fixture(scope="module")
def classifier(bundle):
    return Classifier(bundle, threads=1)


def found(predictions):
    return [(one["label"], one["domain"]) for one in predictions]


def test_classifier_takes_the_head_of_the_domain_or_general(classifier, bundle):
    predictions = classifier.classify([TEXT] * 3, domains=DOMAINS)
    assert [(one.label, one.head) for one in predictions] == EXPECTED
    assert {one.head for one in classifier.classify([TEXT] * 3)} == {"general"}
    long = " ".join([TEXT] * 20)  # windows
    labels = [
        (one.label, len(one.windows) > 1) for one in classifier.classify([long, TEXT, long], domains=("finance", None, None))
    ]
    assert labels == [("negative", True), ("positive", False), ("positive", True)]
    assert bundle.heads == HEADS and [bundle.head_for(domain) for domain in (None, "finance", "news")] == [
        "general",
        "finance",
        "general",
    ]


def test_a_model_with_other_heads_than_its_manifest_is_refused(tmp_path, bundle):
    for heads, made in (
        (["general", "news", "finance"], bundle),
        (["general"], bundle),
        (list(HEADS), tiny_bundle(tmp_path / "t")),
    ):
        manifest = json.loads((made.directory / "bundle.json").read_text()) | {"heads": heads}
        folder = tmp_path / "wrong"
        folder.mkdir(exist_ok=True)
        for file in made.directory.iterdir():
            (folder / file.name).write_bytes(file.read_bytes())
        (folder / "bundle.json").write_text(json.dumps(manifest))
        with pytest.raises(BundleError, match="wrong shape"):
            Classifier(read_bundle(folder), threads=1).classify([TEXT])


@pytest.mark.parametrize("heads", [["finance", "general"], ["general", "finance", "finance"], []])
def test_heads_in_another_order_or_twice_are_refused(heads, tmp_path):
    directory = headed_bundle(tmp_path / "bundle").directory
    manifest = json.loads((directory / "bundle.json").read_text())
    (directory / "bundle.json").write_text(json.dumps(manifest | {"heads": heads}))
    with pytest.raises(BundleError, match="general first, then each domain once"):
        read_bundle(directory)


def test_other_names_of_heads_are_another_fingerprint(tmp_path):
    made = tiered_bundle(tmp_path / "tiered")

    def fingerprint(base, small):
        tier = made.manifest.tiers["small"].model_copy(update={"heads": small})
        return replace(made, manifest=made.manifest.model_copy(update={"heads": base, "tiers": {"small": tier}})).fingerprint

    one, other = ("general", "finance"), ("general", "news")
    assert len({fingerprint(one, one), fingerprint(other, one), fingerprint(one, other)}) == 3
    assert fingerprint(("general",), ("general",)) == made.fingerprint


def test_tier_without_a_head_of_the_domain_decides_with_general_and_base_with_its_own(tmp_path, bundle):
    made = tiered_bundle(
        tmp_path / "both",
        model_file=bundle.directory / "model.onnx",
        heads=HEADS,
    )
    model = Classifier(made, threads=1)
    small, base = (model.classify([TEXT], tier, domains=["finance"])[0] for tier in ("small", "base"))
    assert (small.tier, small.head) == ("small", "general") and (base.tier, base.head, base.label) == (
        "base",
        "finance",
        "negative",
    )
    (escalated,) = model.classify(["the film"], "small@0.6", domains=["finance"])
    assert (escalated.tier, escalated.head) == ("base", "finance")


@pytest.fixture
def var(tmp_path, monkeypatch):
    monkeypatch.setenv("GROUNDSWELL_PATHS__VAR_DIR", str(tmp_path))


def test_api_decides_by_the_domain_of_the_request_and_caches_by_it(bundle, var):
    async def work(client):
        async def post(domain):
            body = {"texts": [TEXT], "detail": True, "domain": domain}
            return (await client.post("/v1/classify", json=body)).json()["predictions"][0]

        at_once = await asyncio.gather(*(post(domain) for domain in DOMAINS * 5))
        again = [await post(domain) for domain in DOMAINS]
        plain = (await client.post("/v1/classify", json={"texts": [TEXT], "domain": "finance"})).json()["predictions"]
        wrong = await client.post("/v1/classify", json={"texts": [TEXT], "domain": "sports"})
        return at_once, again, plain, wrong, (await client.get("/v1/model")).json()

    at_once, again, plain, wrong, about = ask(bundle, work)
    assert found(at_once) == EXPECTED * 5 and found(again) == EXPECTED
    assert plain[0]["label"] == "negative" and "domain" not in plain[0]
    assert wrong.status_code == 422 and "finance" in wrong.json()["detail"] and about["heads"] == list(HEADS)


def test_job_decides_by_its_domain(bundle, var):
    async def work(client):
        async def done(job):
            return (await client.get(f"/v1/jobs/{job}")).json()["state"] == "done"

        results = []
        for domain in DOMAINS:
            body = {"texts": [TEXT], "detail": True, "domain": domain}
            later = client.post("/v1/classify", json=body, headers={"prefer": "respond-async"})
            for request in (client.post("/v1/jobs", json=body), later):
                job = (await request).json()["id"]
                await until_async(partial(done, job))
                results.append(json.loads((await client.get(f"/v1/results/{job}")).text))
        return results

    assert found(ask(bundle, work)) == [one for one in EXPECTED for _ in range(2)]


def test_stream_decides_by_the_domain_of_message_or_source(classifier):
    events = [
        {"id": "1", "text": TEXT, "source": "stocks"},
        {"id": "2", "text": TEXT, "source": "other"},
        {"id": "3", "text": TEXT, "source": "other", "domain": "finance"},
        {"id": "4", "text": TEXT, "source": "stocks", "domain": "news"},
        {"id": "5", "text": TEXT, "source": "stocks", "domain": None},
        {"id": "6", "text": TEXT, "source": "stocks", "domain": "sports"},
    ]
    batch = process_batch(messages(*events), classifier, StreamSettings.load(), domains={"stocks": "finance"})
    rows = [json.loads(row) for row in batch.rows]
    assert found(rows) == [EXPECTED[n] for n in (1, 0, 1, 0, 1)]
    ((message, reason),) = batch.dead_letters
    assert json.loads(message.value())["id"] == "6" and reason.startswith("domain: Input should be 'tweets', 'reviews'")


def test_lakehouse_sends_each_domain_to_the_api_and_keeps_the_order(monkeypatch):
    from serving.client import AsyncSentimentClient
    from serving.service.schemas import ClassifyResponse

    requests = []

    async def respond(self, texts, *, domain=None, detail=False, tier=None):
        requests.append((domain, len(texts)))
        shares = {"negative": 0.0, "neutral": 0.0, "positive": 1.0}
        rows = [{"label": "positive", "confidence": float(text), "tier": "base", "probabilities": shares} for text in texts]
        return ClassifyResponse.model_validate({"model_version": domain or "none", "predictions": rows})

    monkeypatch.setattr(AsyncSentimentClient, "respond", respond)
    domains = [DOMAINS[n % 3] for n in range(1000)]
    rows = asyncio.run(_request_predictions("http://127.0.0.1:1", None, [str(n) for n in range(1000)], domains, "base"))
    assert [(int(row[1]), row[-1]) for row in rows] == [(n, domain or "none") for n, domain in enumerate(domains)]
    assert sorted(requests, key=str) == sorted(
        [(one, size) for one in DOMAINS for size in (256, 1000 // 3 - 256 + (one is None))], key=str
    )


def test_commands_decide_by_the_domain_that_they_name(bundle, tmp_path):
    for domain, expected in zip(DOMAINS, EXPECTED, strict=True):
        assert found(classify_texts([TEXT], bundle.directory, domain=domain)) == [expected]
    file = tmp_path / "texts.csv"
    file.write_text(f"text,label\n{TEXT},negative\nthe film was awful,positive\n")
    options = {"text_column": "text", "label_column": "label", "read_as": None, "bundle": bundle.directory, "tier": "base"}
    rows = {one: score_labeled_file(file, domain=one, **options, out=None, console=None) for one in DOMAINS}  # type: ignore[arg-type]
    assert [(row["accuracy"]["value"], row["domains"]) for row in rows.values()] == [
        (0.0, {"general": 2}),
        (1.0, {"finance": 2}),
        (0.0, {"general": 2}),
    ]
    with pytest.raises(SettingsError, match="Unknown domain 'finanse'"):
        classify_texts([TEXT], bundle.directory, domain="finanse")


def test_mlflow_model_decides_by_the_column_domain(bundle):
    from types import SimpleNamespace

    from serving.pyfunc_model import BundleModel

    model = BundleModel()
    model.load_context(SimpleNamespace(artifacts={"bundle": str(bundle.directory)}))  # type: ignore[arg-type]
    frame = pd.DataFrame({"text": [TEXT] * 3, "domain": [None, "finance", np.nan]})
    assert model.predict(None, frame)["label"].tolist() == ["positive", "negative", "positive"]  # type: ignore[arg-type]
    assert model.predict(None, frame[["text"]])["label"].tolist() == ["positive"] * 3  # type: ignore[arg-type]


def test_mlflow_model_refuses_texts_that_no_other_path_classifies(bundle):
    from types import SimpleNamespace

    from serving.pyfunc_model import BundleModel

    model = BundleModel()
    model.load_context(SimpleNamespace(artifacts={"bundle": str(bundle.directory)}))  # type: ignore[arg-type]
    frame = pd.DataFrame({"text": ["\u200b", TEXT, "a\0b", None], "domain": ["finance"] * 4})
    found = model.predict(None, frame)  # type: ignore[arg-type]
    assert found["error"].tolist() == ["is blank", None, "holds null bytes", "is not a string"]
    assert found["label"].tolist() == [None, "negative", None, None]
    assert found["confidence"].isna().tolist() == found["neutral"].isna().tolist() == [True, False, True, True]
    none = model.predict(None, frame.iloc[:1])  # type: ignore[arg-type]
    assert list(none) == list(found) and none["positive"].dtype == float
