"""The batcher alone, with a stub model whose speed the test controls."""

import asyncio
import os
import sys
import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.service.batching import JOB_NICE, Batcher, Overloaded
from tests.waiting import BOUND_S


def batcher(run=lambda texts: [text.upper() for text in texts], **overrides):
    settings = {"workers": 2, "max_texts": 4, "deadline_s": 30.0} | overrides
    return Batcher(run, **settings)


class ControlledModel:
    """A model that runs when the test opens it, and records its batches."""

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
def test_each_caller_gets_the_results_of_its_texts_in_order(callers, max_texts):
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


def test_texts_queued_during_a_batch_form_one_batch():
    model = ControlledModel()

    async def go():
        batches = batcher(model, workers=1)
        first = asyncio.create_task(batches.submit(["a"]))
        await model.busy()
        rest = [asyncio.create_task(batches.submit([text])) for text in "bcd"]
        await asyncio.sleep(0)
        model.open.set()
        await asyncio.gather(first, *rest)
        await batches.close()

    asyncio.run(go())
    assert model.batches == [["a"], ["b", "c", "d"]]


def test_idle_thread_runs_what_waits_at_once_also_after_a_shared_batch():
    model = ControlledModel()

    async def go():
        batches = batcher(model, workers=2, max_texts=2)
        shared = [asyncio.create_task(batches.submit([text])) for text in "abcd"]
        await model.busy()
        model.open.set()
        await asyncio.gather(*shared)
        for text in "efg":
            assert await batches.submit([text]) == [text]
        await batches.close()

    asyncio.run(go())
    assert sorted(model.batches[:2]) == [["a", "b"], ["c", "d"]] and model.batches[2:] == [["e"], ["f"], ["g"]]


def test_request_that_would_miss_the_deadline_is_refused_at_once():
    def slow(texts):
        time.sleep(0.02 * len(texts))
        return texts

    async def go():
        batches = batcher(slow, workers=1, deadline_s=0.1)
        await batches.submit(["to measure the time of a text"])
        results = await asyncio.gather(*(batches.submit(["x"]) for _ in range(50)), return_exceptions=True)
        await batches.close()
        return results

    results = asyncio.run(go())
    refused = [result for result in results if isinstance(result, Overloaded)]
    assert 0 < len(refused) < 50 and len(refused) + results.count(["x"]) == 50
    assert all(error.retry_after_s >= 1 for error in refused)


def test_disconnected_client_frees_its_slot():
    model = ControlledModel()

    async def go():
        batches = batcher(model, workers=1)
        first = asyncio.create_task(batches.submit(["a"]))
        await model.busy()
        gone = asyncio.create_task(batches.submit(["gone"] * 3))
        stays = asyncio.create_task(batches.submit(["stays"]))
        await asyncio.sleep(0)
        assert batches.waiting_texts == 4
        gone.cancel()
        await asyncio.wait([gone])
        assert batches.waiting_texts == 1
        model.open.set()
        await asyncio.gather(first, stays)
        await batches.close()

    asyncio.run(go())
    assert model.batches == [["a"], ["stays"]]


def test_model_failure_reaches_its_callers_only():
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


def test_close_runs_the_texts_that_wait():
    model = ControlledModel()

    async def go():
        batches = batcher(model, workers=1)
        asked = [asyncio.create_task(batches.submit([text])) for text in "abcdef"]
        await model.busy()
        closing = asyncio.create_task(batches.close())
        await asyncio.sleep(0)
        model.open.set()
        await closing
        return await asyncio.gather(*asked)

    assert asyncio.run(go()) == [[text] for text in "abcdef"]


def test_queued_texts_are_split_among_idle_workers():
    model = ControlledModel()

    async def go():
        batches = batcher(model, workers=2, max_texts=32)
        callers = [asyncio.create_task(batches.submit([str(n)])) for n in range(8)]
        while sum(map(len, model.batches)) < 8:
            await asyncio.sleep(0.01)
        model.open.set()
        await asyncio.gather(*callers)
        await batches.close()

    asyncio.run(go())
    assert sorted(map(len, model.batches)) == [4, 4]


def test_one_slow_batch_does_not_refuse_the_next_callers():
    pace = iter([0.01] * 5 + [2.0] + [0.01] * 100)

    async def go():
        batches = batcher(lambda texts: time.sleep(next(pace)) or texts, workers=1, max_texts=1, deadline_s=3.0)
        for _ in range(6):
            await batches.submit(["a"])
        found = await asyncio.gather(*(batches.submit(["b"]) for _ in range(40)), return_exceptions=True)
        await batches.close()
        return found

    assert asyncio.run(go()) == [["b"]] * 40


