"""Errors of an operator: each message states the error and a remedy."""

import subprocess
import time

import pytest

from data.errors import StreamError
from orchestration.local.kafka import LocalKafka
from serving.settings import StreamSettings
from serving.streaming import broker
from serving.streaming.broker import BrokerUnavailable, create_topics, require_topic
from serving.streaming.worker import worker
from serving.streaming.worker.heartbeat import read_heartbeats
from serving.streaming.worker.model import StubModel
from tests.models import tiny_bundle
from tests.serving.running import spare_port
from tests.serving.stream_fakes import BASE_POINT
from tests.serving.stream_harness import StreamHarness, numbered, topics
from tests.waiting import until


def test_wrong_address_is_reported_with_a_remedy(monkeypatch):
    from confluent_kafka import Consumer

    monkeypatch.setattr(broker, "TIMEOUT_S", 1.0)
    settings = StreamSettings.load(bootstrap=f"127.0.0.1:{spare_port()}")
    consumer = Consumer({**broker.client_config(settings), "group.id": "g"})
    with pytest.raises(BrokerUnavailable, match=r"(?s)broker at 127\.0\.0\.1.*does not respond.*GROUNDSWELL_STREAM__BOOTSTRAP"):
        require_topic(consumer, "t", settings.bootstrap)
    consumer.close()


def test_secrets_of_the_broker_are_not_shown():
    settings = StreamSettings.load(security={"sasl.password": "s3cret"})
    assert "s3cret" not in repr(settings) and "s3cret" not in settings.model_dump_json()
    assert broker.client_config(settings)["sasl.password"] == "s3cret"


@pytest.fixture(scope="module")
def kafka(tmp_path_factory):
    with LocalKafka(tmp_path_factory.mktemp("kafka")) as made:
        yield made


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return tiny_bundle(tmp_path_factory.mktemp("bundle") / "tiny").directory


@pytest.fixture
def harness(kafka, bundle, tmp_path, request):
    made = StreamHarness(kafka, tmp_path / "var", bundle, request.node.name.replace("_", "-")[:60])
    try:
        yield made
    finally:
        made.end()


def fails(harness, process: subprocess.Popen, *words: str) -> None:
    assert process.wait(450) == 1
    log = (harness.var / "worker.log").read_text()
    assert "Traceback" not in log
    for word in words:
        assert word in log, log[-1500:]
    (heartbeat,) = read_heartbeats(harness.var)
    assert heartbeat.state == "failed" and words[0] in heartbeat.detail


@pytest.mark.integration
def test_missing_topic_ends_the_worker_with_a_remedy(harness):
    harness.warehouse_server()
    fails(harness, harness.worker("w1"), f"Topic {harness.topic} not found", "groundswell stream init")


@pytest.mark.integration
def test_recreated_topic_ends_the_worker(harness, kafka):
    kafka.create_topics(topics(harness.topic))
    harness.warehouse_server()
    first = harness.worker("w1")
    harness.produce(numbered(n) for n in range(50))
    harness.settled()
    first.terminate()
    assert first.wait(200) == 0
    admin = kafka.admin()
    for deleted in admin.delete_topics([harness.topic]).values():
        deleted.result(20)
    until(lambda: harness.topic not in admin.list_topics(timeout=10).topics)
    kafka.create_topics({harness.topic: 6})
    fails(harness, harness.worker("w1"), "is not the one whose messages the warehouse holds", "groundswell warehouse forget")
    harness.check_rows(50)


@pytest.mark.integration
def test_worker_waits_for_the_warehouse_and_reports_it(harness, kafka):
    kafka.create_topics(topics(harness.topic))
    process = harness.worker("w1")
    waiting = ["waiting for the warehouse"]
    until(lambda: [h.state for h in read_heartbeats(harness.var)] == waiting, running=lambda: process.poll() is None)
    harness.warehouse_server()
    harness.produce(numbered(n) for n in range(20))
    harness.settled()
    harness.check(20)


@pytest.mark.integration
def test_topics_are_created_once(kafka):
    settings = StreamSettings.load(bootstrap=kafka.bootstrap, topic="made-by-init")
    made = create_topics(settings, partitions=3, replication=1)
    assert "made-by-init" in made and create_topics(settings, partitions=3, replication=1) == []


@pytest.mark.integration
def test_unavailable_broker_ends_the_worker_with_what_it_waited_for(tmp_path, monkeypatch):
    import threading

    monkeypatch.setattr(broker, "TIMEOUT_S", 0.5)
    monkeypatch.setattr(worker, "START_TIMEOUT_S", 2.0)
    settings = StreamSettings.load(bootstrap=f"127.0.0.1:{spare_port()}")
    with pytest.raises(StreamError, match="does not respond"):
        worker.Worker(settings, tmp_path, StubModel, name="w").run(threading.Event())
    (heartbeat,) = read_heartbeats(tmp_path)
    assert heartbeat.state == "failed"


@pytest.mark.integration
def test_missing_rights_are_named(bundle, tmp_path):
    from confluent_kafka.admin import (
        AclBinding,
        AclOperation,
        AclPermissionType,
        ResourcePatternType,
        ResourceType,
    )

    class WithAcls(LocalKafka):
        def _write_config(self):
            path = super()._write_config()
            with path.open("a") as file:
                file.write("authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer\n")
                file.write("allow.everyone.if.no.acl.found=true\n")
            return path

    with WithAcls(tmp_path / "kafka") as kafka:
        kafka.create_topics(topics("forbidden"))
        rule = AclBinding(
            ResourceType.TOPIC,
            "forbidden",
            ResourcePatternType.LITERAL,
            "User:ANONYMOUS",
            "*",
            AclOperation.ALL,
            AclPermissionType.DENY,
        )
        admin = kafka.admin()
        for made in admin.create_acls([rule]).values():
            made.result(20)
        harness = StreamHarness(kafka, tmp_path / "var", bundle, "forbidden")
        try:
            harness.warehouse_server()
            fails(harness, harness.worker("w1"), "Not authorized to read", "Grant READ")
        finally:
            harness.end()


def test_failing_heartbeat_does_not_end_the_worker(tmp_path, monkeypatch):
    from serving.streaming.worker import health

    monkeypatch.setattr(health, "HEARTBEAT_S", 0.01)
    (tmp_path / "stream").write_text("in the way")
    worker = health.WorkerHealth(tmp_path, "w1", None, lambda: ("v", BASE_POINT, [0], 0))
    worker.start()
    worker.record_commit(5, 0)
    time.sleep(0.1)  # some heartbeats that fail
    (tmp_path / "stream").unlink()
    until(lambda: read_heartbeats(tmp_path))
    worker.stop()
    assert read_heartbeats(tmp_path)[0].messages == 5


def test_server_that_does_not_respond_counts_as_unavailable(tmp_path, monkeypatch):
    from serving.warehouse.connect import WarehouseUnavailable, connect

    monkeypatch.setenv("GROUNDSWELL_WAREHOUSE__URL", f"http://user:s3cret@127.0.0.1:{spare_port()}/default")
    with pytest.raises(WarehouseUnavailable, match="does not respond") as found, connect(tmp_path):
        pass
    assert "s3cret" not in str(found.value)
