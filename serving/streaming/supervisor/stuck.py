"""Detects workers that make no progress: they hang, or receive no messages. The caller gives the clock, and replaces them."""

from collections.abc import Collection, Mapping
from typing import Any, Protocol

from serving.streaming.supervisor import stall
from serving.streaming.worker.heartbeat import Heartbeat

IDLE = {"running", "waiting for the broker"}
"""States of a worker that may have nothing to do; the latter stays until a message arrives."""
HUNG_AFTER_S, FIRST_BEAT_S = 30.0, 60.0
"""A worker hangs if it has written no heartbeat for this time; a new one has longer, since it loads its model first."""


class Process(Protocol):
    """What is asked of a worker's process: `Child`."""

    @property
    def alive(self) -> bool:
        """See `Child.alive`."""
        ...

    def age_s(self, now: float) -> float:
        """See `Child.age_s`."""
        ...

    def state(self, now: float) -> dict[str, Any]:
        """See `Child.state`."""
        ...


class HungWorkers:
    """Watches the heartbeats."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[float, float]] = {}  # by worker: time of its last heartbeat, and when it was read here

    def look(self, now: float, workers: Mapping[str, Process], beats: Mapping[str, Heartbeat]) -> dict[str, float]:
        """Return the workers that hang, each with the seconds since its last heartbeat.

        Args:
            now: Seconds on a monotonic clock. A heartbeat counts from when it was read: the clock of its time may be set.
            workers: By name.
            beats: The last heartbeat of each of these processes, by the name of the worker.
        """
        hung = {}
        for name, process in workers.items():
            if not process.alive:
                self._seen.pop(name, None)
                continue
            beat = beats.get(name)
            written_at, noticed_at = self._seen.get(name, (None, now))
            if beat and beat.written_at != written_at:
                self._seen[name] = (beat.written_at, now)
                continue
            silent_s, limit_s = (now - noticed_at, HUNG_AFTER_S) if written_at else (process.age_s(now), FIRST_BEAT_S)
            if silent_s >= limit_s and process.state(now)["state"] == "up":
                hung[name] = silent_s
        return hung


class IdleWorkers:
    """Watches for workers with nothing in flight while messages wait in a partition of their own or without an owner."""

    def __init__(self) -> None:
        self._since: dict[int, float] = {}  # by pid: since when it has had nothing in flight of a stalled partition
        self._replaced_for: set[int] = set()  # stalled partitions for which a worker was replaced

    def look(
        self, now: float, stalled: Collection[int], workers: Mapping[str, Process], beats: Mapping[str, Heartbeat]
    ) -> dict[str, list[int]]:
        """Return the workers to replace, each with the stalled partitions of which it receives nothing.

        It names one worker for each stalled partition, once: if its replacement does not help, as where only aborted
        transactions are left, another one never will.

        Args:
            now: Seconds on a monotonic clock.
            stalled: From `Stalls`.
            workers: By name.
            beats: The last heartbeat of each of these processes, by the name of the worker.
        """
        self._replaced_for &= set(stalled)
        held = {partition for beat in beats.values() for partition in beat.partitions}
        before, self._since = self._since, {}
        idle = {}
        for name, process in workers.items():
            beat = beats.get(name)
            if beat is None or beat.state not in IDLE or beat.in_flight or process.state(now)["state"] != "up":
                continue
            lacking = {each for each in stalled if each in beat.partitions or each not in held} - self._replaced_for
            if not lacking:
                continue
            # The group takes seconds to assign partitions: a worker that has just started, or whose neighbor ended, is not idle.
            since = self._since[beat.pid] = before.get(beat.pid, now)
            if now - since >= stall.STALLED_AFTER_S:
                self._replaced_for |= lacking
                idle[name] = sorted(lacking)
        return idle
