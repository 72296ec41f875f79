"""Every path gives a text the same language and the same decision: API, jobs, Lambda, stream, Silver, `score`, `classify`."""

import asyncio
import json
from collections import Counter
from contextlib import contextmanager

import httpx
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import REGISTRY
from typer.testing import CliRunner

from data.catalog import load_catalog
from data.contracts import Event
from data.errors import SettingsError
from data.language import SAMPLE, Languages, language_of
from orchestration.cli.main import app as cli
from orchestration.steps import export
from orchestration.terminal.scoring import classify_texts
from serving.classifier import Classifier
from serving.client import AsyncSentimentClient
from serving.lakehouse.messages import read_messages
from serving.score import _foreign, score_file
from serving.service.app import create_app
from serving.service.inference import InferenceService, read_texts
from serving.service.middleware.admission import Authenticator
from serving.settings import ServingSettings, StreamSettings
from serving.streaming.decode import decode
from serving.streaming.worker.dead_letter_limit import DeadLetterLimit, TooManyDeadLetters
from serving.streaming.worker.processing import process_batch
from tests.models import tiny_bundle
from tests.serving.test_stream import messages
from tests.waiting import until_async

TEXTS = {
    "the soup was awful and no one came to our table": "en",
    "ngl that soup was a great film of a soup lol": "en",
    "$AAPL beats on earnings, shares up 4% after hours": "en",
    "Operating profit of the Finnish company Talentum Oyj rose to EUR 9.4 mn": "en",
    "Die Suppe war kalt und niemand kam an unseren Tisch": "de",
    "La soupe était froide et personne n'est venu": "fr",
    "La sopa estaba fría y nadie vino a nuestra mesa": "es",
    "A sopa estava fria e ninguém veio à nossa mesa": "pt",
    "La zuppa era fredda e nessuno è venuto": "it",
    "De soep was koud en er kwam niemand aan tafel": "nl",
    "Soppan var kall och ingen kom till vårt bord": "sv",
    "Zupa była zimna i nikt do nas nie podszedł": "pl",
    "Çorba soğuktu ve masamıza kimse gelmedi": "tr",
    "Суп был холодный, и никто не подошёл": "ru",
    "الحساء كان باردا ولم يأت أحد إلى طاولتنا": "ar",
    "सूप ठंडा था और कोई नहीं आया": "hi",
    "汤是冷的，没有人来我们这桌": "zh",
    "スープは冷たくて誰も来なかった": "ja",
    "수프가 차갑고 아무도 오지 않았어요": "ko",
    "ซุปเย็นและไม่มีใครมาที่โต๊ะของเรา": "th",
    "great film": None,
    "merci!": None,
    "😡😡😡": None,
    "\ud83d ok": None,
}
WARNING = "The text is in German; the model was measured on English only."
REFUSAL = "is in German; the model was measured on English only"
GERMAN = next(text for text, code in TEXTS.items() if code == "de")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return tiny_bundle(tmp_path_factory.mktemp("bundle") / "bundle")


@pytest.fixture(params=["warn", "reject"])
def choice(request, monkeypatch, tmp_path):
    monkeypatch.setenv("GROUNDSWELL_LANGUAGES__OTHER", request.param)
    monkeypatch.setenv("GROUNDSWELL_PATHS__VAR_DIR", str(tmp_path / "var"))
    return request.param


def expected(choice):
    """Language of each text, and whether it is classified."""
    return {text: (code, choice == "warn" or code in (None, "en")) for text, code in TEXTS.items()}


def of_entries(entries):
    """Return the language of each text, and whether it was classified, by entries of the API or results of a job."""
    found = {}
    for text, entry in zip(TEXTS, entries, strict=True):
        if "error" in entry:
            code = language_of(text)
            assert entry == {"error": Languages().explain(code)}
            found[text] = (code, False)
        else:
            found[text] = (entry["language"], True)
            assert entry.get("warning") == Languages().warning(entry["language"])
    return found


@contextmanager
def counted(metric, name="language"):
    """Count what a metric gains, by its label."""

    def read():
        return {
            sample.labels[name]: sample.value
            for family in REGISTRY.collect()
            for sample in family.samples
            if sample.name == f"{metric}_total"
        }

    before, gained = read(), {}
    yield gained
    gained |= {label: value - before.get(label, 0) for label, value in read().items() if value != before.get(label, 0)}


def counts(texts):
    labels = [code or "undetermined" for code in texts]
    return {label: labels.count(label) for label in labels}


def ask(bundle, work):
    """Run `work` with a client of the service."""

    async def go():
        service = InferenceService(bundle, ServingSettings.load(prediction_store="memory", min_free_disk=0))
        app = create_app(lambda: service, lambda: Authenticator(None))
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost", timeout=60) as client,
        ):
            found = await work(client)
        await service.close()
        return found

    return asyncio.run(go())


