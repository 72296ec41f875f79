"""Keeps the processes of the stream running, and as many workers as the backlog needs.

A process that ends is restarted with back-off. A worker that hangs is replaced. A stalled partition raises an alarm, and a worker
that receives none of its messages is replaced, once. While the broker is unavailable, nothing is changed. If the supervisor is
killed, its children end by themselves (their standard input closes, see `Child`), and the next supervisor waits for them.
"""

import logging
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from subprocess import TimeoutExpired
from typing import Protocol

import psutil

from data.errors import GroundswellError
from serving.settings import StreamSettings
from serving.streaming.lag import LagReader
from serving.streaming.supervisor import stall
from serving.streaming.supervisor.backlog import MEASURE_S, Backlog
from serving.streaming.supervisor.child import HUNG_GRACE_S, Child
from serving.streaming.supervisor.history import History
from serving.streaming.supervisor.scaling import Decision, Load, Scaler
from serving.streaming.supervisor.state_files import end_leftovers, exclusive_supervisor, folder, write_state
from serving.streaming.supervisor.stuck import HungWorkers, IdleWorkers
from serving.streaming.worker.heartbeat import Heartbeat, read_heartbeats
from serving.threads import cpu_quota

_log = logging.getLogger(__name__)

TICK_S = 0.2


class ScalingPolicy(Protocol):
    """Decides how many workers should run: `Scaler`, and its peers in the benchmark."""

    def decide(self, now: float, load: Load) -> Decision:
        """See `Scaler.decide`."""
        ...


def run_supervisor(
    var: Path,
    settings: StreamSettings,
    stop: threading.Event,
    *,
    worker_command: Callable[[str], Sequence[str]],
    others: Mapping[str, Sequence[str]],
    on_change: Callable[[str], None] | None = None,
    notify: Callable[[str], object] | None = None,
    scaler: ScalingPolicy | None = None,
) -> None:
    """Run the stream until `stop` is set, then end every process: workers first, then the others, the last started first.

    Blocks. Stopping takes as long as the slowest process of each kind, at most 30 s a kind.

    Args:
        var: Gets `stream/supervisor.json` (each second), `stream/history*.jsonl` and `stream/logs/`.
        settings: Broker, group, limits.
        stop: Set it to stop the stream.
        worker_command: Returns the arguments of the worker with a name, such as `w1`.
        others: Arguments of the other processes, by name, in the order of starting.
        on_change: Called with a text for each event, for a terminal. Called in this thread; should be quick.
        notify: Called with a text that a person has to see at once. Called in another thread, so it may block.
        scaler: Decides on the number of workers; None: `Scaler` with the limits of the settings.

    Raises:
        StreamError: Another supervisor runs in this folder, or the settings of the broker are invalid.
    """
    most = settings.max_workers or cpu_quota()
    scaler = scaler or Scaler(max_workers=most, drain_limit_s=settings.drain_limit_s, lag_limit=settings.lag_limit)
    with exclusive_supervisor(var):
        end_leftovers(var, stop)
        _Supervisor(var, settings, stop, worker_command, others, on_change, notify, scaler).run()


