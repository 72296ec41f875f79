"""One supervised process: started, restarted with back-off when it ends, asked to leave, and killed when it does not.

Nothing here blocks: `tick` is called several times a second and does what is due.
"""

import os
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import psutil

from serving.streaming.supervisor.usage import Usage

BACK_OFF_S, BACK_OFF_MOST_S = 0.5, 30.0
"""Pause before a restart: twice as long each time, until the process has been healthy for `HEALTHY_S`."""
HEALTHY_S = 60.0
LEAVE_S = 30.0
"""Time that a process may take to finish after it was asked to leave."""
HUNG_GRACE_S = 20.0
"""The same for a process that no longer writes heartbeats."""
CONFIG_ERROR = 78
"""EX_CONFIG of sysexits.h: an error that a restart does not fix, such as a wrong setting or too many dead letters."""
LOG_BYTES = 5 * 1024 * 1024
"""A longer log is renamed to `.1` when the process is started."""


class Child:
    """A process in a session of its own, so that Ctrl-C in a terminal reaches only its supervisor.

    Its standard input is a pipe without writes. When the supervisor dies, however it dies, the system closes the pipe; a child
    that reads the pipe (`--with-parent`) then ends by itself.

    Args:
        name: Shown to people; also names its log.
        command: Arguments; the first is the program.
        log: File for its output.
        environment: Of the process.
        report: Called with a text for each event; the second argument is true for a failure.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        log: Path,
        environment: Mapping[str, str],
        report: Callable[[str, bool], None],
    ) -> None:
        self.name = name
        self.command = list(command)
        self.wanted = True
        self.process: subprocess.Popen[bytes] | None = None
        self.restarts = 0
        self.last_exit: str | None = None
        self._log, self._environment, self._report = log, environment, report
        self._started_at = 0.0
        self._created_at: float | None = None  # by the kernel: with the pid it identifies the process
        self._failures = 0
        self._not_before = 0.0
        self._kill_at: float | None = None
        self._usage = Usage()
        self.cpu: float | None = None
        self.rss_bytes: int | None = None

    @property
    def alive(self) -> bool:
        """Whether the process exists, even if it is leaving."""
        return self.process is not None

    def age_s(self, now: float) -> float:
        """Seconds since its start."""
        return now - self._started_at

    def tick(self, now: float) -> None:
        """Do what is due: record an end, start, ask to leave, kill."""
        if self.process is not None and (status := self.process.poll()) is not None:
            self._ended(now, status)
        if self.process is None:
            if self.wanted and now >= self._not_before:
                self._start(now)
        elif not self.wanted:
            self.leave(now, LEAVE_S)
        if self._kill_at is not None and now >= self._kill_at:
            self._report(f"{self.name} does not leave: killed", True)
            self._kill_at = now + LEAVE_S  # a process that is blocked in the kernel may take longer
            self.kill()

    def leave(self, now: float, grace_s: float) -> None:
        """Send SIGTERM now and SIGKILL after the grace period. Further calls have no effect."""
        if self.process is not None and self._kill_at is None:
            self._kill_at = now + grace_s
            with suppress(ProcessLookupError):
                self.process.terminate()

    def kill(self) -> None:
        """Send SIGKILL to the process and to those that it started."""
        if self.process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)

    def measure(self, now: float) -> None:
        """Measure its CPU since the last call, in cores, and its memory. Call it once a second."""
        self.cpu, self.rss_bytes = self._usage.look(self.process.pid if self.process else None, now)

    def state(self, now: float) -> dict[str, object]:
        """Return its entry of the state file."""
        if self.process is not None:
            state = "leaving" if self._kill_at is not None else "up"
        elif not self.wanted:
            state = "stopped"
        else:
            state = f"restart in {max(0.0, self._not_before - now):.0f} s"
        return {
            "pid": self.process.pid if self.process else None,
            "created_at": self._created_at if self.process else None,
            "state": state,
            "restarts": self.restarts,
            "last_exit": self.last_exit,
            "cpu": self.cpu,
            "rss_bytes": self.rss_bytes,
        }

    def _start(self, now: float) -> None:
        try:
            self._log.parent.mkdir(parents=True, exist_ok=True)
            if self._log.exists() and self._log.stat().st_size > LOG_BYTES:
                self._log.replace(self._log.with_name(self._log.name + ".1"))
            with self._log.open("ab") as output:
                self.process = subprocess.Popen(
                    self.command,
                    stdin=subprocess.PIPE,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    env=self._environment,
                    start_new_session=True,
                )
        except OSError as error:  # no memory, no file descriptor, a full disk: may pass
            self._failed(now, f"cannot be started: {error}", longest=False)
            return
        with suppress(psutil.Error):
            self._created_at = psutil.Process(self.process.pid).create_time()
        self.restarts += bool(self.last_exit)
        self._started_at, self._kill_at = now, None
        self._report(f"{self.name} started, pid {self.process.pid}", False)

    def _ended(self, now: float, status: int) -> None:
        if self.process is not None and self.process.stdin is not None:
            self.process.stdin.close()
        self.process, asked, self._kill_at = None, self._kill_at is not None, None
        if asked and (status == 0 or not self.wanted):
            self._failures, self._not_before = 0, 0.0
            self._report(f"{self.name} has left" if status == 0 else f"{self.name} ended with {_exit(status)}", False)
            return
        if now - self._started_at >= HEALTHY_S:
            self._failures = 0
        last_line = self._last_line()
        self._failed(now, _exit(status) + (f": {last_line}" if last_line else ""), longest=status == CONFIG_ERROR)

    def _failed(self, now: float, why: str, *, longest: bool) -> None:
        pause_s = BACK_OFF_MOST_S if longest else min(BACK_OFF_MOST_S, BACK_OFF_S * 2 ** min(self._failures, 10))
        self._failures += 1
        self._not_before, self.last_exit = now + pause_s, why
        self._report(f"{self.name} ended ({why}); restart in {pause_s:g} s", True)

    def _last_line(self) -> str:
        try:
            with self._log.open("rb") as file:
                file.seek(max(0, self._log.stat().st_size - 4096))
                lines = file.read().decode("utf-8", errors="replace").split("\n")
        except OSError:
            return ""
        return next((line.strip()[:300] for line in reversed(lines) if line.strip()), "")


def _exit(status: int) -> str:
    if status >= 0:
        return f"status {status}"
    try:
        return signal.Signals(-status).name
    except ValueError:
        return f"signal {-status}"
