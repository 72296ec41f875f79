"""What every section needs: a broker, a warehouse, topics full of texts, workers of every kind, rounds."""

import itertools
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import psutil
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_fixed

from data.errors import WarehouseError
from orchestration.bench_api.bench import Outcome, Tell
from orchestration.bench_api.texts import Texts
from orchestration.bench_stream import metrics
from orchestration.bench_stream.group import Group
from orchestration.bench_stream.programs import Program, stop_all, tree_cpu_s
from orchestration.bench_stream.schedule import steady_rate
from orchestration.kafka.server import LocalKafka, free_port
from orchestration.stream_send import event_bytes, send
from serving.bundle import BUNDLE_ENV, Bundle
from serving.streaming.broker import ALERTS, DEAD_LETTERS, PREDICTIONS
from serving.warehouse.connect import connect

__all__ = ["Bench", "Outcome", "Side", "Steady", "Topic"]

PARTITIONS = 8
START_S, WARM_S, LOOK_S, OWNER_S = 120.0, 3.0, 0.1, 60.0
TABLES = ("predictions", "rollup_second", "rollup_minute", "rollup_hour")
SAMPLE_TEXTS = 2_000

Found = TypeVar("Found")


@dataclass(frozen=True)
class Topic:
    """A topic made for a measurement."""

    name: str
    partitions: int
    count: int
    """Messages it was filled with."""


@dataclass(frozen=True)
class Side:
    """One way to work through a topic."""

    title: str
    members: int
    """Consumers that it puts into the group."""
    start: Callable[[Mapping[str, str]], list[Program]]
    """Given the settings of topic, group and places."""
    ports: tuple[int, ...] = ()
    """Of its `/metrics`."""


@dataclass
class Steady:
    """A window in which there was always more to do."""

    messages: int
    wall_s: float
    per_s: float
    cpu_s: dict[str, float]
    """Of the workers, the warehouse and the broker."""
    left: int
    """Messages still waiting when it was over."""
    stage_us: dict[str, float] = field(default_factory=dict)

    def cpu_us(self, who: str) -> float:
        """Processor time a message."""
        return 1e6 * self.cpu_s[who] / self.messages if self.messages else float("nan")

    def to_dict(self) -> dict[str, Any]:
        """For the JSON file."""
        return asdict(self)