def test_api_and_jobs(choice, bundle):
    async def work(client):
        body = {"content": json.dumps({"texts": list(TEXTS), "detail": True}), "headers": {"content-type": "application/json"}}
        found = [(await client.post("/v1/classify", **body)).json()["predictions"] for _ in range(2)]
        job = (await client.post("/v1/jobs", **body)).json()["id"]

        async def done():
            return (await client.get(f"/v1/jobs/{job}")).json()["state"] == "done"

        await until_async(done)
        lines = (await client.get(f"/v1/results/{job}")).text.splitlines()
        found.append([{name: value for name, value in json.loads(line).items() if name != "id"} for line in lines])
        return found

    with counted("groundswell_text_languages") as gained:
        found = ask(bundle, work)
    assert [of_entries(entries) for entries in found] == [expected(choice)] * 3
    assert gained == {label: 3 * texts for label, texts in counts(TEXTS.values()).items()}, "cached and rejected texts count too"


def test_response_without_detail_has_no_language(bundle):
    async def work(client):
        return (await client.post("/v1/classify", json={"texts": [GERMAN]})).json()["predictions"]

    assert [set(entry) for entry in ask(bundle, work)] == [{"label", "confidence"}]


def test_rejected_text_gets_its_error_in_its_place_even_alone(choice, bundle):
    async def work(client):
        response = await client.post("/v1/classify", json={"texts": [GERMAN], "detail": True})
        through = AsyncSentimentClient("http://localhost")
        through._http = client
        return response, await through.classify([GERMAN], detail=True)

    response, (entry,) = ask(bundle, work)
    assert response.status_code == 200
    (shown,) = response.json()["predictions"]
    if choice == "reject":
        assert shown == {"error": REFUSAL} and entry.error == REFUSAL
    else:
        assert (shown["language"], shown["warning"]) == ("de", WARNING) == (entry.language, entry.warning)


def test_lambda(choice, bundle, monkeypatch):
    from serving.aws import handlers

    monkeypatch.setenv("GROUNDSWELL_BUNDLE_DIR", str(bundle.directory))
    monkeypatch.setenv("GROUNDSWELL_SERVING__PREDICTION_STORE", "memory")
    caches = (handlers._http, handlers._inference, handlers._loop)
    try:
        event = {
            **{"resource": "/{proxy+}", "path": "/v1/classify", "httpMethod": "POST", "queryStringParameters": None},
            **{"headers": {"Content-Type": "application/json"}, "multiValueHeaders": None, "pathParameters": None},
            "requestContext": {"stage": "v1", "identity": {"apiKeyId": "k", "sourceIp": "203.0.113.7"}, "httpMethod": "POST"},
            "body": json.dumps({"texts": list(TEXTS), "detail": True}),
            "isBase64Encoded": False,
        }
        response = handlers.api(event, None)
        handlers._loop().run_until_complete(handlers._inference().close())
        handlers._loop().close()
    finally:
        for one in caches:
            one.cache_clear()
        asyncio.set_event_loop(None)
    assert of_entries(json.loads(response["body"])["predictions"]) == expected(choice)


def test_stream(choice, bundle):
    events = [{"id": str(number), "source": "s", "text": text} for number, text in enumerate(TEXTS)]
    settings, model = StreamSettings.load(), Classifier(bundle, threads=1)
    with counted("groundswell_stream_languages") as gained:
        batch = process_batch(messages(*events), model, settings, reject_languages=choice == "reject")
    assert gained == counts(list(TEXTS.values())[:: 1 if choice == "reject" else SAMPLE])
    reasons = {list(TEXTS)[message.offset()]: reason for message, reason in batch.dead_letters}
    classified = {list(TEXTS)[message.offset()] for message in batch.origins}
    assert {text: (code, text in classified) for text, code in TEXTS.items()} == expected(choice)
    assert reasons == {
        text: f"text {Languages().explain(code)}" for text, (code, is_classified) in expected(choice).items() if not is_classified
    }


def test_messages_rejected_for_their_language_do_not_end_the_worker(bundle):
    events = [{"id": str(number), "source": "s", "text": GERMAN} for number in range(300)]
    model = Classifier(bundle, threads=1)
    batch = process_batch(messages(*events), model, StreamSettings.load(), reject_languages=True)
    assert (len(batch.dead_letters), batch.rejected) == (300, 300)
    DeadLetterLimit(0.2).check(batch)
    batch.rejected = 0
    with pytest.raises(TooManyDeadLetters):
        DeadLetterLimit(0.2).check(batch)


