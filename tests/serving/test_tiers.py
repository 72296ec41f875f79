"""Tiers of one bundle: every path that takes a tier gives the same prediction, and names the tier that it is from."""

import asyncio
import json
import threading
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import REGISTRY
from typer.testing import CliRunner

from data.cleaning import clean
from data.errors import BundleError
from orchestration.cli.main import app as cli
from serving.bundle import BUNDLE_ENV, read_bundle
from serving.classifier import Classifier
from serving.engines.engine import ENGINES, on_engine
from serving.forgetting.stores import Service
from serving.lakehouse.classify import CachingClassifier, bundle_udf
from serving.ledger import append_move
from serving.load_control import LoadControl
from serving.prediction_keys import cache_key
from serving.score import score_file
from serving.service.cache.predictions import Cache, pack, unpack
from serving.service.cache.stores import SQLiteStore
from serving.service.inference import InferenceService
from serving.service.jobs.queue import Options
from serving.settings import ServingSettings, StreamSettings
from serving.streaming.worker import model
from serving.streaming.worker.processing import process_batch
from serving.streaming.worker.worker import Worker
from serving.tiers import OperatingPoint, auto_point, model_key
from tests.make import text_of
from tests.models import some_texts, tiered_bundle, tiny_bundle
from tests.serving.stream_fakes import Clock
from tests.serving.test_languages import ask
from tests.serving.test_stream import messages
from tests.waiting import until_async

SURE, UNSURE = "great great great great film", "a great film"
"""Texts that `small` is confident of, and is not."""


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return tiered_bundle(tmp_path_factory.mktemp("b") / "bundle")


@pytest.fixture(scope="module")
def classifier(bundle):
    return Classifier(bundle, threads=1, token_budget=64)


def test_named_tier_classifies_every_text_and_base_is_the_default(classifier):
    texts = some_texts(30)
    small = classifier.classify(texts, "small")
    assert {one.tier for one in small} == {"small"} and {one.tier for one in classifier.classify(texts)} == {"base"}
    assert [one.label for one in small] != [one.label for one in classifier.classify(texts)]


@given(st.lists(st.sampled_from([*some_texts(12), SURE, UNSURE, "great " * 80, "soup " * 90, ""]), max_size=12))
def test_auto_takes_the_small_tier_where_it_is_sure_and_base_elsewhere(classifier, texts):
    small, base = classifier.classify(texts, "small"), classifier.classify(texts)
    sure = classifier.predict_proba(texts, "small").max(axis=1) >= 0.6
    expected = [one if confident else other for one, other, confident in zip(small, base, sure, strict=True)]
    assert classifier.classify(texts, "auto") == expected


def test_auto_uses_both_tiers_and_a_long_text_escalates_whole(classifier):
    sure, unsure, long = classifier.classify([SURE, UNSURE, "great soup " * 40], "auto")
    assert (sure.tier, unsure.tier, long.tier) == ("small", "base", "small")
    short_windows = tiered_bundle(classifier.bundle.directory.parent / "strict", threshold=0.99)
    (whole,) = Classifier(short_windows, threads=1).classify(["great soup " * 40], "auto")
    assert whole.tier == "base" and whole == Classifier(short_windows, threads=1).classify(["great soup " * 40])[0]


def test_timings_of_auto_count_the_runs_of_both_tiers(classifier):
    _, one = classifier.classify_timed([SURE], "auto")
    _, both = classifier.classify_timed([UNSURE], "auto")
    assert (one.batches, both.batches) == (1, 2) and both.texts == 1


def test_unknown_tier_names_those_of_the_bundle(classifier):
    with pytest.raises(BundleError, match="small"):
        classifier.classify(["a film"], "smal")


def test_auto_of_a_bundle_without_tiers_is_base(tmp_path):
    plain = Classifier(tiny_bundle(tmp_path / "plain"), threads=1)
    assert plain.classify(some_texts(6), "auto") == plain.classify(some_texts(6))


def test_auto_is_the_cheapest_point_close_to_base():
    def point(cpu, recall, tier="small"):
        return OperatingPoint(tier=tier, threshold=0.5, cpu_us=cpu, macro_recall=recall)

    near, base = point(40, 0.694), point(100, 0.70, "base")
    assert auto_point([point(10, 0.6), near, point(50, 0.699), base]) == near
    assert auto_point([point(10, 0.6), base]) == base and auto_point([]).tier == "base"


def test_bundle_with_a_missing_or_changed_tier_is_refused(tmp_path):
    for name, spoil in (("missing", lambda file: file.unlink()), ("changed", lambda file: file.write_bytes(b"x"))):
        spoiled = tiered_bundle(tmp_path / name).directory
        spoil(spoiled / "model_small.onnx")
        with pytest.raises(BundleError, match=r"model_small\.onnx"):
            read_bundle(spoiled)


