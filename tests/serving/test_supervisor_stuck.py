"""Which workers the supervisor replaces because they make no progress: the test gives clock, processes and heartbeats."""

import pytest

from serving.streaming.supervisor.stall import STALLED_AFTER_S
from serving.streaming.supervisor.stuck import FIRST_BEAT_S, HUNG_AFTER_S, HungWorkers, IdleWorkers
from serving.streaming.worker.heartbeat import Heartbeat


class Process:
    def __init__(self, started_at=0.0):
        self.started_at, self.alive, self.word = started_at, True, "up"

    def age_s(self, now):
        return now - self.started_at

    def state(self, now):
        return {"state": self.word}


def beat(name="w1", pid=1, written_at=5.0, state="running", **fields):
    return Heartbeat(name=name, pid=pid, started_at=0.0, written_at=written_at, state=state, **fields)


def test_worker_without_a_new_heartbeat_hangs_after_the_limit():
    hung, workers = HungWorkers(), {"w1": Process()}
    assert hung.look(0.0, workers, {"w1": beat(written_at=900.0)}) == {}
    assert hung.look(HUNG_AFTER_S - 1, workers, {"w1": beat(written_at=900.0)}) == {}
    assert hung.look(HUNG_AFTER_S, workers, {"w1": beat(written_at=900.0)}) == {"w1": HUNG_AFTER_S}
    assert hung.look(HUNG_AFTER_S + 1, workers, {"w1": beat(written_at=1.0)}) == {}, "a new one, though its clock was set back"


def test_worker_has_longer_for_its_first_heartbeat():
    hung, workers = HungWorkers(), {"w1": Process(started_at=100.0)}
    assert hung.look(100.0 + FIRST_BEAT_S - 1, workers, {}) == {}
    assert hung.look(100.0 + FIRST_BEAT_S, workers, {}) == {"w1": FIRST_BEAT_S}


def test_worker_that_leaves_or_has_ended_does_not_hang():
    hung, process = HungWorkers(), Process()
    hung.look(0.0, {"w1": process}, {"w1": beat()})
    process.word = "leaving"
    assert hung.look(10 * HUNG_AFTER_S, {"w1": process}, {"w1": beat()}) == {}
    process.alive = False
    assert hung.look(11 * HUNG_AFTER_S, {"w1": process}, {}) == {}
    successor = Process(started_at=12 * HUNG_AFTER_S)
    assert hung.look(12 * HUNG_AFTER_S + 1, {"w1": successor}, {}) == {}, "the successor begins with a time of its own"


def test_idle_worker_of_a_stalled_partition_is_named_after_the_wait_and_once():
    idle, workers, beats = IdleWorkers(), {"w1": Process()}, {"w1": beat(partitions=(0, 1))}
    assert idle.look(0.0, [0], workers, beats) == {}
    assert idle.look(STALLED_AFTER_S, [0], workers, beats) == {"w1": [0]}
    assert idle.look(2 * STALLED_AFTER_S, [0], workers, beats) == {}
    assert idle.look(4 * STALLED_AFTER_S, [0], workers, beats) == {}
    idle.look(5 * STALLED_AFTER_S, [], workers, beats)  # no longer stalled; then it is again
    idle.look(5 * STALLED_AFTER_S, [0], workers, beats)
    assert idle.look(6 * STALLED_AFTER_S, [0], workers, beats) == {"w1": [0]}


def test_one_worker_is_named_for_a_partition_without_an_owner():
    workers = {"w1": Process(), "w2": Process()}
    beats = {"w1": beat("w1", 1, partitions=(0,)), "w2": beat("w2", 2, partitions=(1,))}
    idle = IdleWorkers()
    idle.look(0.0, [1, 2], workers, beats)
    assert idle.look(STALLED_AFTER_S, [1, 2], workers, beats) == {"w1": [2], "w2": [1]}


@pytest.mark.parametrize("change", [{"in_flight": 1}, {"state": "draining"}, {"partitions": (1,)}, {"pid": 2}])
def test_worker_that_had_something_to_do_meanwhile_is_not_idle(change):
    workers, idle = {"w1": Process()}, IdleWorkers()
    beats = {"w1": beat(partitions=(0,)), "other": beat("other", 9, partitions=(0,), in_flight=1)}
    idle.look(0.0, [0], workers, beats)
    fields = {"pid": 1, "partitions": (0,)} | change
    idle.look(STALLED_AFTER_S - 1, [0], workers, beats | {"w1": beat(**fields)})
    idle.look(STALLED_AFTER_S - 0.5, [0], workers, beats)
    assert idle.look(STALLED_AFTER_S, [0], workers, beats) == {}
    assert idle.look(2 * STALLED_AFTER_S, [0], workers, beats) == {"w1": [0]}


def test_process_that_does_not_run_is_not_replaced():
    process, idle = Process(), IdleWorkers()
    process.word = "restarting"
    for now in (0.0, STALLED_AFTER_S, 2 * STALLED_AFTER_S):
        assert idle.look(now, [0], {"w1": process}, {"w1": beat(partitions=(0,))}) == {}