def test_silver(choice):
    lines = [json.dumps({"id": "1", "text": text}) for text in TEXTS]
    found = [row["reason"] for (row,) in read_messages(pa.array(lines), Languages(reject=choice == "reject")).to_pylist()]
    assert found == [None if is_classified else f"language {code}" for code, is_classified in expected(choice).values()]


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
def test_score(choice, suffix, bundle, tmp_path):
    texts = [text.replace("\ud83d", "") for text in TEXTS]
    rows = [{"text": text, "more": 1} for text in texts] + [{"text": "merci!", "lang": "fr-CA"}, {"text": GERMAN, "lang": "en"}]
    file = tmp_path / f"texts{suffix}"
    if suffix == ".parquet":
        import pandas as pd

        pd.DataFrame(rows).to_parquet(file)
    else:
        file.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    classifier, out = Classifier(bundle, threads=1), tmp_path / "out.jsonl"
    result = score_file(file, classifier, text_column="text", out=out, languages=Languages(reject=choice == "reject"))
    foreign = counts([code for code in TEXTS.values() if code not in (None, "en")] + ["fr"])
    assert result.other_languages == foreign
    skipped = [json.loads(line)["skipped"] for line in out.read_text().splitlines()]
    assert skipped == [
        *(None if is_classified else f"language {code}" for code, is_classified in expected(choice).values()),
        *("language fr" if choice == "reject" else None, None),
    ]
    assert result.skipped == ({f"language {code}": texts for code, texts in foreign.items()} if choice == "reject" else {})


def test_classify(choice, bundle):
    results = classify_texts(list(TEXTS), bundle.directory)
    assert [result.pop("text") for result in results] == list(TEXTS)
    assert of_entries(results) == expected(choice)


def test_classify_prints_one_line_of_warning(bundle, tmp_path):
    def run(*texts):
        return CliRunner().invoke(cli, ["classify", "--bundle", str(bundle.directory), *texts])

    assert run(GERMAN).stderr == f"{WARNING}\n"
    spanish = next(text for text, code in TEXTS.items() if code == "es")
    assert run(GERMAN, "great film", spanish).stderr == (
        "2 of 3 texts are in German, Spanish; the model was measured on English only.\n"
    )
    assert run("great film", "the soup was awful and no one came").stderr == ""


@pytest.mark.parametrize(("stated", "language"), [("fr", "fr"), ("en-GB", "en"), ("und", "de"), ("💥", "de"), (None, "de")])
def test_stated_language_counts_in_stream_and_silver(stated, language, bundle):
    event = {"id": "1", "source": "s", "text": GERMAN, "lang": stated}
    batch = process_batch(messages(event), Classifier(bundle, threads=1), StreamSettings.load(), reject_languages=True)
    ((row,),) = read_messages(pa.array([json.dumps(event)]), Languages(reject=True)).to_pylist()
    if language == "en":
        assert not batch.dead_letters and row["reason"] is None
    else:
        assert batch.dead_letters[0][1] == f"text {Languages().explain(language)}"
        assert row["reason"] == f"language {language}"


def test_languages_of_the_bundle_are_understood(tmp_path, monkeypatch):
    monkeypatch.setenv("GROUNDSWELL_LANGUAGES__OTHER", "reject")
    made = tiny_bundle(tmp_path / "bundle", languages=("de", "en"))
    german, french = classify_texts([GERMAN, "La soupe était froide et personne n'est venu"], made.directory)
    assert german["language"] == "de" and "warning" not in german
    assert french["error"] == "is in French; the model was measured on German, English only"


PIECES = st.sampled_from(
    [*TEXTS, "@anna", "#schlecht", "https://t.co/abc", "😡", "&amp;", "\\u00e9", "\ud83d", "\ude21", "<b>", "ok "]
)


@given(st.lists(PIECES | st.text(alphabet=st.characters(exclude_categories=()), max_size=20), max_size=6).map("".join))
def test_any_text_gets_one_language_and_one_decision(text):
    reading, sent = read_texts([text], True), json.dumps({"id": "1", "text": text, "source": "s"})
    if reading.errors[0]:
        return
    language, rules = reading.languages[0], Languages(reject=True)
    assert language_of(text) == language
    ((row,),) = read_messages(pa.array([sent]), rules).to_pylist()
    assert row["reason"] == rules.rejection(language)
    assert _foreign({"text": text}, "text", rules, Counter()) == rules.rejection(language)
    event = decode(sent.encode())
    assert isinstance(event, Event) and language_of(event.text, event.lang) == language


def test_bundle_names_the_languages_of_its_training_datasets(monkeypatch):
    own = {"domain": "support", "license": "ours", "local": "own"}
    catalog = load_catalog({"a": {**own, "language": "de"}, "b": own, "corrections": {**own, "feedback": True}})
    monkeypatch.setattr(export, "load_catalog", lambda: catalog)
    for names, expected_languages in (("a", ("de",)), ("ab", ("de", "en")), ("", ("en",))):
        datasets = [{"name": name} for name in [*names, *(["corrections"] if names == "a" else [])]]
        assert export._languages_of({"datasets": datasets}) == expected_languages
    with pytest.raises(SettingsError, match="language"):
        load_catalog({"a": {**own, "language": "German"}})