def test_fingerprint_depends_on_tiers_and_points(tmp_path, bundle):
    other = tiered_bundle(tmp_path / "other", threshold=0.7)
    assert len({bundle.fingerprint, other.fingerprint, tiny_bundle(tmp_path / "plain").fingerprint}) == 3


def test_bundle_of_the_first_format_names_the_remedy(tmp_path):
    old = tiny_bundle(tmp_path / "old").directory / "bundle.json"
    old.write_text(json.dumps({**json.loads(old.read_text()), "format_version": 1}))
    with pytest.raises(BundleError, match="Export it again"):
        read_bundle(old.parent)


def test_cache_keeps_predictions_of_tiers_apart(tmp_path, bundle, classifier):
    calls = []

    async def classify(texts, tier, head, for_job):
        calls.append((tuple(texts), tier))
        return classifier.classify_cleaned(texts, tier, domains=[head] * len(texts))[0]

    async def go():
        store = SQLiteStore(tmp_path / "predictions.db")
        found = []
        for _ in range(2):  # the second cache finds all of them in the store
            front = Cache(classify, bundle.fingerprint, texts=10, store=store, ttl_s=60, tiers=bundle.tiers, points=bundle.points)
            found.append([(await front.classify([clean(UNSURE)], tier))[0] for tier in ("base", "small", "auto")])
            await front.settle()
        return found

    first, again = asyncio.run(go())
    assert first == again and [one.tier for one in first] == ["base", "small", "base"]
    assert [tier for _, tier in calls] == ["base", "small", "auto"]


def test_every_cached_prediction_of_a_text_can_be_forgotten(tmp_path):
    bundle = tiered_bundle(tmp_path / "bundles" / "tiered")
    manifest = json.loads((bundle.directory / "bundle.json").read_text())
    manifest["heads"], manifest["tiers"]["small"]["heads"] = ["general", "finance"], ["general", "news"]
    (bundle.directory / "bundle.json").write_text(json.dumps(manifest))
    bundle, keys = read_bundle(bundle.directory), set()
    for engine in ENGINES:
        name = on_engine(bundle.fingerprint, engine)
        options = {"tiers": bundle.tiers, "points": bundle.points, "heads": bundle.heads}
        front = Cache(lambda *_: None, name, texts=1, store=None, ttl_s=1, **options)  # type: ignore[arg-type]
        points = ("base", "small", "auto", "small@0.6")
        keys |= {front.key("a text", tier, head) for tier in points for head in ("general", "finance", "news")}
    assert keys == {cache_key(name, "a text") for name in Service(tmp_path)._cache_names()} and len(keys) == 12 * len(ENGINES)


def test_packed_prediction_names_its_tier_in_the_same_space(classifier, bundle):
    for tier in ("base", "small"):
        (one,) = classifier.classify([SURE], tier)
        assert unpack(pack(one, bundle.tiers), bundle.tiers) == one and len(pack(one, bundle.tiers)) == 7


def test_api_classifies_by_the_tier_that_a_request_names(bundle, classifier, monkeypatch, tmp_path):
    monkeypatch.setenv("GROUNDSWELL_PATHS__VAR_DIR", str(tmp_path))

    async def work(client):
        async def post(tier=None, **more):
            body = {"texts": [SURE, UNSURE], **({"tier": tier} if tier else {}), **more}
            return await client.post("/v1/classify", json=body)

        together = await asyncio.gather(*(post(tier, detail=True) for tier in (None, "small", "auto") * 4))
        plain = [(await post(tier)).json()["predictions"] for tier in (None, "auto")]
        later = [
            await client.post("/v1/classify", json={"texts": ["x"], "tier": "smal"}, headers={"prefer": "respond-async"}),
            await client.post("/v1/jobs", json={"texts": ["x"], "tier": "smal"}),
        ]
        return together, plain, await post("smal"), later, (await client.get("/v1/model")).json()

    together, plain, wrong, later, about = ask(bundle, work)
    for response, tier in zip(together, ("base", "small", "auto") * 4, strict=True):
        expected = [(one.label, one.tier) for one in classifier.classify([SURE, UNSURE], tier)]
        assert [(one["label"], one["tier"]) for one in response.json()["predictions"]] == expected
    assert [["tier" in one for one in found] for found in plain] == [[False, False], [True, False]]
    assert wrong.status_code == 422 and "expected base or small or auto" in wrong.json()["detail"]
    assert [(one.status_code, one.json()["detail"]) for one in later] == [(422, wrong.json()["detail"])] * 2
    assert list(about["tiers"]) == ["small"] and [one["tier"] for one in about["points"]] == ["small", "small", "base"]


