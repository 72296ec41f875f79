"""Locks on the lakehouse's tables, and the errors for an unreachable location. Without Spark."""

import multiprocessing
import threading
import time

import pytest

from data.errors import LakehouseError
from serving.lakehouse import locks
from serving.lakehouse.locks import exclusive_run, table_commit_lock
from serving.lakehouse.status import read_status

# Not by forking: a forked process would share locks taken before.
SPAWN = multiprocessing.get_context("spawn")
PROCESSES, TIMES = 4, 25


def _hold(root, held, end):
    with exclusive_run(root), table_commit_lock(f"{root}/gold"):
        held.set()
        end.wait(300)


def _count(path, number):
    for _ in range(TIMES):
        with table_commit_lock(path):
            there = int(number.read_text())
            time.sleep(0.001)  # so that without the lock other processes would interleave
            number.write_text(str(there + 1))


@pytest.fixture
def other(tmp_path):
    """Another process that runs the streams and commits to Gold; ends when `end` is set."""
    held, end = SPAWN.Event(), SPAWN.Event()
    process = SPAWN.Process(target=_hold, args=(str(tmp_path), held, end))
    process.start()
    assert held.wait(300)
    yield end, process
    if process.is_alive():  # `Event.set` waits for all waiting processes, even a killed one
        end.set()
        process.join(150)


def test_second_driver_fails_at_once(tmp_path, other):
    with (
        pytest.raises(LakehouseError, match=r"(?s)Another `groundswell lakehouse run` writes to .*SIGTERM"),
        exclusive_run(str(tmp_path)),
    ):
        pass


def test_killed_driver_leaves_no_lock(tmp_path, other):
    _, process = other
    process.kill()
    process.join(150)
    with exclusive_run(str(tmp_path)), table_commit_lock(f"{tmp_path}/gold"):
        pass


def test_commit_waits_for_another_process_on_the_same_table(tmp_path, other):
    end, _ = other
    with table_commit_lock(f"{tmp_path}/silver"):
        pass  # another table is free
    entered = threading.Event()

    def commit():
        with table_commit_lock(f"{tmp_path}/gold"):
            entered.set()

    waiting = threading.Thread(target=commit)
    waiting.start()
    assert not entered.wait(0.5)
    end.set()
    assert entered.wait(150)
    waiting.join()


def test_commit_that_times_out_names_the_table(tmp_path, other, monkeypatch):
    monkeypatch.setattr(locks, "WAIT_S", 0.2)
    with (
        pytest.raises(LakehouseError, match=r"Another process has been writing to .*gold"),
        table_commit_lock(f"{tmp_path}/gold"),
    ):
        pass


def test_concurrent_commits_are_not_lost(tmp_path):
    number = tmp_path / "number"
    number.write_text("0")
    processes = [SPAWN.Process(target=_count, args=(f"{tmp_path}/gold", number)) for _ in range(PROCESSES)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(300)
    assert int(number.read_text()) == PROCESSES * TIMES


def test_unreachable_bucket_is_not_reported_as_missing_table(tmp_path, monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    with pytest.raises(LakehouseError, match=r"(?s)Could not read the table s3a://lake/x/gold.*AWS_ENDPOINT_URL_S3"):
        read_status("s3a://lake/x")
    with pytest.raises(LakehouseError, match="There is no table"):
        read_status(str(tmp_path))
