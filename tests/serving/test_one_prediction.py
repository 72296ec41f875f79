"""Any Unicode text gets the same decision and prediction on every path, alone and among others. In process, with a tiny model."""

import asyncio
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from data.readable import MAX_TEXT_CHARS, unreadable
from serving.aws import handlers
from serving.classifier import Classifier
from serving.lakehouse.classify import CachingClassifier
from serving.lakehouse.messages import read_messages
from serving.score import score_file
from serving.service.app import create_app
from serving.service.inference import InferenceService
from serving.service.jobs.queue import Options
from serving.service.middleware.admission import Authenticator
from serving.settings import ServingSettings, StreamSettings
from serving.streaming.worker.processing import process_batch
from tests.models import headed_bundle
from tests.serving.test_aws import gateway

OTHERS = ["a great film", "an awful soup 😡", "\u200b", "the train leaves at noon " * 40]
PIECES = [
    "great ",
    "awful ",
    "film",
    "😡",
    "👍🏽",
    "é",
    "\u200d",
    "&amp;",
    "<b>",
    "</b>",
    "\\u0041",
    "@anna",
    "http://x.y",
    "हिंदी",
    "ｇｏｏｄ",
    "\ud83d",
]
TEXTS = st.text(st.characters(), max_size=40) | st.lists(st.sampled_from(PIECES), max_size=12).map("".join)
Prediction = tuple[str, tuple[float, ...], float | None] | None
"""Label, probabilities and probability of sarcasm."""


class Paths:
    """Every way by which a text is classified."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        bundle = headed_bundle(folder / "bundle")
        self.classifier = Classifier(bundle, threads=1)
        self.gold = CachingClassifier(bundle.directory, threads=1)
        self.loop = handlers._loop()
        self.service = self.loop.run_until_complete(self._service(bundle))
        self.app = create_app(lambda: self.service, lambda: Authenticator(None))

    async def _service(self, bundle: Any) -> InferenceService:
        return InferenceService(bundle, ServingSettings.load(prediction_store="memory", min_free_disk=0))

    def api(self, texts: list[str], domain: str | None = None) -> list[Prediction]:
        async def post() -> httpx.Response:
            transport = httpx.ASGITransport(self.app)
            async with httpx.AsyncClient(transport=transport, base_url="http://localhost", timeout=60) as client:
                headers = {"Content-Type": "application/json"}
                return await client.post("/v1/classify", content=body(texts, domain), headers=headers)

        return predictions_of(self.loop.run_until_complete(post()).json())

    def lambda_api(self, texts: list[str], domain: str | None = None) -> list[Prediction]:
        asyncio.set_event_loop(self.loop)
        response = handlers.api(gateway("POST", "/v1/classify", body(texts, domain)), None)
        return predictions_of(json.loads(response["body"]))

    def jobs(self, texts: list[str], domain: str | None = None) -> list[Prediction]:
        """Classify as jobs do, of the service and of Lambda."""
        return [
            prediction(one) for one in self.loop.run_until_complete(self.service.entries(texts, Options(True, domain=domain)))
        ]

    def stream(self, texts: list[str], domain: str | None = None) -> list[Prediction]:
        """Half of the messages name their domain, of the others it is that of the source."""
        own = {"source": "s", "domain": domain}
        events = [{"id": str(n), "text": text, **(own if n % 2 else {"source": "known"})} for n, text in enumerate(texts)]
        sent = [Sent(n, json.dumps(event).encode()) for n, event in enumerate(events)]
        batch = process_batch(sent, self.classifier, StreamSettings.load(), domains={"known": domain} if domain else None)
        rows = {row["offset"]: (row["label"], tuple(row["probabilities"]), row["sarcasm"]) for row in map(json.loads, batch.rows)}
        assert set(rows) | {message.offset() for message, _ in batch.dead_letters} == set(range(len(texts)))
        return [rows.get(n) for n in range(len(texts))]

    def lakehouse(self, texts: list[str], domain: str | None = None) -> list[Prediction]:
        lines = [json.dumps({"id": str(n), "text": text}) for n, text in enumerate(texts)]
        rows = [row for (row,) in read_messages(pa.array(lines)).to_pylist()]
        cleaned = [row["cleaned"] for row in rows if row["reason"] is None]
        classified = iter(self.gold.predict(cleaned, [domain] * len(cleaned)))
        return [
            (one[0], tuple(one[2:5]), one[5]) if row["reason"] is None and (one := next(classified)) else None for row in rows
        ]

    def score(self, texts: list[str], domain: str | None = None) -> list[Prediction]:
        file, out = self.folder / "in.jsonl", self.folder / "out.jsonl"
        file.write_text("\n".join(json.dumps({"text": text}) for text in texts))
        score_file(file, self.classifier, text_column="text", domain=domain, out=out)
        lines = map(json.loads, out.read_text().splitlines())
        return [
            (line["label"], tuple(line[name] for name in ("negative", "neutral", "positive")), line["sarcasm"])
            if line["label"]
            else None
            for line in lines
        ]


class Sent(SimpleNamespace):
    def __init__(self, offset: int, value: bytes) -> None:
        super().__init__(
            offset=lambda: offset,
            value=lambda: value,
            partition=lambda: 0,
            topic=lambda: "t",
            timestamp=lambda: (1, 1_790_000_000_000),
        )


def body(texts: list[str], domain: str | None) -> str:
    return json.dumps({"texts": texts, "detail": True, "domain": domain})


def predictions_of(response: dict[str, Any]) -> list[Prediction]:
    if response.get("status") == 422:  # no text of the request can be classified
        return [None]
    return [prediction(one) for one in response["predictions"]]


def prediction(entry: dict[str, Any]) -> Prediction:
    return None if "error" in entry else (entry["label"], tuple(entry["probabilities"].values()), entry["sarcasm"])


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    made = Paths(tmp_path_factory.mktemp("paths"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(handlers, "_inference", lambda: made.service)
        handlers._http.cache_clear()
        yield made
    handlers._http.cache_clear()
    made.loop.run_until_complete(made.service.close())


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=TEXTS, domain=st.sampled_from([None, "finance", "news"]))
@example(text="awful 😡 soup, great film &amp; " * 300, domain=None)
@example(text="awful 😡 soup, great film &amp; " * 300, domain="finance")
@example(text="\ud83d", domain=None)
@example(text="great\0film", domain="finance")
def test_every_path_decides_and_predicts_the_same(paths, text, domain):
    alone: Prediction = None
    if unreadable(text, MAX_TEXT_CHARS) is None:
        (found,) = paths.classifier.classify([text], domains=[domain])
        alone = found.label, tuple(found.probabilities), found.sarcasm
    for name in ("api", "lambda_api", "jobs", "stream", "lakehouse", "score"):
        *_, among = getattr(paths, name)([*OTHERS, text], domain)
        assert among == alone, name
    for name in ("api", "lambda_api", "jobs", "stream", "lakehouse"):
        assert getattr(paths, name)([text], domain) == [alone], name
