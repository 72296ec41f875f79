"""The local Kafka: acknowledged messages survive the broker, and missing dependencies are named."""

import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from data.errors import StreamError
from orchestration.local import kafka as server
from orchestration.local.jars import kafka_jars, require_java
from orchestration.local.kafka import LocalKafka, free_port
from serving.processes import port_is_taken
from serving.streaming.producer import send
from tests.make import numbered_events
from tests.serving.running import ROOT


@pytest.fixture(scope="module")
def kafka(tmp_path_factory):
    broker = LocalKafka(tmp_path_factory.mktemp("kafka"))
    with broker:
        broker.create_topics({"numbers": 2})
        yield broker


def end(broker: LocalKafka, topic: str, partitions: int) -> int:
    """Return the number of messages in a topic."""
    from confluent_kafka import Consumer, TopicPartition

    consumer = Consumer({"bootstrap.servers": broker.bootstrap, "group.id": "end", "log_level": 0})
    try:
        return sum(consumer.get_watermark_offsets(TopicPartition(topic, p), timeout=20)[1] for p in range(partitions))
    finally:
        consumer.close()


@pytest.mark.integration
def test_acknowledged_messages_survive_kill_and_stop(kafka):
    before = end(kafka, "numbers", 2)
    config = {"bootstrap.servers": kafka.bootstrap, "log_level": 0}
    assert send(config, "numbers", numbered_events(500)).delivered == 500
    kafka.kill()
    assert kafka.pid is None
    port = kafka.port
    kafka.start()
    assert kafka.port == port
    assert end(kafka, "numbers", 2) == before + 500
    kafka.stop()
    kafka.start()
    assert end(kafka, "numbers", 2) == before + 500
    kafka.create_topics({"numbers": 2})  # an existing topic is no error


@pytest.mark.integration
def test_paused_broker_is_unavailable_until_it_is_resumed(kafka):
    config = {"bootstrap.servers": kafka.bootstrap, "log_level": 0}
    kafka.pause()
    try:
        with socket.create_connection(("127.0.0.1", kafka.port), timeout=2) as connection:  # accepted by the kernel only
            connection.settimeout(0.5)
            with pytest.raises(TimeoutError):
                connection.recv(1)
    finally:
        kafka.resume()
    assert send(config, "numbers", numbered_events(10)).delivered == 10


@pytest.mark.integration
def test_message_of_5_mb_is_accepted(kafka):
    config = {"bootstrap.servers": kafka.bootstrap, "log_level": 0}
    summary = send(config, "numbers", [b"x" * 5_000_000, b"x" * 9_000_000])
    assert (summary.delivered, summary.errors) == (1, {"MSG_SIZE_TOO_LARGE": 1})


@pytest.mark.integration
def test_it_listens_on_loopback_only(kafka):
    import psutil

    listening = [c.laddr.ip for c in psutil.Process(kafka.pid).net_connections() if c.status == psutil.CONN_LISTEN]
    assert listening
    assert {ip.removeprefix("::ffff:") for ip in listening} == {"127.0.0.1"}


@pytest.mark.integration
def test_one_command_runs_it_until_sigterm(tmp_path):
    port = free_port()
    program = (
        "from pathlib import Path; from rich.console import Console; from orchestration.local.kafka import run_local_kafka; "
        f"run_local_kafka(Path({str(tmp_path)!r}), {port}, Console(width=200))"
    )
    process = subprocess.Popen(
        [sys.executable, "-u", "-c", program], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        assert process.stdout
        output = ""
        for line in process.stdout:
            output += line
            if "status --watch" in line:
                break
        assert f"127.0.0.1:{port}" in output, output
        assert "groundswell stream up" in output
        assert "groundswell stream send --count 10000" in output
        process.send_signal(signal.SIGTERM)
        assert "Kafka stopped" in process.stdout.read()
        assert process.wait(200) == 0
        assert not port_is_taken(port)
    finally:
        process.kill()
        process.wait()


def test_port_in_use_is_named(tmp_path):
    port = free_port()
    with socket.socket() as other:
        other.bind(("127.0.0.1", port))
        other.listen()
        if not _can_start():
            pytest.skip("Kafka is not fetched")
        with pytest.raises(StreamError, match=f"Port {port} of 127.0.0.1 is in use"):
            LocalKafka(tmp_path, port).start()


@pytest.mark.integration
def test_broker_that_cannot_start_raises_with_the_end_of_its_log(tmp_path, monkeypatch):
    properties = server._properties
    monkeypatch.setattr(server, "_properties", lambda *given: properties(*given) | {"num.io.threads": "none"})
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "meta.properties").write_text("formatted", encoding="utf-8")
    with pytest.raises(StreamError, match=r"(?s)ended while it started.*num\.io\.threads"):
        LocalKafka(tmp_path).start()


def test_missing_java_raises_with_the_package_to_install(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(StreamError, match=r"(?s)Java is missing.*apt-get install openjdk"):
        require_java()


@pytest.mark.parametrize(
    ("version", "fits"), [('openjdk version "11.0.2"', False), ('openjdk version "21" 2023', True), ("", False)]
)
def test_old_java_raises(monkeypatch, tmp_path, version, fits):
    java = tmp_path / "java"
    java.write_text(f"#!/bin/sh\necho '{version}' >&2\n", encoding="utf-8")
    java.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    if fits:
        assert require_java() == str(java)
    else:
        with pytest.raises(StreamError, match="too old"):
            require_java()


def test_missing_maven_raises_with_the_package_to_install(monkeypatch, tmp_path):
    monkeypatch.setattr("orchestration.local.jars.project_root", lambda: tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(StreamError, match=r"(?s)Maven is missing.*apt-get install maven"):
        kafka_jars()


def _can_start() -> bool:
    return (ROOT / "var" / "components" / "kafka" / "done").is_file()


def test_free_ports_are_below_those_of_outgoing_connections():
    lowest = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    assert all(free_port() < max(lowest, 32_000) for _ in range(20))
