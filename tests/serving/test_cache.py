"""The cache in front of a stub classifier that records its calls."""

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from data.cleaning import clean
from data.labels import LABELS
from serving.classifier import Classification, Window
from serving.service.cache.predictions import Cache, pack, unpack
from serving.service.cache.stores import SQLiteStore


def prediction(text):
    label = LABELS[len(clean(text)) % 3]
    return Classification(label, 0.5, tuple(0.5 if name == label else 0.25 for name in LABELS))  # type: ignore[arg-type]


class StubClassifier:
    """Classifies by the cleaned length once `go` is set; records the texts of each call."""

    def __init__(self, *, waits=False, fails=False):
        self.calls, self.fails, self.go = [], fails, asyncio.Event()
        self.entered = asyncio.Event()
        if not waits:
            self.go.set()

    async def __call__(self, texts, tier, head, for_job):
        self.calls.append(list(texts))
        self.entered.set()
        await self.go.wait()
        if self.fails:
            raise RuntimeError("broken")
        return [prediction(text) for text in texts]


def cache(classifier, fingerprint="one", texts=100, store=None):
    return Cache(classifier, fingerprint, texts=texts, store=store, ttl_s=60)


@given(st.integers(0, 2), st.lists(st.integers(0, 10_000), min_size=3, max_size=3))
def test_pack_is_lossless(label, parts):
    negative, neutral, positive = (part / 10_000 for part in parts)
    windows = (Window(0, 400, (1.0, 0.0, 0.0)), Window(401, 70_000, (negative, neutral, positive)))
    one = Classification(LABELS[label], parts[label] / 10_000, (negative, neutral, positive), windows[: parts[0] % 3])
    assert unpack(pack(one)) == one and len(pack(one)) == 7 + 14 * len(one.windows)


@given(st.lists(st.lists(st.text(max_size=3), min_size=1, max_size=6), min_size=1, max_size=8))
def test_callers_get_the_classifiers_predictions_and_no_text_is_classified_twice(callers):
    async def go():
        classifier = StubClassifier()
        front = cache(classifier)
        found = await asyncio.gather(*(front.classify(texts) for texts in callers))
        again = [await front.classify(texts) for texts in callers]
        return classifier.calls, found, again, front

    calls, found, again, front = asyncio.run(go())
    expected = [[prediction(text).label for text in texts] for texts in callers]
    assert [[each.label for each in predictions] for predictions in found] == expected
    assert found == again
    keys = [front.key(text) for texts in calls for text in texts]
    assert len(keys) == len(set(keys)) == len({front.key(text) for texts in callers for text in texts})


def test_equal_concurrent_texts_are_classified_once():
    async def go():
        classifier = StubClassifier(waits=True)
        front = cache(classifier)
        callers = [asyncio.create_task(front.classify(["the same", f"mine {n}"])) for n in range(20)]
        await classifier.entered.wait()
        classifier.go.set()
        predictions = await asyncio.gather(*callers)
        return [text for texts in classifier.calls for text in texts], predictions

    calls, predictions = asyncio.run(go())
    assert calls.count("the same") == 1 and len(calls) == 21
    assert all(found == [prediction("the same"), prediction(f"mine {n}")] for n, found in enumerate(predictions))


def test_new_model_never_gets_predictions_of_the_old_model(tmp_path):
    async def go():
        store = SQLiteStore(tmp_path / "predictions.db")
        first, second, third = StubClassifier(), StubClassifier(), StubClassifier()
        one = cache(first, "one", store=store)
        await one.classify(["a text"])
        await one._unwritten.join()
        await cache(second, "two", store=store).classify(["a text"])
        await cache(third, "one", store=store).classify(["a text"])
        await one.close()
        return first.calls, second.calls, third.calls

    assert asyncio.run(go()) == ([["a text"]], [["a text"]], [])


def test_second_caller_gets_the_prediction_after_the_first_disconnects():
    async def go():
        classifier = StubClassifier(waits=True)
        front = cache(classifier)
        first = asyncio.create_task(front.classify(["text"]))
        await classifier.entered.wait()
        second = asyncio.create_task(front.classify(["text"]))
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.wait([first])
        classifier.go.set()
        return await second, classifier.calls

    assert asyncio.run(go()) == ([prediction("text")], [["text"]])


def test_classification_is_cancelled_when_all_callers_disconnect():
    async def go():
        classifier = StubClassifier(waits=True)
        front = cache(classifier)
        callers = [asyncio.create_task(front.classify(["text"])) for _ in range(3)]
        await classifier.entered.wait()
        for caller in callers:
            caller.cancel()
        await asyncio.wait(callers)
        classifier.go.set()
        return await front.classify(["text"]), classifier.calls

    assert asyncio.run(go()) == ([prediction("text")], [["text"], ["text"]])


def test_failure_reaches_all_callers_and_is_not_cached():
    async def go():
        classifier = StubClassifier(fails=True)
        front = cache(classifier)
        found = await asyncio.gather(*(front.classify(["text"]) for _ in range(3)), return_exceptions=True)
        classifier.fails = False
        return found, await front.classify(["text"])

    found, afterwards = asyncio.run(go())
    assert all(isinstance(error, RuntimeError) for error in found) and afterwards == [prediction("text")]


def test_memory_is_bounded():
    async def go():
        classifier = StubClassifier()
        front = cache(classifier, texts=10)
        for n in range(50):
            await front.classify([f"text {n}"])
        await front.classify(["text 49"])
        await front.classify(["text 0"])
        return len(classifier.calls)

    assert asyncio.run(go()) == 51


def test_request_does_not_wait_for_a_job_with_the_same_text_and_a_job_does_for_a_request():
    async def go():
        classifier = StubClassifier(waits=True)
        front = cache(classifier)
        tasks = []
        for for_job in (True, True, False, True, False):
            tasks.append(asyncio.create_task(front.classify(["the same"], for_job=for_job)))
            await asyncio.sleep(0)
        await classifier.entered.wait()
        for _ in range(5):
            await asyncio.sleep(0)
        classifier.go.set()
        return classifier.calls, await asyncio.gather(*tasks)

    calls, predictions = asyncio.run(go())
    assert calls == [["the same"]] * 2, "once for the jobs, once for the requests"
    assert all(found == [prediction("the same")] for found in predictions)
