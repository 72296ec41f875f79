"""The state that a stream worker reports while it waits, and afterwards."""

import pytest

from serving.streaming.worker.health import WorkerHealth


@pytest.fixture
def health(tmp_path):
    return WorkerHealth(tmp_path, "w", None, lambda: ("", [], 0))


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
