"""What the threads of a worker report to each other."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import structlog

_log = structlog.get_logger()


class Signals:
    """Shared by the polling thread, the pool and the sink's thread."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        """Notified when a batch is classified, a block is written, or the worker fails."""
        self.flush_now = threading.Event()
        """Set to write what is classified, whatever its age."""
        self.give_up = threading.Event()
        """Set when what is not finished by now is left to the next worker."""
        self.sink_writing = False
        """Whether the sink's thread is writing: what is classified meanwhile waits for it."""
        self.failure: BaseException | None = None
        """What ends the worker."""

    @contextmanager
    def sink_writes(self) -> Iterator[None]:
        """Show, during the block, that the sink is writing."""
        self.sink_writing = True
        try:
            yield
        finally:
            self.sink_writing = False

    def fail(self, error: BaseException) -> None:
        """Report an error of the sink's thread, unless the worker has already given up."""
        with self.changed:
            if not self.give_up.is_set():
                self.failure = error
                _log.error("the worker fails", error=str(error))
            self.changed.notify_all()