def test_request_does_not_wait_for_a_job_and_a_job_not_for_requests():
    """Each has threads of its own: whichever is stuck, the other continues."""
    stuck, free = threading.Event(), threading.Event()

    def run(texts):
        assert (stuck if texts[0].startswith("stuck") else free).wait(100)
        return texts

    async def go():
        batches = batcher(run, workers=1)
        free.set()
        waiting = [asyncio.create_task(batches.submit([f"stuck job {n}" for n in range(20)], for_job=True))]
        await asyncio.sleep(0)
        for text in "abc":
            assert await batches.submit([text]) == [text]
        stuck.set()
        assert await waiting.pop() == [f"stuck job {n}" for n in range(20)]
        stuck.clear()
        waiting.append(asyncio.create_task(batches.submit(["stuck request"])))
        await asyncio.sleep(0)
        assert len(await batches.submit([f"job {n}" for n in range(20)], for_job=True)) == 20
        assert batches.expected_wait_s() >= 0 and batches.waiting_texts == 0
        stuck.set()
        await waiting.pop()
        await batches.close()

    asyncio.run(go())


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has a priority for each thread")
def test_threads_for_jobs_have_a_low_priority_and_only_they():
    priorities = {}

    def run(texts):
        priorities[texts[0]] = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
        return texts

    async def go():
        batches = batcher(run)
        await batches.submit(["request"])
        await batches.submit(["job"], for_job=True)
        await batches.close()

    asyncio.run(go())
    usual = os.getpriority(os.PRIO_PROCESS, 0)
    assert priorities == {"request": usual, "job": max(usual, JOB_NICE)}


def test_job_gets_the_other_threads_when_it_becomes_quiet(monkeypatch):
    """No request and no part of a job comes at that moment: time alone wakes the idle thread."""
    monkeypatch.setattr("serving.service.batching.QUIET_S", 0.2)
    model = ControlledModel()

    async def go():
        model.open.set()
        batches = batcher(model, workers=2)
        await batches.submit(["a request"])
        model.open.clear()
        job = asyncio.create_task(batches.submit([f"job{n}" for n in range(32)], for_job=True))
        async with asyncio.timeout(BOUND_S):
            while len(model.batches) < 3:  # the request, and two batches of the job at once
                await asyncio.sleep(0.001)
        model.open.set()
        found = await job
        await batches.close()
        return found

    assert asyncio.run(go()) == [f"job{n}" for n in range(32)]


def test_short_part_of_a_job_is_sorted_by_length_too():
    batches_seen = []

    async def go():
        batches = batcher(lambda texts: batches_seen.append(list(texts)) or texts, workers=1, max_texts=32)
        texts = [("long " * 5 if n % 2 else "s") + str(n) for n in range(16)]
        found = await batches.submit(texts, for_job=True)
        await batches.close()
        return found == texts

    assert asyncio.run(go())
    assert [len({len(text) > 10 for text in batch}) for batch in batches_seen] == [1, 1]


def test_jobs_leave_a_thread_for_requests_until_it_is_quiet(monkeypatch):
    model = ControlledModel()

    async def started(count):
        async with asyncio.timeout(BOUND_S):
            while len(model.batches) < count:
                await asyncio.sleep(0.001)

    async def go(quiet_s):
        monkeypatch.setattr("serving.service.batching.QUIET_S", quiet_s)
        model.batches.clear()
        model.open.set()
        batches = batcher(model, workers=2)
        await batches.submit(["a request"])
        model.open.clear()
        job = asyncio.create_task(batches.submit([f"job{n}" for n in range(32)], for_job=True))
        await started(2)
        for _ in range(20):  # time for a second batch to start, if it may
            await asyncio.sleep(0.001)
        busy = len(model.batches) - 1
        request = asyncio.create_task(batches.submit(["another request"]))
        if busy == 1:
            await started(3)
            assert model.batches[-1] == ["another request"]
        model.open.set()
        assert await request == ["another request"] and len(await job) == 32
        await batches.close()
        return busy

    assert asyncio.run(go(1000.0)) == 1 and asyncio.run(go(-1.0)) == 2


def test_jobs_have_no_deadline_and_refuse_no_request():
    model = ControlledModel()

    async def go():
        batches = batcher(model, workers=1, deadline_s=0.01)
        first = asyncio.create_task(batches.submit(["first"]))
        await model.busy()
        job = asyncio.create_task(batches.submit([f"job{n}" for n in range(100)], for_job=True))
        await asyncio.sleep(0.05)
        assert batches.full() is None
        model.open.set()
        await first
        found = await job
        await batches.close()
        return found

    assert asyncio.run(go()) == [f"job{n}" for n in range(100)]
