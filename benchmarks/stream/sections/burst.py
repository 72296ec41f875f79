"""A burst of messages on top of a steady load: time to drain it, the workers used, and when `base` classifies again."""

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

from benchmarks.harness.figures import Goal, figure, ratios
from benchmarks.harness.processes import Program, stop_all
from benchmarks.harness.report import Outcome
from benchmarks.stream.bench import Bench, Topic
from benchmarks.stream.burst_plot import Line, plot_burst
from benchmarks.stream.schedule import Threshold, changes, drained_at, worker_seconds
from benchmarks.stream.sections.rates import FLOOR
from data.errors import StreamError
from orchestration.local.kafka import free_port
from serving.streaming.producer import event_bytes, send
from serving.streaming.worker.heartbeat import read_heartbeats
from serving.tiers import BASE
from serving.warehouse.connect import connect

STEADY, BEFORE_S, AFTER_S, LOOK_S = 0.2, 5.0, 5.0, 0.5
"""The steady load as a share of the capacity; seconds observed before the burst and after its end; seconds between samples."""
CALM_S = 1.0
"""The burst is drained when the lag is at most what arrives in this time."""
START_S = 120.0
OURS, FIXED, CONTROLLED = "groundswell stream up", "2 workers", f"2 workers, load control, floor {FLOOR}"
LIMITS = {OURS: (0, 0), "1 worker": (1, 1), FIXED: (2, 2), "lag / 1,000, up to 8": (1, 8), CONTROLLED: (2, 2)}
"""The fewest and the most workers of each side; the supervisor decides by itself."""
AT_WORK = {"running", "draining", "waiting for the broker", "waiting for the warehouse"}


class Scale(Protocol):
    """One way to scale: it decides how many workers run."""

    def start(self) -> None:
        """Start the first workers."""

    def tick(self, now: float, lag: int) -> None:
        """Adapt the number of workers to the lag; called twice per second."""

    def programs(self) -> list[Program]:
        """Return all programs ever started."""
        ...

    def stop(self) -> None:
        """Stop all programs."""


class Threshold1000:
    """One worker per 1,000 waiting messages, `least` to `most`; a fixed number if both are equal."""

    def __init__(self, bench: Bench, settings: dict[str, str], *, least: int, most: int) -> None:
        self._bench, self._settings, self._least, self._most = bench, settings, least, most
        self._threshold = Threshold(most=most)
        self._running: list[Program] = []
        self._all: list[Program] = []

    def start(self) -> None:
        """Start `least` workers."""
        self._scale_to(self._least)

    def tick(self, now: float, lag: int) -> None:
        """Apply the threshold."""
        self._scale_to(max(self._least, self._threshold.workers(now, lag)))
        for program in self._running:
            program.check()

    def programs(self) -> list[Program]:
        """Return all programs ever started."""
        return self._all

    def stop(self) -> None:
        """Stop all programs."""
        stop_all(self._all)

    def _scale_to(self, count: int) -> None:
        while len(self._running) < count:
            program = self._bench.worker(f"w{len(self._all) + 1}", self._settings, threads=1)
            self._running.append(program)
            self._all.append(program)
        while len(self._running) > count:
            self._running.pop().ask_to_stop()


class Ours:
    """The product's supervisor with its default settings."""

    def __init__(self, bench: Bench, settings: dict[str, str]) -> None:
        self._bench, self._all = bench, []
        self._settings = settings | {
            "GROUNDSWELL_WAREHOUSE__PORT": str(free_port()),
            "GROUNDSWELL_STREAM__METRICS_PORT": str(free_port()),
            "GROUNDSWELL_STREAM__THREADS": "1",
        }

    def start(self) -> None:
        """Start the supervisor."""
        self._all = [Program("up", ["-m", "orchestration.cli", "stream", "up"], self._settings, self._bench.logs)]

    def tick(self, now: float, lag: int) -> None:
        """Check that the supervisor runs; it reads the lag itself."""
        self._all[0].check()

    def programs(self) -> list[Program]:
        """Return the supervisor; its descendants are counted with it."""
        return self._all

    def stop(self) -> None:
        """Stop the supervisor, which stops its children."""
        stop_all(self._all)


@dataclass
class Burst:
    """One run of one side. Times are seconds after the burst."""

    drain_s: float
    rebalances: int
    """Changes of the partition assignment, from the burst to its end."""
    most_workers: int
    worker_s: float
    base_again_s: float
    """When the last message was classified by another tier than `base`; 0: none was."""
    cpu_s: float
    """CPU time of the workers, from the burst to its end; for ours including supervisor, alerts and warehouse."""
    lag: list[tuple[float, int]] = field(repr=False)
    workers: list[tuple[float, int]] = field(repr=False)


def measure(bench: Bench) -> Outcome:
    """Measure each way to scale once per round, each with its own warehouse."""
    capacity = bench.measured_capacity()
    rate = STEADY * capacity
    rounds = 1 if bench.burst >= 5_000 else bench.rounds
    sides = [side for side in LIMITS if side != CONTROLLED or bench.bundle.manifest.points]
    found = bench.in_turns({side: lambda index, side=side: _run(bench, side, rate, index) for side in sides}, rounds)
    rows = [[side, *_row(runs)] for side, runs in found.items()]
    goals = [
        Goal(f"time to drain, {side} / ours", ratios([one.drain_s for one in runs], [one.drain_s for one in found[OURS]]))
        for side, runs in found.items()
        if side not in {OURS, CONTROLLED}
    ]
    if CONTROLLED in found:
        times = [[one.drain_s for one in found[side]] for side in (FIXED, CONTROLLED)]
        goals.append(Goal("time to drain, fixed base / load control, 2 workers", ratios(*times)))
    plot = plot_burst(
        [Line(side, runs[0].lag, runs[0].workers) for side, runs in found.items()], bench.folder / "stream-burst.png"
    )
    notes = [
        f"{bench.burst:,} messages at once on top of {rate:,.0f}/s, a fifth of the capacity of {capacity:,.0f}/s. Drained: the "
        f"lag is at most the messages of {CALM_S:g} s. Rebalances: changes of the assignment, sampled every {LOOK_S} s.",
        "Every worker has one thread. Ours may start one worker per CPU; its CPU includes supervisor, alerts and warehouse. "
        "The others start with their smallest number of workers. Each committed message has a row in the warehouse. Base again: "
        "when the last message was classified by another tier, in seconds after the burst.",
        f"Plot: {plot.name}",
    ]
    columns = ["", "s to drain", "rebalances", "most workers", "worker seconds", "base again, s", "CPU s"]
    return Outcome(columns, rows, goals, notes, {side: [asdict(one) for one in runs] for side, runs in found.items()})