def test_job_is_classified_by_the_tier_that_it_names(bundle, classifier, monkeypatch, tmp_path):
    monkeypatch.setenv("GROUNDSWELL_PATHS__VAR_DIR", str(tmp_path))

    async def work(client):
        found = []
        for tier in ("small", "auto", "base"):
            job = (await client.post("/v1/jobs", json={"texts": [SURE, UNSURE], "detail": True, "tier": tier})).json()["id"]
            await until_async(partial(_done, client, job))
            lines = (await client.get(f"/v1/results/{job}")).text.splitlines()
            found.append([(one["label"], one["tier"]) for one in map(json.loads, lines)])
        return found

    expected = [[(one.label, one.tier) for one in classifier.classify([SURE, UNSURE], t)] for t in ("small", "auto", "base")]
    assert ask(bundle, work) == expected


@pytest.mark.parametrize("tier", ["base", "small", "auto"])
def test_lakehouse_classifies_by_its_tier_and_names_it_with_the_version(tier, bundle, classifier):
    found = CachingClassifier(bundle.directory, threads=1, tier=tier).predict([SURE, UNSURE], [None, None])
    expected = classifier.classify([SURE, UNSURE], tier)
    assert found == [(p.label, p.confidence, *p.probabilities, p.sarcasm, model_key(classifier.name, p.tier)) for p in expected]
    assert ["/" in one[-1] for one in found] == [p.tier != "base" for p in expected]


def test_lakehouse_refuses_a_tier_that_the_bundle_lacks_before_any_task(bundle):
    with pytest.raises(BundleError, match="smal"):
        bundle_udf(None, bundle, "smal", domains={})  # type: ignore[arg-type]


async def _done(client, job):
    return (await client.get(f"/v1/jobs/{job}")).json()["state"] == "done"


def test_job_of_a_tier_that_the_bundle_lacks_is_classified_by_base(bundle, monkeypatch, tmp_path):
    monkeypatch.setenv("GROUNDSWELL_PATHS__VAR_DIR", str(tmp_path))

    async def go():
        service = InferenceService(bundle, ServingSettings.load(prediction_store="memory", min_free_disk=0))
        found = [await service.entries([SURE, UNSURE], Options(True, tier)) for tier in ("gone", "base")]
        await service.close()
        return found

    gone, base = asyncio.run(go())
    assert gone == base and {one["tier"] for one in gone} == {"base"}


def test_point_of_the_bundle_may_be_named(classifier):
    assert [point.name for point in classifier.points] == ["small", "small@0.6", "base"]
    assert classifier.classify([SURE, UNSURE], "small@0.6") == classifier.classify([SURE, UNSURE], "auto")


def _overloaded():
    return REGISTRY.get_sample_value("groundswell_overloaded")


def test_api_under_load_uses_cheaper_points_only_for_requests_that_name_no_tier(bundle, monkeypatch, tmp_path):
    monkeypatch.setenv("GROUNDSWELL_PATHS__VAR_DIR", str(tmp_path))
    clock = Clock()

    async def go():
        service = InferenceService(bundle, ServingSettings.load(floor=0.5, prediction_store="memory"))
        service._control = control = LoadControl("base", 0.5, threads=1, deadline_s=1.0, clock=clock)
        found = [await service.classify([UNSURE])]
        control.record(OperatingPoint(tier="base", threshold=0), 100, 1.0)
        service._batcher = SimpleNamespace(waiting_texts=5_000, submit=service._batcher.submit, close=service._batcher.close)
        clock.now += 1
        found += [await service.classify([SURE]), await service.classify([SURE], "base"), [service.describe()["point"]]]
        assert await service.classify([UNSURE]) == found[0], "base's prediction is cached: it is better and costs nothing"
        overloaded = [_overloaded()]
        service._batcher.waiting_texts = 0
        for _ in range(2):
            clock.now += 10
            found.append(await service.classify([SURE]))
        found.append([service.describe()["point"]])
        assert [*overloaded, _overloaded()] == [1.0, 0.0], "5,000 texts within a second are too many for every point"
        await service.close()
        return found

    calm, loaded, named, during, _, after, then = asyncio.run(go())
    assert [one[0].tier for one in (calm, loaded, named, after)] == ["base", "small", "base", "base"]
    assert named == after and (during, then) == (["small"], ["base"]), "what was cached under load is not base's"


def test_without_a_floor_the_api_classifies_with_base_under_any_load(bundle, monkeypatch, tmp_path):
    monkeypatch.setenv("GROUNDSWELL_PATHS__VAR_DIR", str(tmp_path))

    async def go():
        service = InferenceService(bundle, ServingSettings.load(prediction_store="memory"))
        found = await asyncio.gather(*(service.classify([f"{UNSURE} {n}"]) for n in range(200)))
        await service.close()
        return {one.tier for (one,) in found}

    assert asyncio.run(go()) == {"base"}


