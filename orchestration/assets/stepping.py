"""How an asset says what it does: to Dagster's log, and to the terminal when the command line started it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from orchestration.progress import LogProgress, begin, listening


@contextmanager
def step(context: Any, title: str) -> Iterator[None]:
    """Name the step; what it reports in the block goes to the run's log too."""
    with listening(LogProgress(context.log)):
        begin(title)
        yield
