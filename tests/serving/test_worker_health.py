"""The state that a stream worker reports while it waits, and afterwards."""

import pytest

from serving.streaming.worker.health import OVERLOADED, WorkerHealth
from serving.streaming.worker.heartbeat import read_heartbeats
from serving.tiers import OperatingPoint
from tests.serving.stream_fakes import BASE_POINT


@pytest.fixture
def health(tmp_path):
    return WorkerHealth(tmp_path, "w", None, lambda: ("", BASE_POINT, [], 0))


def test_state_after_a_wait_is_that_of_before(health):
    health.begin("running")
    health.wait_for("the warehouse")
    assert health.state == "waiting for the warehouse"
    health.end_wait()
    assert health.state == "running"
    health.wait_for("the broker")
    health.begin("draining")
    health.wait_for("the broker")
    health.end_wait("the broker")
    assert health.state == "draining"


def test_end_of_one_wait_does_not_end_another(health):
    health.begin("running")
    health.wait_for("the warehouse")
    health.end_wait("the broker")
    assert health.state == "waiting for the warehouse"


def test_end_of_a_wait_does_not_hide_that_the_worker_failed(health):
    health.begin("running")
    health.set_state("failed", "the reason")
    health.end_wait()
    health.end_wait("the broker")
    assert health.state == "failed"


def test_heartbeat_has_the_operating_point_and_an_overload(tmp_path):
    points = [BASE_POINT, OperatingPoint(tier="small", threshold=0.72, macro_recall=0.69)]
    health = WorkerHealth(tmp_path, "w", None, lambda: ("v1", points[0], [], 0))
    health.begin("running")
    health.set_overloaded(True)
    health._beat()
    (beat,) = read_heartbeats(tmp_path)
    assert beat.point == "base" and beat.detail == OVERLOADED and beat.state == "running"
    points.pop(0)
    health.set_overloaded(False)
    health._beat()
    (beat,) = read_heartbeats(tmp_path)
    assert beat.point == "small@0.72" and beat.detail == ""