def test_stream_classifies_by_the_tier_of_the_settings_and_rows_name_it(classifier):
    events = [{"id": "1", "text": SURE, "source": "t"}, {"id": "2", "text": UNSURE, "source": "t"}]
    rows = [
        [json.loads(row)["tier"] for row in process_batch(messages(*events), classifier, StreamSettings.load(tier=tier)).rows]
        for tier in ("base", "small", "auto")
    ]
    assert rows == [["base", "base"], ["small", "small"], ["small", "base"]]
    batch = process_batch(messages(*events), classifier, StreamSettings.load(), point=classifier.points[1])
    assert [(row["tier"], row["point"]) for row in map(json.loads, batch.rows)] == [("small", "small@0.6"), ("base", "small@0.6")]


def test_worker_with_a_floor_classifies_by_load_and_one_without_never_does(classifier, tmp_path):
    events = messages({"id": "1", "text": UNSURE, "source": "t"})
    for floor, expected in ((0.5, "small"), (None, "base")):
        worker = Worker(StreamSettings.load(floor=floor), tmp_path, lambda: classifier)
        assert json.loads(worker._process(events).rows[0])["point"] == "base"
        if worker._control:
            worker._control.update(10**9, 0)
        assert json.loads(worker._process(events).rows[0])["point"] == expected


def test_worker_refuses_a_bundle_without_its_tier_and_keeps_the_old_one(tmp_path, monkeypatch):
    monkeypatch.delenv(BUNDLE_ENV, raising=False)
    monkeypatch.setenv("GROUNDSWELL_PATHS__VAR_DIR", str(tmp_path))
    monkeypatch.setattr(model, "LEDGER_POLL_INTERVAL_S", 0.02)
    tiered, plain = tiered_bundle(tmp_path / "bundles" / "tiered"), tiny_bundle(tmp_path / "bundles" / "plain")

    def put_in_production(bundle):
        append_move(tmp_path, {"alias": "production", "to": "1", "bundle": str(bundle.directory.relative_to(tmp_path))})

    put_in_production(plain)
    with pytest.raises(BundleError, match="small"):
        model.ReloadingModel(tmp_path, tier="small")
    put_in_production(tiered)
    reloading = model.ReloadingModel(tmp_path, tier="small")
    refused, stop = threading.Event(), threading.Event()
    monkeypatch.setattr(model._log, "error", lambda *_, **__: refused.set(), raising=False)
    thread = threading.Thread(target=reloading.follow, args=(stop,))
    thread.start()
    try:
        put_in_production(plain)
        assert refused.wait(60) and reloading.current.name == tiered.manifest.version
    finally:
        stop.set()
        thread.join()


def test_score_counts_rows_by_tier_and_auto_differs_from_both(tmp_path, bundle, classifier):
    file = tmp_path / "rows.csv"
    file.write_text("text,label\n" + "".join(f"{text},positive\n" for text in (SURE, UNSURE, SURE)))
    found = {
        tier: score_file(file, classifier, text_column="text", label_column="label", tier=tier)
        for tier in ("base", "small", "auto")
    }
    assert {tier: one.tiers for tier, one in found.items()} == {
        "base": {"base": 3},
        "small": {"small": 3},
        "auto": {"small": 2, "base": 1},
    }
    assert found["base"].predicted["positive"] == 3 and found["auto"].predicted["positive"] == 1


def test_commands_take_a_tier(tmp_path, bundle):
    file = tmp_path / "rows.csv"
    file.write_text(f"text,label\n{SURE},positive\n")
    run = CliRunner().invoke
    where = ["--bundle", str(bundle.directory)]
    (classified,) = json.loads(run(cli, ["classify", SURE, "--tier", "small", "--json", *where]).stdout)
    assert classified["tier"] == "small"
    scored = json.loads(run(cli, ["score", str(file), "--label-column", "label", "--tier", "auto", "--json", *where]).stdout)
    assert scored["tiers"] == {"small": 1} and "macro_recall" in scored
    wrong = run(cli, ["classify", SURE, "--tier", "tiny", *where])
    assert wrong.exit_code and isinstance(wrong.exception, BundleError)


def test_windows_of_a_long_text_are_those_of_the_tier_that_counts(classifier):
    text = "great soup " * 40
    for tier in ("base", "small"):
        (one,) = classifier.classify([text], tier)
        mean = np.array([window.probabilities for window in one.windows]).mean(axis=0)
        assert len(one.windows) > 1 and abs(mean - np.array(one.probabilities)).max() < 0.05


def test_text_of_every_class_keeps_its_order_in_auto(classifier):
    texts = [text_of(label, n) for n in range(5) for label in ("negative", "neutral", "positive")]
    found = classifier.classify(texts, "auto")
    assert found == [classifier.classify([text], "auto")[0] for text in texts]
