"""What every section uses: a broker, a warehouse, topics with texts, workers of every kind, rounds."""

import itertools
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import psutil
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_fixed

from benchmarks.harness.processes import Program, stop_all, tree_cpu_s
from benchmarks.harness.rounds import Progress, Result, in_turns
from benchmarks.harness.texts import Texts, repeating_trace
from benchmarks.stream import metrics
from benchmarks.stream.group import Group
from benchmarks.stream.schedule import steady_rate
from data.errors import WarehouseError
from orchestration.local.kafka import LocalKafka, free_port
from serving.bundle import BUNDLE_ENV, Bundle
from serving.streaming.broker import ALERTS, DEAD_LETTERS, PREDICTIONS
from serving.streaming.producer import event_bytes, send
from serving.warehouse.connect import connect

PARTITIONS = 8
START_S, WARM_S, LOOK_S, WAREHOUSE_START_S = 120.0, 3.0, 0.1, 60.0
TABLES = ("predictions", "rollup_second", "rollup_minute", "rollup_hour")
SAMPLE_TEXTS = 2_000
SEED = 7
"""Of the places of repeated texts."""
CACHE = "GROUNDSWELL_STREAM__CACHE_TEXTS"


@dataclass(frozen=True)
class Topic:
    """A topic made for a measurement."""

    name: str
    partitions: int
    count: int
    """Number of messages it was filled with."""


@dataclass(frozen=True)
class Side:
    """One way to process a topic."""

    title: str
    members: int
    """Consumers that it adds to the group."""
    start: Callable[[Mapping[str, str]], list[Program]]
    """Starts its programs with these environment variables."""
    ports: tuple[int, ...] = ()
    """Ports of its `/metrics`."""


@dataclass
class Steady:
    """The result of a window with a constant backlog."""

    messages: int
    wall_s: float
    per_s: float
    cpu_s: dict[str, float]
    """CPU time of the workers, the warehouse and the broker."""
    left: int
    """Messages still waiting at the end."""
    stage_us: dict[str, float] = field(default_factory=dict)

    def cpu_us(self, who: str) -> float:
        """Return the CPU time per message, in µs."""
        return 1e6 * self.cpu_s[who] / self.messages if self.messages else float("nan")

    def to_dict(self) -> dict[str, Any]:
        """Return it for the JSON file."""
        return asdict(self)


