"""The sink's thread of a stream worker, run in the test's own: a fake clock, no broker, no warehouse."""

from collections import deque

import pytest

from serving.settings import StreamSettings
from serving.streaming.worker.commits import Commits
from serving.streaming.worker.dead_letter_limit import TooManyDeadLetters
from serving.streaming.worker.membership import Membership
from serving.streaming.worker.sink_loop import SinkLoop
from tests.serving.stream_fakes import TOPIC, Clock, FakeSignals, block


class Batches:
    """Batches by the time at which each is classified; then the end."""

    def __init__(self, clock, *classified):
        self.clock, self.classified, self.ended, self.unprocessed = clock, deque(classified), False, 1

    def next_batch(self, timeout_s):
        if not self.classified:
            self.ended = True
            return None
        at, batch = self.classified[0]
        if at > self.clock.now + timeout_s:
            self.clock.now += timeout_s
            return None
        self.clock.now = max(self.clock.now, at)
        self.classified.popleft()
        return batch


class Sinking:
    """A sink loop; `inserted` and `finished` have the time and the messages of each part and block."""

    def __init__(self, *classified, **settings):
        self.clock = Clock()
        self.signals = FakeSignals(self.clock)
        self.settings = StreamSettings.load(block_rows=4, block_age_ms=1_000, **settings)
        self.batches = Batches(self.clock, *((self.clock.now + at, batch) for at, batch in classified))
        self.commits = Commits(TOPIC, Membership(TOPIC, object), self.signals.changed, transactions=True)
        self.inserted, self.finished, self.start, self.takes_s = [], [], self.clock.now, 0.0
        self.loop = SinkLoop(self.settings, self.batches, self.insert, self.finish, self.commits, self.signals, self.clock)

    def insert(self, part):
        self.inserted.append((round(self.clock.now - self.start, 3), [each.offset() for each in part.messages]))
        self.clock.now += self.takes_s

    def finish(self, made):
        self.finished.append((round(self.clock.now - self.start, 3), [each.offset() for each in made.messages]))


def test_blocks_are_written_when_full_or_old_in_the_order_of_reading():
    sinking = Sinking(
        (0.0, block((0, 0), (0, 1))),
        (0.5, block((0, 2), (0, 3))),  # full
        (2.0, block((0, 4))),
        (2.5, block((0, 5))),  # and at 3.0 the first of them is a second old
        (9.0, block((0, 6))),  # not written: the end comes first
    )
    sinking.loop.run()
    assert sinking.inserted == sinking.finished == [(0.5, [0, 1, 2, 3]), (3.0, [4, 5])]
    assert sinking.commits.pending and sinking.signals.failure is None


def test_without_load_each_batch_is_inserted_at_once_but_for_a_rest_and_several_are_finished_together():
    sinking = Sinking(
        (0.0, block((0, 0))), (0.1, block((0, 1))), (0.2, block((0, 2))), (0.25, block((0, 3))), (9.0, block((0, 4)))
    )
    sinking.batches.unprocessed, sinking.takes_s = 0, 0.05
    sinking.loop.run()
    assert sinking.inserted == [(0.0, [0]), (0.15, [1]), (0.3, [2, 3]), (9.0, [4])]
    assert sinking.finished == [(0.05, [0]), (1.05, [1, 2, 3]), (9.05, [4])]


def test_flush_writes_what_there_is():
    sinking = Sinking((0.0, block((0, 0))), (0.1, block((0, 1))))
    sinking.signals.flush_now.set()
    sinking.loop.run()
    assert sinking.finished == [(0.0, [0]), (0.1, [1])]


def test_batches_of_two_epochs_are_two_blocks():
    sinking = Sinking((0.0, block((0, 0), epoch=1)), (0.0, block((0, 1), (0, 2), (0, 3), (0, 4), epoch=2)))
    sinking.loop.run()
    assert sinking.finished == [(0.0, [0]), (0.0, [1, 2, 3, 4])]


@pytest.mark.parametrize("given_up", [False, True])
@pytest.mark.parametrize("step", ["_insert", "_finish"])
def test_failed_write_ends_the_worker_unless_it_ends_already(given_up, step):
    sinking = Sinking((0.0, block((0, 0), (0, 1), (0, 2), (0, 3))))

    def fail(_):
        raise RuntimeError("refused")

    setattr(sinking.loop, step, fail)
    if given_up:
        sinking.signals.give_up.set()
    sinking.loop.run()
    assert (str(sinking.signals.failure) == "refused") is not given_up
    assert not sinking.commits.pending, "what was not written is not committed"


def test_block_with_too_many_dead_letters_is_not_written():
    bad = block(*((0, n) for n in range(200)), dead=["not JSON"] * 200)
    sinking = Sinking((0.0, bad), dead_letter_limit=0.5)
    sinking.loop.run()
    assert isinstance(sinking.signals.failure, TooManyDeadLetters) and not sinking.inserted and not sinking.commits.pending
