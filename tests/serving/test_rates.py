"""Rate limits count exactly, whatever number of processes counts."""

import asyncio
import errno
import fcntl
import os
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from limits import parse
from limits.aio.storage import MemoryStorage
from limits.aio.strategies import SlidingWindowCounterRateLimiter

from data.settings import project_root
from serving.service.middleware import rates
from serving.service.middleware.admission import Authenticator
from serving.service.middleware.rates import SharedCounts

HITS = st.lists(
    st.tuples(
        st.floats(0, 40),
        st.sampled_from(["a", "b", "c"]),
        st.sampled_from(["10/minute", "5/second", "30/hour"]),
        st.integers(1, 6),
    ),
    max_size=60,
)


@settings(max_examples=100)
@given(HITS)
def test_counts_are_those_of_the_storage_in_memory(tmp_path_factory, hits):
    """The same hits at the same times are admitted, and leave the same counts, by several processes in turns as by one."""
    file = tmp_path_factory.mktemp("rates") / "counts"
    processes = [SharedCounts(file), SharedCounts(file)]
    memory, now = MemoryStorage(), 1_800_000_000.0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("time.time", lambda: now)

        async def go():
            nonlocal now
            for number, (wait, key, rate, cost) in enumerate(hits):
                now += wait
                item = parse(rate)
                found = [SlidingWindowCounterRateLimiter(one) for one in (processes[number % 2], memory)]
                admitted = [await one.hit(item, key, cost=cost) for one in found]
                assert admitted[0] == admitted[1]
                stats = [await one.get_window_stats(item, key) for one in found]
                assert stats[0].remaining == stats[1].remaining
                assert stats[0].reset_time == pytest.approx(stats[1].reset_time)

        asyncio.run(go())


_HIT = """
import asyncio, sys
from pathlib import Path
from serving.service.middleware.rates import SharedCounts
counts = SharedCounts(Path(sys.argv[1]))
sys.stdin.read(1)
print(sum(asyncio.run(counts.acquire_sliding_window_entry("key", 1_000, 86_400)) for _ in range(900)))
"""


def test_processes_together_admit_exactly_the_limit(tmp_path):
    command = [sys.executable, "-c", _HIT, str(tmp_path / "counts")]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    running = [subprocess.Popen(command, cwd=project_root(), text=True, **pipes) for _ in range(3)]
    for one in running:
        one.stdin.write("x")
        one.stdin.flush()
    admitted = [int(one.communicate(timeout=300)[0]) for one in running]
    assert sum(admitted) == 1_000


def test_more_keys_than_slots_are_still_counted(tmp_path):
    counts = SharedCounts(tmp_path / "counts")

    async def go():
        for number in range(3 * rates.SLOTS):
            assert await counts.acquire_sliding_window_entry(f"key {number}", 1, 3_600)
        assert not await counts.acquire_sliding_window_entry(f"key {number}", 1, 3_600), "the newest key keeps its count"
        await counts.clear_sliding_window(f"key {number}", 3_600)
        return await counts.acquire_sliding_window_entry(f"key {number}", 1, 3_600)

    assert asyncio.run(go())


def test_counts_held_by_another_process_are_an_error_not_a_wait(tmp_path, monkeypatch):
    """A stopped process that holds the file must not stop the others: their requests pass uncounted."""
    monkeypatch.setattr(rates, "_LOCK_S", 0.0)
    counts = SharedCounts(tmp_path / "counts")
    other = os.open(tmp_path / "counts", os.O_RDWR)
    fcntl.flock(other, fcntl.LOCK_EX)
    with pytest.raises(TimeoutError):
        asyncio.run(counts.acquire_sliding_window_entry("key", 1, 60))
    os.close(other)
    assert asyncio.run(counts.acquire_sliding_window_entry("key", 1, 60))


def test_full_disk_is_an_error_at_the_start_and_then_each_process_counts(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(OSError, match="No space"):
        SharedCounts(tmp_path / "counts")
    assert isinstance(Authenticator(None, counts=tmp_path / "counts")._limiter.storage, MemoryStorage)
