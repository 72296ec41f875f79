"""One cleaning of each text, which the cache's key, the model and the response share; off the event loop where it is large."""

import asyncio
import threading
from contextlib import contextmanager

import pytest

from data.cleaning import clean
from serving.service import answering as answering_module
from serving.service.answering import Answering
from serving.settings import ServingSettings
from tests.models import tiny_bundle

LONG = "the soup &amp;amp; great film " * 200


@pytest.fixture
def here(tmp_path):
    made = Answering(tiny_bundle(tmp_path / "bundle"), ServingSettings.load(answers="memory"))
    yield made
    made._batcher._threads.shutdown()


@contextmanager
def counted(monkeypatch):
    """Texts that are cleaned, and the threads that clean them; anywhere else cleaning fails."""
    seen, threads = [], set()

    def count(text):
        seen.append(text)
        threads.add(threading.get_ident())
        return clean(text)

    with monkeypatch.context() as patched:
        patched.setattr(answering_module, "clean", count)
        patched.setattr("serving.classifier.clean", lambda text: pytest.fail("cleaned again"))
        yield seen, threads


def test_each_text_is_cleaned_once_on_its_way(here, monkeypatch):
    texts = ["a great film", LONG, " ", "an awful&nbsp;soup", None]
    with counted(monkeypatch) as (seen, _):
        found = asyncio.run(here.entries(texts, True))
    assert seen == texts[:4]
    assert [entry.get("label", entry.get("error")) for entry in found] == [
        "positive",
        "positive",
        "is blank",
        "negative",
        "is not a string",
    ]
    assert " ".join(window["text"] for window in found[1]["windows"]) == clean(LONG)


def test_texts_that_are_too_long_are_not_cleaned_at_all(here, monkeypatch):
    with counted(monkeypatch) as (seen, _):
        (found,) = asyncio.run(here.entries(["&amp;" * 30_000], False))
    assert seen == [] and "characters" in found["error"]


def test_what_cleaning_makes_equal_is_classified_once(here):
    async def go():
        return await here.entries(["fish &amp; chips", "fish & chips", "fish  &  chips"], False)

    assert len({tuple(entry.items()) for entry in asyncio.run(go())}) == 1
    assert here.describe()["cost"]["texts"] == 1


@pytest.mark.parametrize(("texts", "off"), [(["a great film"], False), ([LONG, LONG], True)])
def test_large_texts_are_cleaned_off_the_event_loop_and_small_ones_on_it(texts, off, here, monkeypatch):
    with counted(monkeypatch) as (_, threads):
        asyncio.run(here.entries(texts, False))
    assert (threading.get_ident() not in threads) == off