def _run(bench: Bench, side: str, rate: float, index: int) -> Burst:
    var = bench.home / f"burst-{index}-{bench.number()}"
    topic, group_name = bench.topic(), f"burst-{bench.number()}"
    settings = bench.settings(topic, group_name, var)
    if side == CONTROLLED:
        settings["GROUNDSWELL_STREAM__FLOOR"] = str(FLOOR)
    least, most = LIMITS[side]
    scale: Scale = Ours(bench, settings) if side == OURS else Threshold1000(bench, settings, least=least, most=most)
    stop = threading.Event()
    steady = threading.Thread(target=send, args=(bench.client_config(), topic.name, _until(stop, bench)), kwargs={"rate": rate})
    with ExitStack() as stack:
        if side != OURS:
            bench.start_warehouse(var, stack)
        stack.callback(scale.stop)
        scale.start()
        stack.callback(steady.join)
        stack.callback(stop.set)
        steady.start()
        return _watch(bench, topic, group_name, scale, var, calm=round(CALM_S * rate) + 1)


def _watch(bench: Bench, topic: Topic, group_name: str, scale: Scale, var: Path, *, calm: int) -> Burst:
    group = bench.group(group_name, topic)
    _settle(group, scale, calm)
    lags: list[tuple[float, int]] = []
    workers: list[tuple[float, int]] = []
    holders: list[Any] = []
    events = bench.events(bench.burst)
    began = time.monotonic() + BEFORE_S
    limit = began + 120 + bench.burst / (0.1 * (bench.capacity or 100))
    sending: threading.Thread | None = None
    cpu = through = began_at = 0.0
    while True:
        time.sleep(LOOK_S)
        now = time.monotonic()
        if sending is None and now >= began:
            cpu = _cpu_s(scale)
            config = bench.client_config() | {"sticky.partitioning.linger.ms": 0}
            sending = threading.Thread(target=send, args=(config, topic.name, events))
            sending.start()
            began, began_at = now, time.time()
        lag = group.state().lag
        scale.tick(now, lag)
        lags.append((now - began, lag))
        workers.append((now - began, sum(beat.state in AT_WORK for beat in read_heartbeats(var))))
        if (held := group.holders()) and now >= began:
            holders.append(held)
        if sending is not None and not sending.is_alive() and not through and lag <= calm:
            through, cpu = now, _cpu_s(scale) - cpu
        if through and now - through >= AFTER_S:
            break
        if now > limit:
            raise StreamError("The burst does not drain.", found=f"{lag:,} messages waiting after {now - began:.0f} s")
    drain = drained_at([(at, lag) for at, lag in lags if at >= 0], calm)
    until = [(at, count) for at, count in workers if at <= drain]
    return Burst(
        drain,
        changes(holders),
        max(count for _, count in workers),
        worker_seconds(until, drain) if until else 0.0,
        _base_again_s(topic.name, var, group.state().committed, began_at),
        cpu,
        lags,
        workers,
    )


def _base_again_s(topic: str, var: Path, committed: int, began: float) -> float:
    """Return how long after the burst another tier than `base` classified a message.

    Raises:
        StreamError: A committed message has no row.
    """
    query = (
        "SELECT count(), maxIf(toUnixTimestamp64Milli(written_at), tier != {base:String}) "
        "FROM predictions FINAL WHERE topic = {topic:String}"
    )
    with connect(var, own=False) as client:
        ((rows, last),) = client.query(query, parameters={"topic": topic, "base": BASE}).result_rows
    if rows < committed:
        raise StreamError("Messages are missing in the warehouse.", found=f"{rows:,} rows", expected=f"at least {committed:,}")
    return max(0.0, last / 1000 - began) if last else 0.0


def _settle(group: Any, scale: Scale, calm: int) -> None:
    """Wait until the workers keep up with the steady load."""
    end = time.monotonic() + START_S
    while time.monotonic() < end:
        time.sleep(LOOK_S)
        state = group.state()
        scale.tick(time.monotonic(), 0)
        if state.committed and state.lag <= calm:
            return
    raise StreamError("The workers do not keep up with the load.", found=f"{group.state()}", expected=f"a lag of at most {calm}")


def _until(stop: threading.Event, bench: Bench) -> Iterator[bytes]:
    while not stop.is_set():
        yield event_bytes(f"b-{bench.number()}", bench.texts.take(1)[0], "bench")


def _cpu_s(scale: Scale) -> float:
    return sum(program.cpu_s() for program in scale.programs())


def _row(runs: list[Burst]) -> list[str]:
    return [
        figure([one.drain_s for one in runs]),
        figure([one.rebalances for one in runs]),
        str(max(one.most_workers for one in runs)),
        figure([one.worker_s for one in runs]),
        figure([one.base_again_s for one in runs]),
        figure([one.cpu_s for one in runs]),
    ]
