"""What an operator gets wrong: each has an error that says what, and what to do."""

import subprocess
import time

import pytest

from data.errors import StreamError
from orchestration.kafka.server import LocalKafka
from serving.settings import StreamSettings
from serving.streaming import broker, worker
from serving.streaming.broker import BrokerAway, create_topics, need_topic
from serving.streaming.heartbeat import read_heartbeats
from tests.models import tiny_bundle
from tests.serving.running import spare_port
from tests.serving.stream_world import World, numbered, topics


def test_a_wrong_address_is_named_with_the_remedy(monkeypatch):
    from confluent_kafka import Consumer

    monkeypatch.setattr(broker, "TIMEOUT_S", 1.0)
    settings = StreamSettings.load(bootstrap=f"127.0.0.1:{spare_port()}")
    consumer = Consumer({**broker.client_config(settings), "group.id": "g"})
    with pytest.raises(BrokerAway, match=r"(?s)No broker answers at 127\.0\.0\.1.*GROUNDSWELL_STREAM__BOOTSTRAP"):
        need_topic(consumer, "t", settings.bootstrap)
    consumer.close()


def test_secrets_of_the_broker_are_not_shown():
    settings = StreamSettings.load(security={"sasl.password": "hush"})
    assert "hush" not in repr(settings) and "hush" not in settings.model_dump_json()
    assert broker.client_config(settings)["sasl.password"] == "hush"


@pytest.fixture(scope="module")
def kafka(tmp_path_factory):
    with LocalKafka(tmp_path_factory.mktemp("kafka")) as made:
        yield made


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return tiny_bundle(tmp_path_factory.mktemp("bundle") / "tiny").directory


@pytest.fixture
def world(kafka, bundle, tmp_path, request):
    made = World(kafka, tmp_path / "var", bundle, request.node.name.replace("_", "-")[:60])
    try:
        yield made
    finally:
        made.end()


def fails(world, process: subprocess.Popen, *words: str) -> None:
    assert process.wait(450) == 1
    said = (world.var / "worker.log").read_text()
    assert "Traceback" not in said
    for word in words:
        assert word in said, said[-1500:]
    (heartbeat,) = read_heartbeats(world.var)
    assert heartbeat.state == "failed" and words[0] in heartbeat.detail


@pytest.mark.integration
def test_a_topic_that_is_not_there(world):
    world.owner()
    fails(world, world.worker("w1"), "There is no topic", "groundswell stream init")


@pytest.mark.integration
def test_a_topic_made_anew_is_not_taken_for_the_old_one(world, kafka):
    kafka.create_topics(topics(world.topic))
    world.owner()
    first = world.worker("w1")
    world.produce(numbered(n) for n in range(50))
    world.settled()
    first.terminate()
    assert first.wait(200) == 0
    admin = kafka.admin()
    for deleted in admin.delete_topics([world.topic]).values():
        deleted.result(20)
    limit = time.monotonic() + 30
    while world.topic in admin.list_topics(timeout=10).topics and time.monotonic() < limit:
        time.sleep(0.1)
    kafka.create_topics({world.topic: 6})
    fails(world, world.worker("w1"), "is not the one whose messages the warehouse holds", "groundswell warehouse forget")
    world.check_rows(50)


@pytest.mark.integration
def test_a_worker_waits_for_the_warehouse_and_says_so(world, kafka):
    kafka.create_topics(topics(world.topic))
    process = world.worker("w1")
    limit = time.monotonic() + 30
    while [h.state for h in read_heartbeats(world.var)] != ["waiting for the warehouse"]:
        assert time.monotonic() < limit and process.poll() is None
        time.sleep(0.05)
    world.owner()
    world.produce(numbered(n) for n in range(20))
    world.settled()
    world.check(20)


@pytest.mark.integration
def test_topics_are_made_once(kafka):
    settings = StreamSettings.load(bootstrap=kafka.bootstrap, topic="made-by-init")
    made = create_topics(settings, partitions=3, replication=1)
    assert "made-by-init" in made and create_topics(settings, partitions=3, replication=1) == []


@pytest.mark.integration
def test_a_broker_that_never_comes_ends_the_worker_with_what_it_waited_for(tmp_path, monkeypatch):
    import threading

    monkeypatch.setattr(broker, "TIMEOUT_S", 0.5)
    monkeypatch.setattr(worker, "START_S", 2.0)
    settings = StreamSettings.load(bootstrap=f"127.0.0.1:{spare_port()}")
    with pytest.raises(StreamError, match="No broker answers"):
        worker.Worker(settings, tmp_path, lambda: None, name="w").run(threading.Event())  # type: ignore[arg-type,return-value]
    (heartbeat,) = read_heartbeats(tmp_path)
    assert heartbeat.state == "failed"


@pytest.mark.integration
def test_a_user_without_rights_is_told_which(bundle, tmp_path):
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
        world = World(kafka, tmp_path / "var", bundle, "forbidden")
        try:
            world.owner()
            fails(world, world.worker("w1"), "The broker lets this user not read", "Grant READ")
        finally:
            world.end()


def test_a_heartbeat_that_cannot_be_written_ends_nobody(tmp_path, monkeypatch):
    from serving.streaming import vitals

    monkeypatch.setattr(vitals, "HEARTBEAT_S", 0.01)
    (tmp_path / "stream").write_text("in the way")
    worker = vitals.Vitals(tmp_path, "w1", None, lambda: ("v", [0], 0))
    worker.start()
    worker.committed(5, 0)
    time.sleep(0.1)  # some beats that fail
    (tmp_path / "stream").unlink()
    limit = time.monotonic() + 10
    while not read_heartbeats(tmp_path):
        assert time.monotonic() < limit, "it beats no more"
        time.sleep(0.01)
    worker.stop()
    assert read_heartbeats(tmp_path)[0].messages == 5


def test_a_server_that_does_not_answer_is_waited_for(tmp_path, monkeypatch):
    from serving.warehouse.connect import WarehouseAway, connect

    monkeypatch.setenv("GROUNDSWELL_WAREHOUSE__URL", f"http://user:hush@127.0.0.1:{spare_port()}/default")
    with pytest.raises(WarehouseAway, match="does not answer") as found, connect(tmp_path):
        pass
    assert "hush" not in str(found.value)
