"""Who may write to the lakehouse's tables, and what is told of a place that cannot be reached. Without Spark."""

import multiprocessing
import threading
import time

import pytest

from data.errors import LakehouseError
from serving.lakehouse import locks
from serving.lakehouse.locks import alone, committing
from serving.lakehouse.status import read_status

# Not by forking: a lock that was taken before would be shared.
APART = multiprocessing.get_context("spawn")
PROCESSES, TIMES = 4, 25


def _hold(root, held, end):
    with alone(root), committing(f"{root}/gold"):
        held.set()
        end.wait(300)


def _count(path, number):
    for _ in range(TIMES):
        with committing(path):
            there = int(number.read_text())
            time.sleep(0.001)  # so that without the lock others come between
            number.write_text(str(there + 1))


@pytest.fixture
def other(tmp_path):
    """Another process that runs the streams and commits to Gold; ends when `end` is set."""
    held, end = APART.Event(), APART.Event()
    process = APART.Process(target=_hold, args=(str(tmp_path), held, end))
    process.start()
    assert held.wait(300)
    yield end, process
    if process.is_alive():  # an event waits for all who wait for it, the killed ones too
        end.set()
        process.join(150)


def test_a_second_driver_is_told_at_once(tmp_path, other):
    with (
        pytest.raises(LakehouseError, match=r"(?s)Another `groundswell lakehouse run` writes to .*SIGTERM"),
        alone(str(tmp_path)),
    ):
        pass


def test_a_killed_driver_leaves_no_lock(tmp_path, other):
    _, process = other
    process.kill()
    process.join(150)
    with alone(str(tmp_path)), committing(f"{tmp_path}/gold"):
        pass


def test_a_commit_waits_for_the_one_of_another_process_to_the_same_table(tmp_path, other):
    end, _ = other
    with committing(f"{tmp_path}/silver"):
        pass  # another table is free
    entered = threading.Event()

    def commit():
        with committing(f"{tmp_path}/gold"):
            entered.set()

    waiting = threading.Thread(target=commit)
    waiting.start()
    assert not entered.wait(0.5)
    end.set()
    assert entered.wait(150)
    waiting.join()


def test_a_commit_that_never_gets_its_turn_says_who_has_it(tmp_path, other, monkeypatch):
    monkeypatch.setattr(locks, "WAIT_S", 0.2)
    with pytest.raises(LakehouseError, match=r"Another process has been writing to .*gold"), committing(f"{tmp_path}/gold"):
        pass


def test_no_commit_of_several_processes_is_lost(tmp_path):
    number = tmp_path / "number"
    number.write_text("0")
    processes = [APART.Process(target=_count, args=(f"{tmp_path}/gold", number)) for _ in range(PROCESSES)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(300)
    assert int(number.read_text()) == PROCESSES * TIMES


def test_a_bucket_that_does_not_answer_is_not_told_as_a_table_that_is_missing(tmp_path, monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    with pytest.raises(LakehouseError, match=r"(?s)s3a://lake/x/gold cannot be read.*AWS_ENDPOINT_URL_S3"):
        read_status("s3a://lake/x")
    with pytest.raises(LakehouseError, match="There is no table"):
        read_status(str(tmp_path))
