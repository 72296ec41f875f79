"""A stream for tests: a real Kafka, the warehouse server and workers as processes, and checks of the final state."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from data.errors import StreamError, WarehouseError
from orchestration.local.kafka import LocalKafka
from serving.settings import StreamSettings
from serving.streaming.broker import DEAD_LETTERS, PREDICTIONS, client_config
from serving.streaming.dead_letters import read_dead_letters
from serving.streaming.decode import decode
from serving.streaming.lag import LagReader
from serving.streaming.producer import event_bytes
from serving.warehouse.connect import connect
from tests.make import text_of
from tests.serving.running import ROOT, spare_port
from tests.waiting import until_passes

LABELS = ("negative", "neutral", "positive")
PYTHON = [sys.executable, "-m", "orchestration.cli"]


def numbered(n: int) -> bytes:
    """Return message `n-<k>`, which the tiny model classifies correctly."""
    return event_bytes(f"n-{n}", text_of(LABELS[n % 3], n), f"source-{n % 4}")


def label_of(identity: str) -> str:
    return LABELS[int(identity.removeprefix("n-")) % 3]


class StreamHarness:
    """One topic of a broker, with a warehouse of its own."""

    def __init__(self, kafka: LocalKafka, var: Path, bundle: Path, topic: str, **settings: Any) -> None:
        self.kafka, self.var, self.topic = kafka, var, topic
        self.settings = StreamSettings.load(bootstrap=kafka.bootstrap, topic=topic, group=f"group-{topic}", **settings)
        plain = {key: value for key, value in settings.items() if key != "security"}
        self.environment = {
            "GROUNDSWELL_PATHS__VAR_DIR": str(var),
            "GROUNDSWELL_BUNDLE_DIR": str(bundle),
            "OMP_NUM_THREADS": "1",
            "GROUNDSWELL_WAREHOUSE__PORT": str(spare_port()),
            "GROUNDSWELL_STREAM__METRICS_PORT": str(spare_port()),
            "GROUNDSWELL_STREAM__BOOTSTRAP": kafka.bootstrap,
            "GROUNDSWELL_STREAM__TOPIC": topic,
            "GROUNDSWELL_STREAM__GROUP": self.settings.group,
            **{f"GROUNDSWELL_STREAM__{name.upper()}": str(value) for name, value in plain.items()},
        }
        self.processes: list[subprocess.Popen[bytes]] = []
        self.sent: Counter[str] = Counter()

    # Processes.

    def start(self, *command: str, **environment: str) -> subprocess.Popen[bytes]:
        """Start `groundswell <command>`, with its log in `var/`."""
        self.var.mkdir(parents=True, exist_ok=True)
        with (self.var / f"{command[1]}.log").open("ab") as log:
            process = subprocess.Popen(
                [*PYTHON, *command],
                cwd=ROOT,
                env=os.environ | self.environment | environment,
                stdout=log,
                stderr=log,
                stdin=subprocess.PIPE,
            )
        self.processes.append(process)
        return process

    def warehouse_server(self) -> subprocess.Popen[bytes]:
        process = self.start("warehouse", "serve")
        self.ready()
        return process

    def worker(self, name: str, **environment: str) -> subprocess.Popen[bytes]:
        return self.start("stream", "worker", "--name", name, "--metrics-port", str(spare_port()), **environment)

    def ready(self) -> None:
        """Wait until the warehouse responds."""
        wait_for_warehouse(self.var)

    def logs(self) -> str:
        """Return the last lines of each log, for a failing test to show."""
        return "\n".join(f"{log.name}:\n{log.read_text()[-3_000:]}" for log in sorted(self.var.glob("*.log")))

    def end(self) -> None:
        for process in reversed(self.processes):
            end(process)

    # Messages.

    def produce(self, values: Any, *, rate: float | None = None) -> None:
        """Send bytes; blocks until they arrived, even if the broker fails meanwhile."""
        from serving.streaming.producer import send

        summary = send(client_config(self.settings), self.topic, values, rate=rate, timeout_s=240)
        assert not summary.errors, summary.errors

    @contextmanager
    def producing(self, values: Any, *, rate: float) -> Iterator[None]:
        """Send bytes while the block runs."""
        thread = threading.Thread(target=self.produce, args=(values,), kwargs={"rate": rate})
        thread.start()
        try:
            yield
        finally:
            thread.join()

    # Checks of the final state.

    def settled(self) -> None:
        """Wait until the group has committed everything."""
        reader = LagReader(self.settings)

        def lag() -> None:
            partitions = reader.measure(self.topic)
            assert sum(partition.lag for partition in partitions) == 0, f"{partitions}\n{self.logs()}"

        until_passes(lag, retry=(AssertionError, StreamError), every_s=0.3)

    def check(self, expected: int, *, dead: int = 0) -> None:
        """Check that each numbered message counts once in rows and rollups, and that the dead letters are exactly the others."""
        messages = self.read_topic(self.topic)
        good = Counter()
        poison = set()
        for message in messages:
            event = decode(message.value(), arrived_s=message.timestamp()[1] / 1000)
            if isinstance(event, str):
                poison.add((message.partition(), message.offset()))
            else:
                when = event.created_at.timestamp() if event.created_at else message.timestamp()[1] / 1000
                good[int(when), event.source, label_of(event.id)] += 1
        assert good.total() == expected and len(poison) == dead, (good.total(), len(poison))
        parameters = {"topic": self.topic}
        with connect(self.var, own=False) as client:
            rows = client.query(
                "SELECT count(), uniqExact(id), uniqExact(partition, offset) FROM predictions FINAL WHERE topic = {topic:String}",
                parameters=parameters,
            ).result_rows
            assert rows == [(expected, expected, expected)], rows
            for level, seconds in (("second", 1), ("minute", 60), ("hour", 3600)):
                sums = client.query(
                    f"SELECT toUnixTimestamp(bucket), source, sum(negative), sum(neutral), sum(positive), sum(messages) "
                    f"FROM rollup_{level} FINAL WHERE topic = {{topic:String}} GROUP BY bucket, source",
                    parameters=parameters,
                ).result_rows
                counted = Counter(
                    {
                        (bucket, source, label): count
                        for bucket, source, *counts, _ in sums
                        for label, count in zip(LABELS, counts, strict=True)
                    }
                )
                wanted = Counter()
                for (second, source, label), count in good.items():
                    wanted[second // seconds * seconds, source, label] += count
                assert +counted == wanted, f"rollup_{level}: {sum(row[-1] for row in sums)} of {expected}"
        letters = [letter for letter in read_dead_letters(self.settings, everything=True) if letter.topic == self.topic]
        assert {(letter.partition, letter.offset) for letter in letters} == poison

    def check_rows(self, expected: int) -> None:
        """Check the number of messages of the topic in the warehouse."""
        with connect(self.var, own=False) as client:
            query = "SELECT count() FROM predictions FINAL WHERE topic = {topic:String}"
            assert client.query(query, parameters={"topic": self.topic}).result_rows == [(expected,)]

    def read_topic(self, topic: str, *, committed_only: bool = False) -> list[Any]:
        """Return all messages of a topic, read from the broker."""
        from confluent_kafka import Consumer, TopicPartition

        consumer = Consumer(
            {
                **client_config(self.settings),
                "group.id": "reader",
                "enable.auto.commit": False,
                "isolation.level": "read_committed" if committed_only else "read_uncommitted",
                "fetch.message.max.bytes": 8 * 1024 * 1024,
            }
        )
        messages = []
        for partition in consumer.list_topics(topic, timeout=10).topics[topic].partitions:
            low, high = consumer.get_watermark_offsets(TopicPartition(topic, partition, 0), timeout=10)
            consumer.assign([TopicPartition(topic, partition, low)])
            while low < high:
                batch = consumer.consume(10_000, 1.0)
                if not batch:  # the rest are transaction markers
                    break
                messages += [message for message in batch if message.error() is None]
                low = messages[-1].offset() + 1 if messages else low
            consumer.unassign()
        consumer.close()
        return messages

    def predictions(self) -> list[dict[str, Any]]:
        """Return the committed predictions for this topic from the predictions topic."""
        predictions = (json.loads(message.value()) for message in self.read_topic(PREDICTIONS, committed_only=True))
        return [prediction for prediction in predictions if prediction["topic"] == self.topic]


def wait_for_warehouse(var: Path) -> None:
    """Wait until the warehouse server responds."""

    def ping() -> None:
        with connect(var, own=False) as client:
            client.query("SELECT 1")

    until_passes(ping, retry=WarehouseError, every_s=0.2)


def topics(*names: str, partitions: int = 6) -> dict[str, int]:
    return {**dict.fromkeys(names, partitions), PREDICTIONS: partitions, DEAD_LETTERS: 1, "sentiment.alerts": 1}


def end(process: subprocess.Popen[bytes], timeout_s: float = 40) -> int:
    """Send SIGTERM, and SIGKILL if the process does not end; return the exit status."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(50)
    if process.stdin:
        process.stdin.close()
    return process.returncode
