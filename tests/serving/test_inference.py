"""The inference service: each text is cleaned once for cache key, model and response; large texts off the event loop."""

import asyncio
import threading
from contextlib import contextmanager

import pytest

from data.cleaning import clean
from serving.service import inference as inference_module
from serving.service.inference import InferenceService
from serving.service.jobs.queue import PLAIN, Options
from serving.settings import ServingSettings
from tests.models import tiny_bundle

LONG = "the soup &amp;amp; great film " * 200


@pytest.fixture
def service(tmp_path):
    made = InferenceService(tiny_bundle(tmp_path / "bundle"), ServingSettings.load(prediction_store="memory"))
    yield made
    made._batcher._threads.shutdown()


@contextmanager
def counted(monkeypatch):
    """Record the texts that are cleaned and the threads that clean them; cleaning in the classifier fails."""
    seen, threads = [], set()

    def count(text):
        seen.append(text)
        threads.add(threading.get_ident())
        return clean(text)

    with monkeypatch.context() as patched:
        patched.setattr(inference_module, "clean", count)
        patched.setattr("serving.classifier.clean", lambda text: pytest.fail("cleaned again"))
        yield seen, threads


def test_each_text_is_cleaned_once(service, monkeypatch):
    texts = ["a great film", LONG, " ", "an awful&nbsp;soup", None]
    with counted(monkeypatch) as (seen, _):
        found = asyncio.run(service.entries(texts, Options(True)))
    assert seen == texts[:4]
    assert [entry.get("label", entry.get("error")) for entry in found] == [
        "positive",
        "positive",
        "is blank",
        "negative",
        "is not a string",
    ]
    assert " ".join(window["text"] for window in found[1]["windows"]) == clean(LONG)


def test_too_long_text_is_not_cleaned(service, monkeypatch):
    with counted(monkeypatch) as (seen, _):
        (found,) = asyncio.run(service.entries(["&amp;" * 30_000], PLAIN))
    assert seen == [] and "characters" in found["error"]


def test_texts_equal_after_cleaning_are_classified_once(service):
    async def go():
        return await service.entries(["fish &amp; chips", "fish & chips", "fish  &  chips"], PLAIN)

    assert len({tuple(entry.items()) for entry in asyncio.run(go())}) == 1
    assert service.describe()["cost"]["texts"] == 1


@pytest.mark.parametrize(("texts", "off"), [(["a great film"], False), ([LONG, LONG], True)])
def test_large_texts_are_cleaned_off_the_event_loop_and_small_ones_on_it(texts, off, service, monkeypatch):
    with counted(monkeypatch) as (_, threads):
        asyncio.run(service.entries(texts, PLAIN))
    assert (threading.get_ident() not in threads) == off