class _Supervisor:
    def __init__(
        self,
        var: Path,
        settings: StreamSettings,
        stop: threading.Event,
        worker_command: Callable[[str], Sequence[str]],
        others: Mapping[str, Sequence[str]],
        on_change: Callable[[str], None] | None,
        notify: Callable[[str], object] | None,
        scaler: ScalingPolicy,
    ) -> None:
        self.var, self.settings, self.stop = var, settings, stop
        self.on_change, self.notify, self.scaler = on_change, notify, scaler
        self.worker_command = worker_command
        self.environment = os.environ | {
            "GROUNDSWELL_PATHS__VAR_DIR": str(var.resolve()),
            # Workers of one machine share its cores: one thread each, so that one more worker uses one more core
            "GROUNDSWELL_STREAM__THREADS": str(settings.threads or 1),
        }
        self.others = {name: self._child(name, command) for name, command in others.items()}
        self.workers: dict[str, Child] = {}
        self.beats: dict[str, Heartbeat] = {}
        self.hung, self.idle = HungWorkers(), IdleWorkers()
        reader = LagReader(settings)
        self.backlog = Backlog(lambda: reader.measure(settings.topic), self._report)
        self.decision = Decision(1, "the first")
        self.stalls, self.stalled = stall.Stalls(), []
        self.write_at = 0.0
        self.history = History(folder(var))
        self.dead_letters: dict[int, int] = {}  # by pid: number already counted
        self.restarts = 0  # already counted
        self.unwritten = ""
        self.started_at = time.time()
        self.cores, self.memory_bytes = cpu_quota(), psutil.virtual_memory().total
        self.process = os.getpid(), psutil.Process().create_time()

    def run(self) -> None:
        with ThreadPoolExecutor(1, "lag") as self.lag_thread, ThreadPoolExecutor(1, "notify") as self.notify_thread:
            self._want_workers(1)
            try:
                while not self.stop.is_set():
                    self._tick(time.monotonic())
                    self.stop.wait(TICK_S)
            finally:
                self._end_all()

    def _tick(self, now: float) -> None:
        if self.backlog.measured(now, self.lag_thread):
            self._scale(now)
            self._look_for_stalls(now)
        if now >= self.write_at:
            self._look_at_workers(now)
        for child in self._children().values():
            child.tick(now)
        if now >= self.write_at:
            self.write_at = now + MEASURE_S
            self._write(now, "")

    def _children(self) -> dict[str, Child]:
        return {**self.others, **self.workers}

    def _child(self, name: str, command: Sequence[str]) -> Child:
        return Child(name, command, folder(self.var) / "logs" / f"{name}.log", self.environment, self._report)

    def _report(self, text: str, bad: bool) -> None:
        _log.log(logging.WARNING if bad else logging.INFO, "%s", text)
        self.write_at = 0.0  # write the state at once: it names every process, even if this one is killed right after
        if self.on_change:
            self.on_change(text)

    def _alarm(self, text: str) -> None:
        self._report(text, True)
        if self.notify:
            self.notify_thread.submit(self.notify, text).add_done_callback(_log_failure)

    # -- how many workers ------------------------------------------------------------------------------------------------------

    def _scale(self, now: float) -> None:
        running = sum(self._runs(name) or child.state(now)["state"] == "leaving" for name, child in self.workers.items())
        before, backlog = self.decision, self.backlog
        self.decision = self.scaler.decide(now, Load(backlog.lag, backlog.committed, running, len(backlog.partitions)))
        if self.decision.target != before.target:
            self._report(f"{self.decision.target} workers instead of {before.target}: {self.decision.reason}", False)
            self._want_workers(self.decision.target)

    def _want_workers(self, target: int) -> None:
        wanted = [f"w{number}" for number in range(1, target + 1)]
        for name in wanted:
            if name not in self.workers:
                self.workers[name] = self._child(name, self.worker_command(name))
        for name, child in self.workers.items():
            child.wanted = name in wanted

    def _look_for_stalls(self, now: float) -> None:
        beats = [self.beats.get(name) for name, child in self.workers.items() if child.wanted]
        idle = all(beat is not None and beat.state == "running" and beat.in_flight == 0 for beat in beats)
        before, self.stalled = self.stalled, self.stalls.look(now, self.backlog.partitions, idle=idle)
        if new := sorted(set(self.stalled) - set(before)):
            lags = {each.partition: each for each in self.backlog.partitions}
            where = ", ".join(f"{each} at {lags[each].committed:,} of {lags[each].end:,}" for each in new if each in lags)
            workers = (
                ", ".join(f"{beat.name} {beat.state} {beat.detail}".strip() for beat in beats if beat) or "none has reported"
            )
            self._alarm(
                f"The stream has stalled: nothing of {self.settings.topic} was committed for 30 s in partition {where}. "
                f"Workers: {workers}."
            )
        elif before and not self.stalled:
            self._report("The stream is no longer stalled", False)
        self._replace_idle(now)

    def _replace_idle(self, now: float) -> None:
        for name, lacking in self.idle.look(now, self.stalled, self.workers, self.beats).items():
            which = ", ".join(map(str, lacking))
            self._report(f"Worker {name} receives no messages of stalled partition {which}: replaced", True)
            self.workers[name].leave(now, HUNG_GRACE_S)

    # -- workers that hang ----------------------------------------------------------------------------------------------------

    def _look_at_workers(self, now: float) -> None:
        self.beats = {beat.name: beat for beat in read_heartbeats(self.var) if self._is_ours(beat)}
        for name, silent_s in self.hung.look(now, self.workers, self.beats).items():
            self._alarm(f"Worker {name} hangs: no heartbeat for {silent_s:.0f} s. It is replaced.")
            self.workers[name].leave(now, HUNG_GRACE_S)

    def _is_ours(self, beat: Heartbeat) -> bool:
        child = self.workers.get(beat.name)
        return child is not None and child.process is not None and child.process.pid == beat.pid

    def _runs(self, name: str) -> bool:
        return name in self.beats and self.beats[name].state == "running" and self.workers[name].alive

    # -- what is written down -------------------------------------------------------------------------------------------------

    def _write(self, now: float, state: str) -> None:
        rate, arriving = self.backlog.rates()
        broker_error = self.backlog.broker_error
        # While the broker does not respond, the lag is unknown; its last value would look like the present one.
        lag = self.backlog.lag if self.backlog.partitions and not broker_error else None
        children = self._children()
        for child in children.values():
            child.measure(now)
        pid, created_at = self.process
        at = time.time()
        written = {
            "pid": pid,
            "created_at": created_at,
            "started_at": self.started_at,
            "written_at": at,
            "state": state or self._state(),
            "detail": broker_error,
            "stalled": self.stalled,
            "target": self.decision.target,
            "reason": self.decision.reason,
            "bootstrap": self.settings.bootstrap,
            "topic": self.settings.topic,
            "group": self.settings.group,
            "lag": lag,
            "rate": rate,
            "arriving": arriving,
            "cores": self.cores,
            "memory_bytes": self.memory_bytes,
            "partitions": [{"partition": e.partition, "committed": e.committed, "end": e.end} for e in self.backlog.partitions],
            "children": {name: child.state(now) for name, child in children.items()},
        }
        row = {
            "at": round(at, 1),
            "lag": lag,
            "rate": round(rate, 1),
            "arriving": round(arriving, 1),
            "workers": sum(self._runs(name) for name in self.workers),
            "target": self.decision.target,
            "cpu": {name: child.cpu for name, child in children.items() if child.cpu is not None},
            "rss_bytes": {name: child.rss_bytes for name, child in children.items() if child.rss_bytes is not None},
            **self._counts_since_last(children),
        }
        try:
            write_state(self.var, written)
            self.history.add(row)
        except (GroundswellError, OSError) as error:  # a full disk must not stop the workers
            if str(error) != self.unwritten:
                _log.warning("The state of the supervisor cannot be written: %s", error)
            self.unwritten = str(error)

    def _state(self) -> str:
        if self.backlog.broker_error:
            return "waiting for the broker"
        if not self.backlog.partitions:
            return "starting"
        return "stalled" if self.stalled else "running"

    def _counts_since_last(self, children: dict[str, Child]) -> dict[str, int]:
        """Return the dead letters and restarts since the last row."""
        dead = {beat.pid: beat.dead_letters for beat in self.beats.values()}
        new_dead = sum(max(0, count - self.dead_letters.get(pid, 0)) for pid, count in dead.items())
        restarts = sum(child.restarts for child in children.values())
        counts = {"dead_letters": new_dead, "restarts": restarts - self.restarts}
        self.dead_letters, self.restarts = self.dead_letters | dead, restarts
        return counts

    # -- the end --------------------------------------------------------------------------------------------------------------

    def _end_all(self) -> None:
        for leaving in (list(self.workers.values()), *([child] for child in reversed(self.others.values()))):
            for child in leaving:
                child.wanted = False
            while alive := [child for child in leaving if child.process is not None]:
                now = time.monotonic()
                for child in self._children().values():
                    child.tick(now)
                self._write(now, "stopping")
                if alive[0].process is not None:
                    with suppress(TimeoutExpired):
                        alive[0].process.wait(TICK_S)
        self._write(time.monotonic(), "stopped")


def _log_failure(notification: "Future[object]") -> None:
    if error := notification.exception():
        _log.warning("The notification failed: %r", error)
