"""The demo waits for its stream while the stream makes progress."""

from itertools import count, repeat
from pathlib import Path
from types import SimpleNamespace

import pytest

from data.errors import StreamError
from orchestration.demo import pages as demo_pages

LOG = Path("var/logs/stream.log")


def test_stream_is_waited_for_while_it_makes_progress_and_reported_when_it_does_not(monkeypatch):
    """Each check advances the clock by half of the timeout."""
    clock = count(step=demo_pages.READY_S / 2)
    monkeypatch.setattr(demo_pages.time, "monotonic", lambda: next(clock))
    monkeypatch.setattr(demo_pages, "POLL_INTERVAL_S", 0.0)
    page = SimpleNamespace(alive=True, log=LOG)
    moving = iter([*((False, done) for done in range(50)), (True, 50)])
    demo_pages._until(lambda: next(moving), page, "It has not read the history.")
    assert next(moving, None) is None
    still = repeat((False, 7))
    with pytest.raises(StreamError, match="no progress for 120 s"):
        demo_pages._until(lambda: next(still), page, "It has not read the history.")


def test_stream_that_ended_is_reported_with_its_exit_code():
    page = SimpleNamespace(alive=False, exit_code=3, log=LOG)
    with pytest.raises(StreamError, match="it ended with 3"):
        demo_pages._until(lambda: (False, 0), page, "It has not read the history.")
