"""The pool of a stream worker returns batches in the order of reading, however long each takes."""

import threading
from concurrent.futures import CancelledError

import pytest

from serving.streaming.worker.classify_pool import ClassifyPool
from serving.streaming.worker.processing import ProcessedBatch
from serving.streaming.worker.signals import Signals

WAIT_S = 60
"""Until a test that hangs fails."""


class Held:
    """Classifies a batch once it is released."""

    def __init__(self):
        self.release = {name: threading.Event() for name in "abc"}

    def __call__(self, batch):
        assert self.release[batch[0]].wait(WAIT_S)
        if batch[0] == "c":
            raise RuntimeError("the model is broken")
        return ProcessedBatch(messages=list(batch))


@pytest.fixture
def held():
    made = Held()
    yield made
    for event in made.release.values():
        event.set()


def classified(signals, pool, unprocessed):
    with signals.changed:
        return signals.changed.wait_for(lambda: pool.unprocessed == unprocessed, WAIT_S)


def test_batch_that_is_classified_first_waits_for_the_one_read_before(held):
    signals = Signals()
    pool = ClassifyPool(2, held, signals)
    pool.submit(["a"], 1)
    pool.submit(["b"], 2)
    assert pool.unprocessed == 2
    held.release["b"].set()
    assert classified(signals, pool, 1)
    assert pool.next_batch(0) is None
    held.release["a"].set()
    assert classified(signals, pool, 0)
    read = [pool.next_batch(WAIT_S), pool.next_batch(WAIT_S)]
    assert [(each.messages, each.epoch) for each in read if each] == [(["a"], 1), (["b"], 2)]
    pool.close()
    assert pool.next_batch(WAIT_S) is None and pool.ended


def test_error_of_a_batch_is_raised_where_it_is_taken(held):
    signals = Signals()
    pool = ClassifyPool(1, held, signals)
    pool.submit(["c"], 0)
    held.release["c"].set()
    with pytest.raises(RuntimeError, match="the model is broken"):
        pool.next_batch(WAIT_S)
    assert pool.unprocessed == 0
    pool.close()


def test_without_a_batch_the_wait_ends_and_is_not_the_end(held):
    pool = ClassifyPool(1, held, Signals())
    assert pool.next_batch(0) is None and not pool.ended
    pool.close()


def test_close_cancels_what_has_not_begun(held):
    signals = Signals()
    pool = ClassifyPool(1, held, signals)
    pool.submit(["a"], 0)
    pool.submit(["b"], 0)
    pool._batches.queue[1].add_done_callback(lambda _: held.release["a"].set())  # "a" ends once "b" is canceled
    pool.close()
    first = pool.next_batch(WAIT_S)
    assert first is not None and first.messages == ["a"]
    with pytest.raises(CancelledError):
        pool.next_batch(0)
