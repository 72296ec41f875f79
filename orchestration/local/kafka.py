"""One Kafka broker (KRaft, no ZooKeeper) on 127.0.0.1, as a child process that can be stopped, killed, paused and restarted."""

import random
import signal
import subprocess
import threading
import time
import uuid
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from rich.console import Console

from data.errors import StreamError
from orchestration.local.jars import kafka_jars, require_java
from serving.processes import port_is_taken
from serving.streaming.broker import MAX_MESSAGE_BYTES

PORT, PARTITIONS = 9092, 6
START_S, STOP_S, TOPICS_S = 90.0, 30.0, 30.0
_JAVA = ("-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
"""At first the optimizing compiler costs as much CPU time as the broker, and a few cores need no parallel collector."""
_QUIET = {"log_level": 0, "error_cb": lambda _: None}
"""Clients log nothing: while the broker starts, failed connections are expected."""
_LOGGING = """\
status = error
appender.out.type = Console
appender.out.name = out
appender.out.layout.type = PatternLayout
appender.out.layout.pattern = %d{HH:mm:ss.SSS} %p %m (%c{1})%n
rootLogger.level = warn
rootLogger.appenderRef.out.ref = out
"""


class LocalKafka:
    """A broker with its data, settings and log (`broker.log`) in one folder.

    Acknowledged messages survive `stop` or `kill` and `start`, on the same port. As always in Kafka with one replica, an
    acknowledged message may still be in the page cache only: it survives a killed broker, not a crash of the machine.

    Args:
        folder: Used by this broker only.
        port: Of 127.0.0.1; None: a free one.
    """

    def __init__(self, folder: Path, port: int | None = None) -> None:
        self.folder = folder
        self.port = port or free_port()
        self.log = folder / "broker.log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def bootstrap(self) -> str:
        """The address for clients."""
        return f"127.0.0.1:{self.port}"

    @property
    def pid(self) -> int | None:
        """The process id; None when the broker is not running."""
        return self._process.pid if self._process and self._process.poll() is None else None

    def start(self) -> Self:
        """Start it with its existing data. Blocks until clients can connect: about 6 s, 10 s for the first time.

        Raises:
            StreamError: Java or Maven is missing, the port is in use, or the broker does not start within `START_S`.
        """
        if self.pid:
            return self
        java, jars = require_java(), kafka_jars()
        if port_is_taken(self.port):
            raise StreamError(
                f"Port {self.port} of 127.0.0.1 is in use.",
                expected="a free port for Kafka",
                remedy="Stop the process on this port (another Kafka?), or choose another port.",
            )
        self.folder.mkdir(parents=True, exist_ok=True)
        config = self._write_config()
        program = [java, *_JAVA, f"-Dlog4j2.configurationFile={self.folder / 'log4j2.properties'}", "-cp", f"{jars}/*"]
        with self.log.open("ab") as log:
            if not (self.folder / "data" / "meta.properties").is_file():
                identity = ["-t", _cluster_id(), "-c", str(config)]
                command = [*program, "kafka.tools.StorageTool", "format", *identity]
                done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, timeout=START_S, check=False)
                if done.returncode:
                    raise self._failed("Kafka cannot create its data folder.")
            # A session of its own: Ctrl-C at the terminal reaches this process only, which then stops the broker.
            self._process = subprocess.Popen(
                [*program, "kafka.Kafka", str(config)], stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        try:
            self._wait_until_ready()
        except BaseException:
            self.kill()
            raise
        return self

    def stop(self) -> None:
        """Stop it: SIGTERM, and SIGKILL after `STOP_S`."""
        if self._process and self.pid:
            self.resume()
            self._process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(STOP_S)
        self.kill()

    def kill(self) -> None:
        """SIGKILL, as when the machine's memory runs out."""
        if self._process:
            self._process.kill()
            self._process.wait()
            self._process = None

    def pause(self) -> None:
        """SIGSTOP: the broker is unavailable to its clients; connections stay open without a response."""
        self._send(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        self._send(signal.SIGCONT)

    def create_topics(self, topics: Mapping[str, int], config: Mapping[str, str] | None = None) -> None:
        """Create topics; existing ones are not changed. Blocks until they can be used.

        Args:
            topics: Number of partitions by name.
            config: Of the topics, such as {"cleanup.policy": "compact"}.

        Raises:
            StreamError: The broker refuses, or does not respond within `TOPICS_S`.
        """
        from confluent_kafka import KafkaError, KafkaException
        from confluent_kafka.cimpl import NewTopic

        admin = self.admin()
        wanted = [NewTopic(name, count, 1, config=dict(config or {})) for name, count in topics.items()]
        for name, made in admin.create_topics(wanted, operation_timeout=TOPICS_S, request_timeout=TOPICS_S).items():
            try:
                made.result()
            except KafkaException as error:
                if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                    raise StreamError(f"Topic {name} cannot be created.", found=error.args[0].str()) from error
        self._wait_for_leaders(admin, topics)

    def admin(self) -> Any:
        """Return a confluent AdminClient of this broker."""
        from confluent_kafka.admin import AdminClient

        return AdminClient({"bootstrap.servers": self.bootstrap, **_QUIET})

    def wait(self) -> int:
        """Block until the broker ends by itself; return its exit status."""
        return self._process.wait() if self._process else 0

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _send(self, which: signal.Signals) -> None:
        if self._process and self.pid:
            self._process.send_signal(which)

    def _write_config(self) -> Path:
        (self.folder / "log4j2.properties").write_text(_LOGGING, encoding="utf-8")
        path = self.folder / "server.properties"
        lines = [f"{name}={value}" for name, value in _properties(self.port, free_port(), self.folder / "data").items()]
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return path

    def _wait_until_ready(self) -> None:
        from confluent_kafka import KafkaException

        admin, process = self.admin(), self._process
        end = time.monotonic() + START_S
        while time.monotonic() < end:
            with suppress(KafkaException):
                # A broker that responds but is not in its own list cannot hold topics yet.
                if admin.list_topics(timeout=0.5).brokers:
                    return
            if process is None or process.poll() is not None:
                raise self._failed("Kafka ended while it started.")
        raise self._failed(f"Kafka is not ready after {START_S:.0f} s.")

    def _wait_for_leaders(self, admin: Any, topics: Mapping[str, int]) -> None:
        """Wait until every partition has its leader, which comes a moment after the topic is created."""
        from confluent_kafka import KafkaException, TopicPartition
        from confluent_kafka.admin import OffsetSpec  # pyright: ignore[reportPrivateImportUsage]

        latest = {TopicPartition(name, part): OffsetSpec.latest() for name, count in topics.items() for part in range(count)}
        end = time.monotonic() + TOPICS_S
        while True:
            try:
                for offset in admin.list_offsets(latest, request_timeout=TOPICS_S).values():
                    offset.result()
                return
            except KafkaException as error:
                if time.monotonic() > end:
                    raise StreamError("The topics cannot be used.", found=error.args[0].str()) from error
                time.sleep(0.02)

    def _failed(self, message: str) -> StreamError:
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines() if self.log.is_file() else []
        messages = [line for line in lines if line.strip() and not line.lstrip().startswith("at ")]
        return StreamError(message, found="\n".join(messages[-5:]) or "an empty log", remedy=f"See {self.log}.")


def run_local_kafka(var: Path, port: int = PORT, console: Console | None = None) -> None:
    """Run a broker with Groundswell's topics in the foreground until Ctrl-C or SIGTERM. Its data is kept in `var/kafka`.

    Args:
        var: The var folder.
        port: Of 127.0.0.1.
        console: Where the address and the next commands are printed; None: nothing is printed.

    Raises:
        StreamError: The broker cannot start, or ended by itself.
    """
    from serving.settings import StreamSettings
    from serving.streaming.broker import create_topics

    show = console.print if console else lambda *_, **__: None
    kafka = LocalKafka(var / "kafka", port)
    previous = _sigterm_as_ctrl_c()
    try:
        show("Starting Kafka (the first time Maven fetches it) …")
        with kafka:
            create_topics(StreamSettings.load(bootstrap=kafka.bootstrap, security={}), partitions=PARTITIONS)
            show(f"Kafka listens on [bold]{kafka.bootstrap}[/]; its data is in {kafka.folder}.")
            show("Ctrl-C stops it. In other terminals:")
            setting = "" if port == PORT else f"GROUNDSWELL_STREAM__BOOTSTRAP={kafka.bootstrap} "
            for command in ("up", "send --count 10000", "status --watch"):
                show(f"  {setting}groundswell stream {command}", highlight=False, soft_wrap=True)
            status = kafka.wait()
            raise kafka._failed(f"Kafka ended by itself with status {status}.")
    except KeyboardInterrupt:
        show("Kafka stopped.")
    finally:
        if previous is not None:
            signal.signal(signal.SIGTERM, previous)


def _sigterm_as_ctrl_c() -> Any:
    if threading.current_thread() is not threading.main_thread():
        return None  # only the main thread may set signal handlers
    return signal.signal(signal.SIGTERM, signal.default_int_handler)


def free_port() -> int:
    """Return a port of 127.0.0.1 without a listener, below the range of outgoing connections.

    Clients keep reconnecting while the broker is down; from that range they would sometimes take the broker's own port.
    """
    while port_is_taken(port := random.randrange(20_000, 32_000)):
        pass
    return port


def _cluster_id() -> str:
    """Return a UUID as Kafka writes it: URL-safe base64, 22 characters."""
    import base64

    # It may not begin with a dash: the tool would take it for an option.
    while (text := base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")).startswith("-"):
        pass
    return text


def _properties(port: int, controller_port: int, data: Path) -> dict[str, object]:
    return {
        "process.roles": "broker,controller",
        "node.id": 1,
        "controller.quorum.voters": f"1@127.0.0.1:{controller_port}",
        "listeners": f"PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}",
        "advertised.listeners": f"PLAINTEXT://127.0.0.1:{port}",
        "controller.listener.names": "CONTROLLER",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "log.dirs": data,
        "auto.create.topics.enable": "false",
        "message.max.bytes": MAX_MESSAGE_BYTES,
        # One node: there can be no second replica, and fifty partitions of offsets would only slow down the start.
        "default.replication.factor": 1,
        "offsets.topic.replication.factor": 1,
        "offsets.topic.num.partitions": 4,
        "transaction.state.log.replication.factor": 1,
        "transaction.state.log.min.isr": 1,
        "transaction.state.log.num.partitions": 4,
        "share.coordinator.state.topic.replication.factor": 1,
        "share.coordinator.state.topic.min.isr": 1,
        # A group is ready at once, and a killed member is noticed soon.
        "group.initial.rebalance.delay.ms": 0,
        "group.min.session.timeout.ms": 6000,
        # A broker that was killed may register again only when its old session is over.
        "broker.session.timeout.ms": 3000,
        "broker.heartbeat.interval.ms": 1000,
    }
