"""A worker's cache changes no prediction: it remembers by text, bundle, operating point and head, and holds no text."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.classifier import Classifier
from serving.streaming.worker import metrics
from serving.streaming.worker.cache import CachingModel
from tests.models import tiny_bundle

TEXTS = ["a great film", "an awful soup", "a great film", "the number", "A great  film", "", "🙂"]


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    return Classifier(tiny_bundle(tmp_path_factory.mktemp("tiny")), threads=1)


class Counting:
    """A classifier that records what it is asked for."""

    def __init__(self, classifier):
        self._classifier, self.asked = classifier, []

    def __getattr__(self, name):
        return getattr(self._classifier, name)

    def classify_cleaned(self, texts, tier="base", *, domains=None):
        self.asked.append((list(texts), tier, list(domains)))
        return self._classifier.classify_cleaned(texts, tier, domains=domains)


def cached():
    return metrics.CACHED._value.get()


def test_repeated_texts_are_classified_once_and_the_same(classifier):
    counting = Counting(classifier)
    model, before = CachingModel(counting, 100), cached()
    first, _ = model.classify_timed(TEXTS)
    again, timings = model.classify_timed(TEXTS[::-1])
    assert first == classifier.classify(TEXTS) and again == first[::-1]
    asked = [text for texts, _, _ in counting.asked for text in texts]
    assert len(asked) == len(set(asked)) == 6, "each cleaned text once"
    assert timings.texts == 0 and cached() - before == 1 + len(TEXTS)


def test_head_and_operating_point_have_predictions_of_their_own(classifier):
    counting = Counting(classifier)
    bundle = classifier.bundle
    counting.bundle = replace(bundle, manifest=bundle.manifest.model_copy(update={"heads": ("general", "finance")}))
    model = CachingModel(counting, 100)
    for domain, tier in (("finance", "base"), ("news", "base"), (None, "base"), ("finance", "auto"), ("finance", "base")):
        model.classify_timed(["a great film"], tier, domains=[domain])
    assert [(tier, heads) for texts, tier, heads in counting.asked if texts] == [
        ("base", ["finance"]),
        ("base", ["general"]),
        ("auto", ["finance"]),
    ]


@settings(max_examples=30)
@given(st.lists(st.lists(st.sampled_from(TEXTS), max_size=9), max_size=6), st.integers(1, 4))
def test_any_order_of_batches_and_any_size_give_the_classifiers_predictions(classifier, batches, size):
    model = CachingModel(classifier, size)
    right = dict(zip(TEXTS, classifier.classify(TEXTS), strict=True))
    for batch in batches:
        assert model.classify_timed(batch)[0] == [right[text] for text in batch]


def test_many_threads_get_the_right_predictions(classifier):
    model, gate = CachingModel(classifier, 3), threading.Barrier(4)
    right = classifier.classify(TEXTS)

    def work(number):
        gate.wait(60)
        return [model.classify_timed(TEXTS)[0] for _ in range(20)]

    with ThreadPoolExecutor(4) as pool:
        assert all(found == right for results in pool.map(work, range(4)) for found in results)


def test_failure_leaves_nothing_behind(classifier):
    model = CachingModel(classifier, 10)
    with pytest.raises(Exception, match="Unknown tier"):
        model.classify_timed(["a great film"], "unheard-of")
    assert model.classify_timed(["a great film"])[0] == classifier.classify(["a great film"])