class Bench:
    """One run, with a broker and a warehouse of its own; both are gone when the `with` block is left, however it is left."""

    def __init__(
        self,
        bundle: Bundle,
        checkpoint: Path,
        texts: Texts,
        folder: Path,
        tell: Tell,
        *,
        seconds: float,
        rounds: int,
        burst: int,
        quick: bool = False,
    ) -> None:
        """Make it.

        Args:
            bundle: What our workers judge with.
            checkpoint: What it was exported from, for the naive worker.
            texts: Texts that do not repeat.
            folder: `var/bench`.
            tell: Told how far it is.
            seconds: A measurement.
            rounds: Each measurement comes once a round.
            burst: Messages of the burst.
            quick: Everything small: to see that it works, not to be quoted.
        """
        self.bundle, self.checkpoint, self.texts, self.folder, self.tell = bundle, checkpoint, texts, folder, tell
        self.seconds, self.rounds, self.burst, self.quick = seconds, rounds, burst, quick
        self.warm_s = 1.0 if quick else WARM_S
        self.home = folder / "stream-run"
        self.var = self.home / "var"
        self.kafka = LocalKafka(self.home / "kafka")
        self.capacity: float | None = None
        """Messages a second of the fastest of ours, once known."""
        self.layout: tuple[int, int] = (2, 1)
        """Processes and threads of the fastest of ours; until known, one process a processor."""
        self._stack = ExitStack()
        self._numbers = itertools.count()
        self._owner: Program | None = None

    def __enter__(self) -> "Bench":
        shutil.rmtree(self.home, ignore_errors=True)
        self._stack.callback(shutil.rmtree, self.home, ignore_errors=True)
        self.tell("starting Kafka", None)
        self._stack.enter_context(self.kafka)
        self.kafka.create_topics({PREDICTIONS: PARTITIONS, DEAD_LETTERS: 1, ALERTS: 1})
        self.admin = self.kafka.admin()
        self.tell("starting the warehouse", None)
        self._owner = self.start_owner(self.var, self._stack)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def start_owner(self, var: Path, stack: ExitStack) -> Program:
        """A warehouse in that folder, until the stack is closed. Blocks until it answers."""
        settings = {"GROUNDSWELL_PATHS__VAR_DIR": str(var), "GROUNDSWELL_WAREHOUSE__PORT": str(free_port())}
        owner = Program(
            f"warehouse-{var.name}", ["-m", "orchestration.cli", "warehouse", "serve", "--with-parent"], settings, self.logs
        )
        stack.callback(owner.stop)
        wait = Retrying(
            retry=retry_if_exception_type(WarehouseError), stop=stop_after_delay(OWNER_S), wait=wait_fixed(0.2), reraise=True
        )
        wait(self._ask, owner, var)
        return owner

    def _ask(self, owner: Program, var: Path) -> None:
        owner.check()
        with connect(var, own=False) as client:
            client.command("SELECT 1")

    @property
    def logs(self) -> Path:
        """What the processes print; kept after the run."""
        return self.folder / "stream-logs"

    def number(self) -> int:
        """A number that was not given before."""
        return next(self._numbers)

    # Topics

    def topic(self, partitions: int = PARTITIONS) -> Topic:
        """A new topic, empty."""
        name = f"bench.messages.{self.number()}"
        self.kafka.create_topics({name: partitions})
        return Topic(name, partitions, 0)

    def events(self, count: int) -> list[bytes]:
        """So many new events, real texts, created now."""
        return [event_bytes(f"b-{self.number()}", text, "bench") for text in self.texts.take(count)]

    def fill(self, count: int, *, texts: int | None = None) -> Topic:
        """A new topic with so many messages.

        Args:
            count: Messages.
            texts: So many different ones, over and over; none: all different.
        """
        self.tell(f"filling a topic with {count:,} messages", None)
        topic = self.topic()
        events = self.events(min(count, texts or count))
        # Each message to any partition, so that all are about as long.
        config = self.client_config() | {"sticky.partitioning.linger.ms": 0}
        send(config, topic.name, itertools.islice(itertools.cycle(events), count), timeout_s=120)
        return Topic(topic.name, topic.partitions, count)

    def client_config(self) -> dict[str, Any]:
        """What a client of the broker begins with."""
        return {"bootstrap.servers": self.kafka.bootstrap, "log_level": 0}

    def group(self, name: str, topic: Topic) -> Group:
        """A look at a group on a topic."""
        return Group(self.admin, self.client_config(), name, topic.name, topic.partitions)

    # Workers

    def settings(self, topic: Topic, group: str, var: Path | None = None) -> dict[str, str]:
        """The environment of a worker."""
        return {
            "GROUNDSWELL_STREAM__BOOTSTRAP": self.kafka.bootstrap,
            "GROUNDSWELL_STREAM__TOPIC": topic.name,
            "GROUNDSWELL_STREAM__GROUP": group,
            "GROUNDSWELL_PATHS__VAR_DIR": str(var or self.var),
            BUNDLE_ENV: str(self.bundle.directory.resolve()),
        }

    def worker(
        self, name: str, settings: Mapping[str, str], *, threads: int = 1, stand_in: bool = False, port: int | None = None
    ) -> Program:
        """One of our workers, as `groundswell stream worker` starts it."""
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
        return Program(f"worker-{name}", [*command, *(["--stand-in"] if stand_in else [])], own, self.logs)

    def ours(self, processes: int, threads: int, *, stand_in: bool = False) -> Side:
        """So many of our workers."""
        ports = tuple(free_port() for _ in range(processes))

        def start(settings: Mapping[str, str]) -> list[Program]:
            numbered = enumerate(ports, start=1)
            return [self.worker(f"w{k}", settings, threads=threads, stand_in=stand_in, port=port) for k, port in numbered]

        title = f"{_count(processes, 'process', 'processes')}, {_count(threads, 'thread', 'threads')}"
        return Side(title, processes, start, ports)

    def sharing(self, consumers: int, *, stand_in: bool = False) -> Side:
        """One process, several consumers, one model."""

        def start(settings: Mapping[str, str]) -> list[Program]:
            own = {**settings, "GROUNDSWELL_STREAM__THREADS": "1"}
            command = ["-m", "orchestration.bench_stream.consumers", str(consumers), *(["--stand-in"] if stand_in else [])]
            return [Program("consumers", command, own, self.logs)]

        return Side(f"1 process, {consumers} consumers", consumers, start)

    def naive(self, processes: int, threads: int) -> Side:
        """Workers as one writes them first."""

        def start(settings: Mapping[str, str]) -> list[Program]:
            where = [self.kafka.bootstrap, settings["GROUNDSWELL_STREAM__TOPIC"], settings["GROUNDSWELL_STREAM__GROUP"]]
            command = ["-m", "orchestration.bench_stream.naive", *where, str(self.checkpoint.resolve()), str(threads)]
            own = {**settings, "OMP_NUM_THREADS": str(threads)}
            return [Program(f"naive-{k}", command, own, self.logs) for k in range(1, processes + 1)]

        title = f"naive, {_count(processes, 'process', 'processes')}, {_count(threads, 'thread', 'threads')}"
        return Side(title, processes, start)

    # Measurements

    def sustained(self, side: Side, topic: Topic, seconds: float | None = None) -> Steady:
        """What a side gets done while there is always more to do: committed messages a second, over one window.

        Raises:
            StreamError: It does not get to work.
        """
        group_name = f"bench-{self.number()}"
        group = self.group(group_name, topic)
        programs = side.start(self.settings(topic, group_name))
        try:
            group.wait_for(side.members, within_s=START_S, check=lambda: [program.check() for program in programs])
            time.sleep(self.warm_s)
            before, counted = self._cpu_s(programs), self._read(side)
            samples = self._watch(group, topic.count, seconds or self.seconds)
            after, counts = self._cpu_s(programs), self._read(side)
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

    def need_capacity(self) -> float:
        """Messages a second of ours, measured now if no section did."""
        if self.capacity is None:
            topic = self.fill(self.enough(self.bulk_rate(1.0)))
            self.tell("capacity", None)
            self.capacity = self.sustained(self.ours(*self.layout), topic).per_s
        return self.capacity

    def enough(self, per_s: float) -> int:
        """Messages that a side of this speed does not get through: start, warm-up and window, twice over."""
        return round(2 * per_s * (6 + self.warm_s + self.seconds))

    def bulk_rate(self, seconds: float) -> float:
        """Texts a second of bulk classify."""
        return self.bulk(seconds).per_s

    def bulk(self, seconds: float) -> Steady:
        """Bulk classify in this process, on all processors: what could be had if nothing else had to be done."""
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
        """Empty the warehouse, so that every measurement begins with the same."""
        with connect(self.var, own=False) as client:
            for table in TABLES:
                client.command(f"TRUNCATE TABLE {table}")

    def in_turns(self, sides: Mapping[str, Callable[[int], Found]], rounds: int | None = None) -> dict[str, list[Found]]:
        """Every side once a round, in an order that turns; each is told the number of the round."""
        found: dict[str, list[Found]] = {name: [] for name in sides}
        names, count = list(sides), rounds or self.rounds
        for index in range(count):
            for turn in range(len(names)):
                name = names[(index + turn) % len(names)]
                self.tell(f"round {index + 1} of {count}: {name}", (index + turn / len(names)) / count)
                found[name].append(sides[name](index))
        return found

    def _watch(self, group: Group, count: int, seconds: float) -> list[tuple[float, int]]:
        began = time.monotonic()
        samples = [(began, group.committed())]
        while samples[-1][0] - began < seconds:
            time.sleep(LOOK_S)
            committed = group.committed()
            if committed >= count:
                break  # nothing waits any more: from here on the side had less to do than it could
            samples.append((time.monotonic(), committed))
        return samples

    def _cpu_s(self, programs: Sequence[Program]) -> dict[str, float]:
        broker = [psutil.Process(self.kafka.pid)] if self.kafka.pid else []
        return {
            "workers": sum(program.cpu_s() for program in programs),
            "warehouse": self._owner.cpu_s() if self._owner else 0.0,
            "broker": tree_cpu_s(broker),
        }

    def _read(self, side: Side) -> dict[str, float]:
        return metrics.total([metrics.read(port) for port in side.ports])


def _count(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"
