"""A stream for tests: a real Kafka, the warehouse's owner and workers as processes, and what has to hold in the end."""

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

from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_fixed

from data.errors import StreamError, WarehouseError
from orchestration.kafka.server import LocalKafka
from orchestration.stream_send import event_bytes
from serving.settings import StreamSettings
from serving.streaming.broker import DEAD_LETTERS, PREDICTIONS, client_config
from serving.streaming.dead_letters import read_dead_letters
from serving.streaming.decode import decode
from serving.streaming.lag import LagReader
from serving.warehouse.connect import connect
from tests.make import text_of
from tests.serving.running import ROOT, spare_port

LABELS = ("negative", "neutral", "positive")
PYTHON = [sys.executable, "-m", "orchestration.cli"]


def numbered(n: int) -> bytes:
    """Message `n-<k>`, which the tiny model judges right."""
    return event_bytes(f"n-{n}", text_of(LABELS[n % 3], n), f"source-{n % 4}")


def label_of(identity: str) -> str:
    return LABELS[int(identity.removeprefix("n-")) % 3]


class World:
    """One topic of one broker and one warehouse, both of their own."""

    def __init__(self, kafka: LocalKafka, var: Path, bundle: Path, topic: str, **settings: Any) -> None:
        self.kafka, self.var, self.topic = kafka, var, topic
        self.settings = StreamSettings.load(bootstrap=kafka.bootstrap, topic=topic, group=f"group-{topic}", **settings)
        plain = {key: value for key, value in settings.items() if key != "security"}
        self.environment = {
            "GROUNDSWELL_PATHS__VAR_DIR": str(var), "GROUNDSWELL_BUNDLE_DIR": str(bundle), "OMP_NUM_THREADS": "1",
            "GROUNDSWELL_WAREHOUSE__PORT": str(spare_port()), "GROUNDSWELL_STREAM__METRICS_PORT": str(spare_port()),
            "GROUNDSWELL_STREAM__BOOTSTRAP": kafka.bootstrap, "GROUNDSWELL_STREAM__TOPIC": topic,
            "GROUNDSWELL_STREAM__GROUP": self.settings.group,
            **{f"GROUNDSWELL_STREAM__{name.upper()}": str(value) for name, value in plain.items()},
        }  # fmt: skip
        self.processes: list[subprocess.Popen[bytes]] = []
        self.sent: Counter[str] = Counter()

    # Processes.

    def start(self, *command: str, **environment: str) -> subprocess.Popen[bytes]:
        """`groundswell <command>`, with its log in `var/`."""
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

    def owner(self) -> subprocess.Popen[bytes]:
        process = self.start("warehouse", "serve")
        self.ready()
        return process

    def worker(self, name: str, **environment: str) -> subprocess.Popen[bytes]:
        return self.start("stream", "worker", "--name", name, "--metrics-port", str(spare_port()), **environment)

    def ready(self, timeout_s: float = 300) -> None:
        """Wait until the warehouse answers."""
        until_it_answers(self.var, timeout_s)

    def logs(self) -> str:
        """What the processes said last, for a failing test to show."""
        return "\n".join(f"{log.name}:\n{log.read_text()[-3_000:]}" for log in sorted(self.var.glob("*.log")))

    def end(self) -> None:
        for process in reversed(self.processes):
            end(process)

    # Messages.

    def produce(self, values: Any, *, rate: float | None = None) -> None:
        """Send bytes; blocks until they arrived, whatever becomes of the broker meanwhile."""
        from orchestration.stream_send import send

        found = send(client_config(self.settings), self.topic, values, rate=rate, timeout_s=240)
        assert not found.errors, found.errors

    @contextmanager
    def producing(self, values: Any, *, rate: float) -> Iterator[None]:
        """The same beside what the block does."""
        thread = threading.Thread(target=self.produce, args=(values,), kwargs={"rate": rate})
        thread.start()
        try:
            yield
        finally:
            thread.join()

    # What holds in the end.

    def settled(self, timeout_s: float = 600) -> None:
        """Wait until the group has committed everything."""
        reader = LagReader(self.settings)

        def lag() -> None:
            found = reader.measure(self.topic)
            assert sum(partition.lag for partition in found) == 0, f"{found}\n{self.logs()}"

        Retrying(
            retry=retry_if_exception_type((AssertionError, StreamError)),
            stop=stop_after_delay(timeout_s),
            wait=wait_fixed(0.3),
            reraise=True,
        )(lag)

    def check(self, expected: int, *, dead: int = 0) -> None:
        """Each numbered message is there once, in the rows and in every rollup; the dead letters are exactly the others."""
        messages = self.read_topic(self.topic)
        good = Counter()
        poison = set()
        for message in messages:
            found = decode(message.value(), arrived_s=message.timestamp()[1] / 1000)
            if isinstance(found, str):
                poison.add((message.partition(), message.offset()))
            else:
                when = found.created_at.timestamp() if found.created_at else message.timestamp()[1] / 1000
                good[int(when), found.source, label_of(found.id)] += 1
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
                found = Counter(
                    {
                        (bucket, source, label): count
                        for bucket, source, *counts, _ in sums
                        for label, count in zip(LABELS, counts, strict=True)
                    }
                )
                wanted = Counter()
                for (second, source, label), count in good.items():
                    wanted[second // seconds * seconds, source, label] += count
                assert +found == wanted, f"rollup_{level}: {sum(row[-1] for row in sums)} of {expected}"
        letters = [letter for letter in read_dead_letters(self.settings, everything=True) if letter.topic == self.topic]
        assert {(letter.partition, letter.offset) for letter in letters} == poison

    def check_rows(self, expected: int) -> None:
        """The warehouse holds so many messages of the topic."""
        with connect(self.var, own=False) as client:
            query = "SELECT count() FROM predictions FINAL WHERE topic = {topic:String}"
            assert client.query(query, parameters={"topic": self.topic}).result_rows == [(expected,)]

    def read_topic(self, topic: str, *, committed_only: bool = False) -> list[Any]:
        """All messages of a topic, straight from the broker."""
        from confluent_kafka import Consumer, TopicPartition

        consumer = Consumer(
            {**client_config(self.settings), "group.id": "reader", "enable.auto.commit": False,
             "isolation.level": "read_committed" if committed_only else "read_uncommitted",
             "fetch.message.max.bytes": 8 * 1024 * 1024}
        )  # fmt: skip
        found = []
        for partition in consumer.list_topics(topic, timeout=10).topics[topic].partitions:
            place = TopicPartition(topic, partition, 0)
            low, high = consumer.get_watermark_offsets(place, timeout=10)
            consumer.assign([TopicPartition(topic, partition, low)])
            while low < high:
                got = consumer.consume(10_000, 1.0)
                if not got:  # the rest are marks of transactions
                    break
                found += [message for message in got if message.error() is None]
                low = found[-1].offset() + 1 if found else low
            consumer.unassign()
        consumer.close()
        return found

    def predictions(self) -> list[dict[str, Any]]:
        """Of this topic, from the topic of predictions, readers of committed messages only."""
        found = (json.loads(message.value()) for message in self.read_topic(PREDICTIONS, committed_only=True))
        return [prediction for prediction in found if prediction["topic"] == self.topic]


def until_it_answers(var: Path, timeout_s: float = 300) -> None:
    """Wait for the warehouse's owner."""

    def ask() -> None:
        with connect(var, own=False) as client:
            client.query("SELECT 1")

    Retrying(retry=retry_if_exception_type(WarehouseError), stop=stop_after_delay(timeout_s), wait=wait_fixed(0.2), reraise=True)(
        ask
    )


def topics(*names: str, partitions: int = 6) -> dict[str, int]:
    return {**dict.fromkeys(names, partitions), PREDICTIONS: partitions, DEAD_LETTERS: 1, "sentiment.alerts": 1}


def end(process: subprocess.Popen[bytes], timeout_s: float = 40) -> int:
    """SIGTERM, and SIGKILL when that does not help; gives the exit status."""
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
