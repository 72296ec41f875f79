"""Measures CPU and memory of a process, for its supervisor."""

import psutil


class Usage:
    """Measures one process after another; a new pid means another process."""

    def __init__(self) -> None:
        self._process: psutil.Process | None = None
        self._before: tuple[float, float] | None = None

    def look(self, pid: int | None, now: float) -> tuple[float | None, int | None]:
        """Return CPU since the last call, in cores, and resident memory in bytes; None without a process or an earlier call.

        Args:
            pid: Of the process; None where there is none.
            now: By a monotonic clock, in seconds.
        """
        try:
            if pid is None:
                self._process = self._before = None
                return None, None
            if self._process is None or self._process.pid != pid:
                self._process, self._before = psutil.Process(pid), None
            with self._process.oneshot():
                times, rss = self._process.cpu_times(), self._process.memory_info().rss
        except psutil.Error:  # it ended just now
            self._process = self._before = None
            return None, None
        before, self._before = self._before, (now, times.user + times.system)
        if before is None or now <= before[0]:
            return None, rss
        return round(max(0.0, self._before[1] - before[1]) / (now - before[0]), 3), rss
