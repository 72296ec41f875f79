"""The cache in front of a judge that the test watches."""

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from data.cleaning import clean
from data.labels import LABELS
from serving.classifier import Classification, Window
from serving.service.cache import Cache, pack, unpack
from serving.service.stores import SQLiteStore


def answer(text):
    label = LABELS[len(clean(text)) % 3]
    return Classification(label, 0.5, tuple(0.5 if name == label else 0.25 for name in LABELS))  # type: ignore[arg-type]


class Judge:
    """Answers by the cleaned length, when it is let; remembers what it was asked."""

    def __init__(self, *, waits=False, fails=False):
        self.asked, self.fails, self.go = [], fails, asyncio.Event()
        self.entered = asyncio.Event()
        if not waits:
            self.go.set()

    async def __call__(self, texts):
        self.asked.append(list(texts))
        self.entered.set()
        await self.go.wait()
        if self.fails:
            raise RuntimeError("broken")
        return [answer(text) for text in texts]


def cache(judge, fingerprint="one", texts=100, store=None):
    return Cache(judge, fingerprint, texts=texts, store=store, ttl_s=60)


@given(st.integers(0, 2), st.lists(st.integers(0, 10_000), min_size=3, max_size=3))
def test_packing_loses_nothing(label, parts):
    negative, neutral, positive = (part / 10_000 for part in parts)
    windows = (Window(0, 400, (1.0, 0.0, 0.0)), Window(401, 70_000, (negative, neutral, positive)))
    one = Classification(LABELS[label], parts[label] / 10_000, (negative, neutral, positive), windows[: parts[0] % 3])
    assert unpack(pack(one)) == one and len(pack(one)) == 7 + 14 * len(one.windows)


@given(st.lists(st.lists(st.text(max_size=3), min_size=1, max_size=6), min_size=1, max_size=8))
def test_every_caller_gets_what_the_judge_would_say_and_no_text_is_judged_twice(callers):
    async def go():
        judge = Judge()
        front = cache(judge)
        found = await asyncio.gather(*(front.judge(texts) for texts in callers))
        again = [await front.judge(texts) for texts in callers]
        return judge.asked, found, again, front

    asked, found, again, front = asyncio.run(go())
    assert [[a.label for a in answers] for answers in found] == [[answer(t).label for t in texts] for texts in callers]
    assert found == again
    keys = [front.key(text) for texts in asked for text in texts]
    assert len(keys) == len(set(keys)) == len({front.key(text) for texts in callers for text in texts})


def test_equal_texts_at_the_same_time_are_judged_once():
    async def go():
        judge = Judge(waits=True)
        front = cache(judge)
        callers = [asyncio.create_task(front.judge(["the same", f"mine {n}"])) for n in range(20)]
        await judge.entered.wait()
        judge.go.set()
        answers = await asyncio.gather(*callers)
        return [text for texts in judge.asked for text in texts], answers

    asked, answers = asyncio.run(go())
    assert asked.count("the same") == 1 and len(asked) == 21
    assert all(found == [answer("the same"), answer(f"mine {n}")] for n, found in enumerate(answers))


def test_another_model_never_finds_the_answers_of_the_one_before(tmp_path):
    async def go():
        store = SQLiteStore(tmp_path / "answers.db")
        first, second, third = Judge(), Judge(), Judge()
        one = cache(first, "one", store=store)
        await one.judge(["a text"])
        await one._unwritten.join()
        await cache(second, "two", store=store).judge(["a text"])
        await cache(third, "one", store=store).judge(["a text"])
        await one.close()
        return first.asked, second.asked, third.asked

    assert asyncio.run(go()) == ([["a text"]], [["a text"]], [])


def test_the_first_to_ask_hangs_up_and_the_second_gets_the_answer():
    async def go():
        judge = Judge(waits=True)
        front = cache(judge)
        first = asyncio.create_task(front.judge(["text"]))
        await judge.entered.wait()
        second = asyncio.create_task(front.judge(["text"]))
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.wait([first])
        judge.go.set()
        return await second, judge.asked

    assert asyncio.run(go()) == ([answer("text")], [["text"]])


def test_when_all_hang_up_the_work_is_given_up_and_the_next_starts_anew():
    async def go():
        judge = Judge(waits=True)
        front = cache(judge)
        callers = [asyncio.create_task(front.judge(["text"])) for _ in range(3)]
        await judge.entered.wait()
        for caller in callers:
            caller.cancel()
        await asyncio.wait(callers)
        judge.go.set()
        return await front.judge(["text"]), judge.asked

    assert asyncio.run(go()) == ([answer("text")], [["text"], ["text"]])


def test_a_failure_reaches_all_who_wait_and_is_not_remembered():
    async def go():
        judge = Judge(fails=True)
        front = cache(judge)
        found = await asyncio.gather(*(front.judge(["text"]) for _ in range(3)), return_exceptions=True)
        judge.fails = False
        return found, await front.judge(["text"])

    found, afterwards = asyncio.run(go())
    assert all(isinstance(error, RuntimeError) for error in found) and afterwards == [answer("text")]


def test_memory_is_bounded():
    async def go():
        judge = Judge()
        front = cache(judge, texts=10)
        for n in range(50):
            await front.judge([f"text {n}"])
        await front.judge(["text 49"])
        await front.judge(["text 0"])
        return len(judge.asked)

    assert asyncio.run(go()) == 51
