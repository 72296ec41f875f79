"""Measures how far the group is behind, in a thread of its own, because reading from the broker may block."""

from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future

from data.errors import GroundswellError
from serving.streaming.lag import PartitionLag
from serving.streaming.supervisor.scaling import WINDOW_S

MEASURE_S = 1.0
BROKER_BACK_OFF_MOST_S = 10.0


class Backlog:
    """The lag of each partition and the rates of the group. The caller gives the clock."""

    def __init__(self, measure: Callable[[], list[PartitionLag]], report: Callable[[str, bool], None]) -> None:
        """Make it.

        Args:
            measure: Reads the partitions from the broker; may block and raise anything.
            report: Called with a text, and whether it is bad, when the broker fails and when it responds again.
        """
        self._measure, self._report = measure, report
        self.partitions: list[PartitionLag] = []
        """As measured last."""
        self.broker_error = ""
        """Why the last measurement failed; "" where it did not."""
        self._measurement: Future[list[PartitionLag]] | None = None
        self._measure_at, self._failures = 0.0, 0
        self._recent: deque[tuple[float, int, int]] = deque()  # when, committed, ends

    @property
    def lag(self) -> int:
        """Messages that are not committed, as measured last."""
        return sum(each.lag for each in self.partitions)

    @property
    def committed(self) -> int:
        """Messages committed so far, as measured last."""
        return sum(each.committed for each in self.partitions)

    def measured(self, now: float, thread: Executor) -> bool:
        """Return whether there is a new measurement, and start the next one in `thread` when it is due; does not block."""
        if self._measurement is None:
            if now >= self._measure_at:
                self._measurement = thread.submit(self._measure)
            return False
        if not self._measurement.done():
            return False
        measurement, self._measurement = self._measurement, None
        try:
            self.partitions = measurement.result()
        except Exception as error:  # an error here must not stop the workers
            self._failed(now, error)
            return False
        if self.broker_error:
            self._report("The broker responds again", False)
        self._measure_at, self._failures, self.broker_error = now + MEASURE_S, 0, ""
        self._recent.append((now, self.committed, sum(each.end for each in self.partitions)))
        while now - self._recent[0][0] > WINDOW_S:
            self._recent.popleft()
        return True

    def _failed(self, now: float, error: Exception) -> None:
        pause_s = min(BROKER_BACK_OFF_MOST_S, MEASURE_S * 2**self._failures)
        self._measure_at, self._failures = now + pause_s, min(self._failures + 1, 10)
        reason = error.message if isinstance(error, GroundswellError) else repr(error)
        if reason != self.broker_error:
            self._report(f"The lag of the group cannot be read: {error}", True)
        self.broker_error = reason

    def rates(self) -> tuple[float, float]:
        """Return the messages a second that are committed, and that arrive."""
        if len(self._recent) < 2:
            return 0.0, 0.0
        (before, *first), (now, *last) = self._recent[0], self._recent[-1]
        committed, arriving = (max(0.0, (b - a) / (now - before)) for a, b in zip(first, last, strict=True))
        return committed, arriving