class Bench:
    """One run with its own broker and warehouse; both are removed when the `with` block ends, also after an error."""

    def __init__(
        self,
        bundle: Bundle,
        checkpoint: Path,
        texts: Texts,
        folder: Path,
        progress: Progress,
        *,
        seconds: float,
        rounds: int,
        burst: int,
        rates: Sequence[float] = (),
        rate_seconds: float = 0.0,
        quick: bool = False,
    ) -> None:
        """Create the run; nothing is started yet.

        Args:
            bundle: The bundle that our workers use.
            checkpoint: The checkpoint it was exported from, for the naive worker.
            texts: Texts that do not repeat.
            folder: `var/bench`.
            progress: Shows the progress.
            seconds: Length of a measurement.
            rounds: Each measurement runs once per round.
            burst: Messages of the burst.
            rates: Messages per second of the section `rates`.
            rate_seconds: Length of each of its measurements.
            quick: Small sizes, to check that it works; the numbers mean nothing.
        """
        self.bundle, self.checkpoint, self.texts, self.folder, self.progress = bundle, checkpoint, texts, folder, progress
        self.seconds, self.rounds, self.burst, self.quick = seconds, rounds, burst, quick
        self.rates, self.rate_seconds = rates, rate_seconds
        self.warm_s = 1.0 if quick else WARM_S
        self.home = folder / "stream-run"
        self.var = self.home / "var"
        self.kafka = LocalKafka(self.home / "kafka")
        self.capacity: float | None = None
        """Messages per second of our fastest layout, once measured."""
        self.layout: tuple[int, int] = (2, 1)
        """Processes and threads of our fastest layout; one process per CPU until measured."""
        self._stack = ExitStack()
        self._numbers = itertools.count()
        self._warehouse: Program | None = None

    def __enter__(self) -> "Bench":
        shutil.rmtree(self.home, ignore_errors=True)
        self._stack.callback(shutil.rmtree, self.home, ignore_errors=True)
        self.progress("starting Kafka", None)
        self._stack.enter_context(self.kafka)
        self.kafka.create_topics({PREDICTIONS: PARTITIONS, DEAD_LETTERS: 1, ALERTS: 1})
        self.admin = self.kafka.admin()
        self.progress("starting the warehouse", None)
        self._warehouse = self.start_warehouse(self.var, self._stack)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def start_warehouse(self, var: Path, stack: ExitStack) -> Program:
        """Start a warehouse server for that folder, stopped when the stack is closed. Blocks until it responds."""
        settings = {"GROUNDSWELL_PATHS__VAR_DIR": str(var), "GROUNDSWELL_WAREHOUSE__PORT": str(free_port())}
        warehouse = Program(
            f"warehouse-{var.name}", ["-m", "orchestration.cli", "warehouse", "serve", "--with-parent"], settings, self.logs
        )
        stack.callback(warehouse.stop)
        wait = Retrying(
            retry=retry_if_exception_type(WarehouseError),
            stop=stop_after_delay(WAREHOUSE_START_S),
            wait=wait_fixed(0.2),
            reraise=True,
        )
        wait(self._check_warehouse, warehouse, var)
        return warehouse

    def _check_warehouse(self, warehouse: Program, var: Path) -> None:
        warehouse.check()
        with connect(var, own=False) as client:
            client.command("SELECT 1")

    @property
    def logs(self) -> Path:
        """Folder for the output of the processes; kept after the run."""
        return self.folder / "stream-logs"

    def number(self) -> int:
        """Return a new number at each call."""
        return next(self._numbers)

    # Topics

    def topic(self, partitions: int = PARTITIONS) -> Topic:
        """Create an empty topic."""
        name = f"bench.messages.{self.number()}"
        self.kafka.create_topics({name: partitions})
        return Topic(name, partitions, 0)

    def events(self, count: int) -> list[bytes]:
        """Return `count` new events with real texts, created now."""
        return [event_bytes(f"b-{self.number()}", text, "bench") for text in self.texts.take(count)]

    def fill(self, count: int, *, texts: int | None = None, repeats: float = 0.0) -> Topic:
        """Create a topic with `count` messages.

        Args:
            count: Number of messages.
            texts: Number of different texts, repeated as needed; None: all different.
            repeats: Share of the messages, 0 to 1, that repeat the text of an earlier one.
        """
        self.progress(f"filling a topic with {count:,} messages", None)
        topic = self.topic()
        events = self.events(min(count, texts or count))
        if repeats:
            events = [events[first] for first in repeating_trace(len(events), repeats, SEED)]
        # Without sticky partitioning messages spread evenly, so that all partitions get about the same number.
        config = self.client_config() | {"sticky.partitioning.linger.ms": 0}
        send(config, topic.name, itertools.islice(itertools.cycle(events), count), timeout_s=120)
        return Topic(topic.name, topic.partitions, count)

    def client_config(self) -> dict[str, Any]:
        """Return the base configuration of a client of the broker."""
        return {"bootstrap.servers": self.kafka.bootstrap, "log_level": 0}

    def group(self, name: str, topic: Topic) -> Group:
        """Return a reader of a group's state on a topic."""
        return Group(self.admin, self.client_config(), name, topic.name, topic.partitions)

    # Workers

    def settings(self, topic: Topic, group: str, var: Path | None = None) -> dict[str, str]:
        """Return the environment variables of a worker."""
        return {
            "GROUNDSWELL_STREAM__BOOTSTRAP": self.kafka.bootstrap,
            "GROUNDSWELL_STREAM__TOPIC": topic.name,
            "GROUNDSWELL_STREAM__GROUP": group,
            "GROUNDSWELL_PATHS__VAR_DIR": str(var or self.var),
            BUNDLE_ENV: str(self.bundle.directory.resolve()),
            CACHE: "0",  # topics may repeat texts, and peers have no cache; the section `repeats` measures it
        }

    def worker(
        self, name: str, settings: Mapping[str, str], *, threads: int = 1, stub: bool = False, port: int | None = None
    ) -> Program:
        """Start one of our workers with `groundswell stream worker`."""
        command = [
            "-m",
            "orchestration.cli",
            "stream",
            "worker",
            "--name",
            name,
            "--metrics-port",
            str(port or free_port()),
            "--with-parent",
        ]
        own = {**settings, "GROUNDSWELL_STREAM__THREADS": str(threads)}
        return Program(f"worker-{name}", [*command, *(["--stub-model"] if stub else [])], own, self.logs)

    def ours(self, processes: int, threads: int, *, stub: bool = False) -> Side:
        """Describe `processes` of our workers."""
        ports = tuple(free_port() for _ in range(processes))

        def start(settings: Mapping[str, str]) -> list[Program]:
            numbered = enumerate(ports, start=1)
            return [self.worker(f"w{k}", settings, threads=threads, stub=stub, port=port) for k, port in numbered]

        title = f"{_count(processes, 'process', 'processes')}, {_count(threads, 'thread', 'threads')}"
        return Side(title, processes, start, ports)

    def sharing(self, consumers: int, *, stub: bool = False) -> Side:
        """Describe one process with several consumers that share one model."""

        def start(settings: Mapping[str, str]) -> list[Program]:
            own = {**settings, "GROUNDSWELL_STREAM__THREADS": "1"}
            command = ["-m", "benchmarks.stream.consumers", str(consumers), *(["--stub-model"] if stub else [])]
            return [Program("consumers", command, own, self.logs)]

        return Side(f"1 process, {consumers} consumers", consumers, start)

    def naive(self, processes: int, threads: int) -> Side:
        """Describe naive workers (`naive.py`)."""

        def start(settings: Mapping[str, str]) -> list[Program]:
            where = [self.kafka.bootstrap, settings["GROUNDSWELL_STREAM__TOPIC"], settings["GROUNDSWELL_STREAM__GROUP"]]
            command = ["-m", "benchmarks.stream.naive", *where, str(self.checkpoint.resolve()), str(threads)]
            own = {**settings, "OMP_NUM_THREADS": str(threads)}
            return [Program(f"naive-{k}", command, own, self.logs) for k in range(1, processes + 1)]

        title = f"naive, {_count(processes, 'process', 'processes')}, {_count(threads, 'thread', 'threads')}"
        return Side(title, processes, start)

    # Measurements

    def sustained(self, side: Side, topic: Topic, seconds: float | None = None) -> Steady:
        """Measure a side's committed messages per second over one window with a constant backlog.

        Raises:
            StreamError: Its workers do not start.
        """
        group_name = f"bench-{self.number()}"
        group = self.group(group_name, topic)
        programs = side.start(self.settings(topic, group_name))
        try:
            group.wait_for(side.members, within_s=START_S, check=lambda: [program.check() for program in programs])
            time.sleep(self.warm_s)
            before, counted = self.cpu_s(programs), self._read(side)
            samples = self._watch(group, topic.count, seconds or self.seconds)
            after, counts = self.cpu_s(programs), self._read(side)
            for program in programs:
                program.check()
        finally:
            stop_all(programs)
            self.clear()
        (start, first), (end, last) = samples[0], samples[-1]
        return Steady(
            last - first,
            end - start,
            steady_rate(samples),
            {who: after[who] - before[who] for who in after},
            topic.count - last,
            metrics.stage_us(counted, counts),
        )

    def measured_capacity(self) -> float:
        """Return our messages per second; measure them now if no section has."""
        if self.capacity is None:
            topic = self.fill(self.enough(self.bulk_rate(1.0)))
            self.progress("capacity", None)
            self.capacity = self.sustained(self.ours(*self.layout), topic).per_s
        return self.capacity

    def enough(self, per_s: float) -> int:
        """Return more messages than a side of this speed can process: twice those of start, warm-up and window."""
        return round(2 * per_s * (6 + self.warm_s + self.seconds))

    def bulk_rate(self, seconds: float) -> float:
        """Return the texts per second of bulk classify."""
        return self.bulk(seconds).per_s

    def bulk(self, seconds: float) -> Steady:
        """Run bulk classify in this process on all CPUs: the upper bound, without a stream."""
        from serving.classifier import Classifier

        if self._classifier is None:
            self._classifier = Classifier(self.bundle, threads=2)
            self._classifier.classify(self.texts.take(64))
        texts = self.texts.take(SAMPLE_TEXTS)
        done, began, cpu = 0, time.monotonic(), time.process_time()
        while (now := time.monotonic()) - began < seconds or not done:
            self._classifier.classify(texts)
            done += len(texts)
        now = time.monotonic()
        spent = {"workers": time.process_time() - cpu, "warehouse": 0.0, "broker": 0.0}
        return Steady(done, now - began, done / (now - began), spent, 0)

    _classifier: Any = None

    def clear(self) -> None:
        """Empty the warehouse, so that every measurement starts with the same state."""
        with connect(self.var, own=False) as client:
            for table in TABLES:
                client.command(f"TRUNCATE TABLE {table}")

    def in_turns(self, sides: Mapping[str, Callable[[int], Result]], rounds: int | None = None) -> dict[str, list[Result]]:
        """Run every side once per round (`rounds.in_turns`)."""
        return in_turns(sides, rounds or self.rounds, self.progress)

    def _watch(self, group: Group, count: int, seconds: float) -> list[tuple[float, int]]:
        began = time.monotonic()
        samples = [(began, group.committed())]
        while samples[-1][0] - began < seconds:
            time.sleep(LOOK_S)
            committed = group.committed()
            if committed >= count:
                break  # no backlog: from here on the side is limited by the messages, not by its speed
            samples.append((time.monotonic(), committed))
        return samples

    def cpu_s(self, programs: Sequence[Program]) -> dict[str, float]:
        """Return the CPU seconds used so far by these workers, the warehouse and the broker."""
        broker = [psutil.Process(self.kafka.pid)] if self.kafka.pid else []
        return {
            "workers": sum(program.cpu_s() for program in programs),
            "warehouse": self._warehouse.cpu_s() if self._warehouse else 0.0,
            "broker": tree_cpu_s(broker),
        }

    def _read(self, side: Side) -> dict[str, float]:
        return metrics.total([metrics.read(port) for port in side.ports])


def _count(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"
