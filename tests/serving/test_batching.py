"""The batcher alone, with a stand-in for the model whose pace the test sets."""

import asyncio
import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.service.batching import Batcher, Overloaded


def batcher(run=lambda texts: [text.upper() for text in texts], **overrides):
    settings = {"workers": 2, "max_texts": 4, "window_s": 0.0, "deadline_s": 30.0} | overrides
    return Batcher(run, **settings)


class Gate:
    """A model that judges when it is told to, and remembers its batches."""

    def __init__(self):
        self.open, self.entered, self.batches = threading.Event(), threading.Event(), []

    def __call__(self, texts):
        self.batches.append(list(texts))
        self.entered.set()
        assert self.open.wait(100)
        return texts

    async def busy(self):
        await asyncio.to_thread(self.entered.wait, 20)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.lists(st.text(max_size=8), min_size=1, max_size=11), min_size=1, max_size=12), st.integers(1, 5))
def test_everybody_gets_the_answers_to_their_own_texts_in_their_order(callers, max_texts):
    sizes = []

    def run(texts):
        sizes.append(len(texts))
        return [text + "!" for text in texts]

    async def everyone():
        batches = batcher(run, max_texts=max_texts)
        found = await asyncio.gather(*(batches.submit(texts) for texts in callers))
        await batches.close()
        return found

    assert asyncio.run(everyone()) == [[text + "!" for text in texts] for texts in callers]
    assert max(sizes) <= max_texts and sum(sizes) == sum(map(len, callers))


def test_what_gathers_while_a_batch_runs_is_one_batch():
    gate = Gate()

    async def go():
        batches = batcher(gate, workers=1)
        first = asyncio.create_task(batches.submit(["a"]))
        await gate.busy()
        rest = [asyncio.create_task(batches.submit([text])) for text in "bcd"]
        await asyncio.sleep(0)
        gate.open.set()
        await asyncio.gather(first, *rest)
        await batches.close()

    asyncio.run(go())
    assert gate.batches == [["a"], ["b", "c", "d"]]


def test_a_caller_alone_waits_for_nobody():
    async def go():
        batches = batcher(window_s=20.0)
        async with asyncio.timeout(10):
            for _ in range(5):
                assert await batches.submit(["alone"]) == ["ALONE"]
        await batches.close()

    asyncio.run(go())


def test_after_company_a_batch_waits_for_more():
    gate = Gate()
    gate.open.set()

    async def go():
        batches = batcher(gate, workers=1, max_texts=2, window_s=20.0)
        await asyncio.gather(*(batches.submit([text]) for text in "ab"))
        late = asyncio.create_task(batches.submit(["c"]))
        await asyncio.sleep(0.05)  # it would have run long since
        await asyncio.gather(late, batches.submit(["d"]))
        await batches.close()

    asyncio.run(go())
    assert gate.batches[-1] == ["c", "d"]


def test_who_would_wait_past_the_deadline_is_refused_at_once():
    def slow(texts):
        time.sleep(0.02 * len(texts))
        return texts

    async def go():
        batches = batcher(slow, workers=1, deadline_s=0.1)
        await batches.submit(["to learn how long a text takes"])
        answers = await asyncio.gather(*(batches.submit(["x"]) for _ in range(50)), return_exceptions=True)
        await batches.close()
        return answers

    answers = asyncio.run(go())
    refused = [answer for answer in answers if isinstance(answer, Overloaded)]
    assert 0 < len(refused) < 50 and len(refused) + answers.count(["x"]) == 50
    assert all(error.retry_after_s >= 1 for error in refused)


def test_who_hangs_up_frees_the_place():
    gate = Gate()

    async def go():
        batches = batcher(gate, workers=1)
        first = asyncio.create_task(batches.submit(["a"]))
        await gate.busy()
        gone = asyncio.create_task(batches.submit(["gone"] * 3))
        stays = asyncio.create_task(batches.submit(["stays"]))
        await asyncio.sleep(0)
        assert batches.waiting_texts == 4
        gone.cancel()
        await asyncio.wait([gone])
        assert batches.waiting_texts == 1
        gate.open.set()
        await asyncio.gather(first, stays)
        await batches.close()

    asyncio.run(go())
    assert gate.batches == [["a"], ["stays"]]


def test_a_model_that_fails_fails_its_callers_and_nobody_after_them():
    def run(texts):
        if "bad" in texts:
            raise ValueError("broken")
        return texts

    async def go():
        batches = batcher(run)
        with pytest.raises(ValueError, match="broken"):
            await batches.submit(["bad"])
        assert await batches.submit(["good"]) == ["good"]
        await batches.close()

    asyncio.run(go())


def test_closing_answers_what_waits():
    gate = Gate()

    async def go():
        batches = batcher(gate, workers=1)
        asked = [asyncio.create_task(batches.submit([text])) for text in "abcdef"]
        await gate.busy()
        closing = asyncio.create_task(batches.close())
        await asyncio.sleep(0)
        gate.open.set()
        await closing
        return await asyncio.gather(*asked)

    assert asyncio.run(go()) == [[text] for text in "abcdef"]


def test_what_waits_is_shared_among_workers_that_have_nothing_to_do():
    gate = Gate()

    async def go():
        batches = batcher(gate, workers=2, max_texts=32)
        callers = [asyncio.create_task(batches.submit([str(n)])) for n in range(8)]
        while sum(map(len, gate.batches)) < 8:
            await asyncio.sleep(0.01)
        gate.open.set()
        await asyncio.gather(*callers)
        await batches.close()

    asyncio.run(go())
    assert sorted(map(len, gate.batches)) == [4, 4]


def test_one_batch_that_was_held_does_not_make_the_next_callers_unwelcome():
    pace = iter([0.01] * 5 + [2.0] + [0.01] * 100)

    async def go():
        batches = batcher(lambda texts: time.sleep(next(pace)) or texts, workers=1, max_texts=1, deadline_s=3.0)
        for _ in range(6):
            await batches.submit(["a"])
        found = await asyncio.gather(*(batches.submit(["b"]) for _ in range(40)), return_exceptions=True)
        await batches.close()
        return found

    assert asyncio.run(go()) == [["b"]] * 40
