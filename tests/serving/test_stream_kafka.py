"""The stream on a real Kafka: what goes in comes out once, whatever happens in between."""

import json
import random
import signal
import threading
import time
from itertools import pairwise

import pytest

from orchestration.kafka.server import LocalKafka
from serving.streaming.broker import MAX_MESSAGE_BYTES
from serving.streaming.heartbeat import read_heartbeats
from tests.models import tiny_bundle
from tests.serving.stream_world import World, end, numbered, topics

pytestmark = pytest.mark.integration
TOPICS = (
    "plain", "poison", "rebalance", "away", "slow", "transactions", "letters", "swap", "share", "disk", "paused",
    "between", "between-t", "forgotten",
)  # fmt: skip


@pytest.fixture(scope="module")
def kafka(tmp_path_factory):
    with LocalKafka(tmp_path_factory.mktemp("kafka")) as broker:
        broker.create_topics(topics(*TOPICS), {"max.message.bytes": str(MAX_MESSAGE_BYTES)})
        yield broker


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return tiny_bundle(tmp_path_factory.mktemp("bundle") / "tiny").directory


@pytest.fixture
def world(kafka, bundle, tmp_path, request):
    made = World(kafka, tmp_path / "var", bundle, **request.param)
    try:
        yield made
    finally:
        made.end()


def of(topic, **settings):
    return pytest.mark.parametrize("world", [{"topic": topic, **settings}], indirect=True, ids=[topic])


@of("plain")
def test_messages_in_rows_out_and_the_worker_leaves_when_told(world):
    world.owner()
    worker = world.worker("w1")
    world.produce(numbered(n) for n in range(5_000))
    world.settled()
    assert end(worker) == 0
    world.check(5_000)
    assert {p["id"] for p in world.predictions()} == {f"n-{n}" for n in range(5_000)}
    (heartbeat,) = read_heartbeats(world.var)
    assert heartbeat.state == "stopped" and heartbeat.messages == 5_000 and heartbeat.p50_ms > 0


def poison(n):
    """Ten kinds of messages that are none, one after the other."""
    event = {"id": f"p-{n}", "text": "fine", "source": "s"}
    return [
        b'{"id": "p", "text": "\xff\xfe", "source": "s"}',
        b"no json at all",
        json.dumps(event | {"text": 5}).encode(),
        json.dumps(event | {"text": "x" * 5_000_000}).encode(),
        json.dumps(event | {"text": "a\x00b"}).encode(),
        json.dumps({"text": "no id", "source": "s"}).encode(),
        json.dumps(event | {"sentiment_of_the_future": 1}).encode(),
        json.dumps(event | {"created_at": "2093-01-01T00:00:00Z"}).encode(),
        json.dumps(event | {"created_at": "0001-01-01T00:00:00Z"}).encode(),
        b"",
    ][n % 10]


@of("poison")
def test_one_percent_of_poison_is_in_the_dead_letters_and_nothing_else_is(world):
    world.owner()
    messages = [numbered(n) for n in range(9_900)] + [poison(n) for n in range(100)]
    random.Random(5).shuffle(messages)
    world.worker("w1")
    world.produce(messages)
    world.settled()
    world.check(9_900, dead=100)


@of("rebalance")
def test_members_that_come_and_go_every_second_lose_and_double_nothing(world):
    world.owner()
    steady = world.worker("steady")
    with world.producing((numbered(n) for n in range(20_000)), rate=1_500):
        for turn in range(5):
            guest = world.worker(f"guest{turn}")
            world_waits(lambda: any(h.name == f"guest{turn}" and h.partitions for h in read_heartbeats(world.var)))  # noqa: B023
            if turn % 2:
                guest.send_signal(signal.SIGKILL)
            assert end(guest) == (-signal.SIGKILL if turn % 2 else 0)
    world.settled()
    assert steady.poll() is None
    world.check(20_000)
    assert {p["id"] for p in world.predictions()} == {f"n-{n}" for n in range(20_000)}


def world_waits(condition, timeout_s=600):
    limit = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < limit
        time.sleep(0.05)


@of("away")
def test_a_broker_that_is_away_is_waited_for(world, kafka):
    world.owner()
    worker = world.worker("w1")
    with world.producing((numbered(n) for n in range(10_000)), rate=1_000):
        world_waits(lambda: any(h.messages > 1_000 for h in read_heartbeats(world.var)))
        kafka.pause()
        time.sleep(30)  # the fault itself: as long as the promise says
        kafka.resume()
    world.settled()
    assert worker.poll() is None
    world.check(10_000)


@of("paused", batch_messages=120, block_age_ms=100, drain_s=1)
def test_a_partition_that_went_while_paused_is_read_when_it_comes_back(world, bundle):
    from serving.bundle import read_bundle
    from serving.classifier import Classifier
    from serving.streaming import metrics
    from serving.streaming.worker import Worker

    class Held:
        name = "held"

        def __init__(self):
            self.model, self.go = Classifier(read_bundle(bundle), threads=1), threading.Event()

        def classify_timed(self, texts):
            assert self.go.wait(600)
            return self.model.classify_timed(texts)

    world.owner()
    world.produce((numbered(n) for n in range(1_000)), rate=2_000)  # at a rate: to every partition
    stop, model = threading.Event(), Held()
    worker = Worker(world.settings, world.var, lambda: model, name="held")
    thread = threading.Thread(target=worker.run, args=(stop,))
    thread.start()
    try:
        world_waits(lambda: metrics.PAUSED._value.get() == 1)
        guest = world.worker("guest")
        world_waits(lambda: any(h.name == "guest" and h.partitions for h in read_heartbeats(world.var)))
        assert end(guest) == 0
        model.go.set()
        world.produce((numbered(n) for n in range(1_000, 2_000)), rate=2_000)
        world.settled()
    finally:
        model.go.set()
        stop.set()
        thread.join()
    world.check(2_000)
    # What was in hand when its partition went is the guest's: it is neither committed again nor produced again.
    assert sorted(int(p["id"][2:]) for p in world.predictions()) == list(range(2_000))


@of("transactions", transactions=True)
def test_with_transactions_each_prediction_is_read_once_though_workers_are_killed(world):
    world.owner()
    for first, until in pairwise((0, 7_000, 8_000, 9_000, 10_000)):
        world.produce(numbered(n) for n in range(first, until))  # more than a heartbeat's worth, and some for each worker
        worker = world.worker("w1")
        if until < 10_000:
            world_waits(lambda: any(h.pid == worker.pid and h.messages for h in read_heartbeats(world.var)))  # noqa: B023
            worker.kill()
            worker.wait()
    world.settled()
    world.check(10_000)
    assert sorted(int(p["id"][2:]) for p in world.predictions()) == list(range(10_000))


@pytest.mark.parametrize(
    "world", [{"topic": "between"}, {"topic": "between-t", "transactions": True}], indirect=True, ids=["plain", "transactions"]
)
def test_what_the_group_refuses_between_two_generations_is_committed_after_all(world, bundle, monkeypatch):
    """A worker that keeps its partitions is not given them anew, so what it forgave would stay behind for ever."""
    import confluent_kafka
    from confluent_kafka import KafkaError, KafkaException

    from serving.bundle import read_bundle
    from serving.classifier import Classifier
    from serving.streaming.worker import Worker

    refused = []

    def refuse_twice():
        if len(refused) < 2:
            refused.append(True)
            raise KafkaException(KafkaError(KafkaError.ILLEGAL_GENERATION))

    class Consumer(confluent_kafka.Consumer):
        def commit(self, *args, **options):
            refuse_twice()
            return super().commit(*args, **options)

    class Producer(confluent_kafka.Producer):
        def send_offsets_to_transaction(self, *args):
            refuse_twice()
            super().send_offsets_to_transaction(*args)

    monkeypatch.setattr(confluent_kafka, "Consumer", Consumer)
    monkeypatch.setattr(confluent_kafka, "Producer", Producer)
    world.owner()
    world.produce(numbered(n) for n in range(100))
    stop, model = threading.Event(), Classifier(read_bundle(bundle), threads=1)
    thread = threading.Thread(target=Worker(world.settings, world.var, lambda: model, name="between").run, args=(stop,))
    thread.start()
    try:
        world_waits(lambda: len(refused) == 2)
        world.settled(300)
    finally:
        stop.set()
        thread.join(300)
    world.check(100)
    assert sorted(p["id"] for p in world.predictions()) == sorted(f"n-{n}" for n in range(100))
    (heartbeat,) = read_heartbeats(world.var)
    assert heartbeat.messages == 100 and heartbeat.in_flight == 0


@of("forgotten")
def test_a_worker_that_lost_its_partitions_and_is_not_taken_back_joins_anew(world, bundle, monkeypatch):
    from confluent_kafka import TopicPartition

    from serving.bundle import read_bundle
    from serving.classifier import Classifier
    from serving.streaming import worker as module

    monkeypatch.setattr(module, "BACK_S", 1.0)
    world.owner()
    stop, model = threading.Event(), Classifier(read_bundle(bundle), threads=1)
    worker = module.Worker(world.settings, world.var, lambda: model, name="forgotten")
    thread = threading.Thread(target=worker.run, args=(stop,))
    thread.start()
    try:
        world.produce(numbered(n) for n in range(100))
        world.settled(300)
        worker._lost(None, [TopicPartition(world.topic, partition) for partition in range(6)])  # as librdkafka says it
        world.produce(numbered(n) for n in range(100, 200))
        world.settled(300)
    finally:
        stop.set()
        thread.join(300)
    world.check(200)


@of("share", dead_letter_limit=0.2)
def test_a_topic_full_of_something_else_stops_the_worker_loudly(world):
    world.owner()
    world.produce([numbered(n) for n in range(100)] + [b"not ours"] * 400)
    worker = world.worker("w1")
    assert worker.wait(300) == 78
    (heartbeat,) = read_heartbeats(world.var)
    assert heartbeat.state == "failed" and "Too many messages" in heartbeat.detail


@of("slow", batch_messages=40, block_age_ms=100)
def test_a_model_that_takes_five_seconds_a_batch_costs_no_rebalance(world, bundle):
    from serving.bundle import read_bundle
    from serving.classifier import Classifier
    from serving.streaming.worker import Worker

    class Slow:
        name = "slow"

        def __init__(self):
            self.model, self.calls = Classifier(read_bundle(bundle), threads=1), 0

        def classify_timed(self, texts):
            self.calls += 1
            if self.calls <= 4:
                time.sleep(5)  # the fault itself
            return self.model.classify_timed(texts)

    world.owner()
    world.produce(numbered(n) for n in range(400))
    stop, model = threading.Event(), Slow()
    worker = Worker(world.settings, world.var, lambda: model, name="slow")
    thread = threading.Thread(target=worker.run, args=(stop,))
    thread.start()
    try:
        world.settled()
    finally:
        stop.set()
        thread.join(300)
    world.check(400)
    assert len(world.predictions()) == 400  # nothing was judged twice: the group never took a partition away


@of("letters")
def test_dead_letters_are_listed_and_replayed_once(world):
    from serving.streaming.dead_letters import read_dead_letters, replay_dead_letters

    def pending():
        return [letter for letter in read_dead_letters(world.settings) if letter.topic == world.topic]

    world.owner()
    strict = world.worker("strict", GROUNDSWELL_STREAM__MAX_AHEAD_S="1")
    late = json.dumps(
        {**json.loads(numbered(7)), "created_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 60))}
    ).encode()
    world.produce([numbered(1), late, b"never an event"])
    world.settled()
    end(strict)
    assert sorted(letter.reason.split(":")[0] for letter in pending()) == ["Invalid JSON", "created_at"]
    world.worker("usual")
    others = len(list(read_dead_letters(world.settings))) - 2
    assert replay_dead_letters(world.settings) == 2 + others
    world.settled()
    with_row = {p["id"] for p in world.predictions()}
    assert with_row == {"n-1", "n-7"}
    assert [letter.original for letter in pending()] == [b"never an event"]  # it died again


@of("swap")
def test_a_new_production_model_takes_over_between_batches_and_nothing_waits_or_is_lost(world):
    from training.registry import append_ledger

    def produce_with(bundle):
        append_ledger(world.var, {"alias": "production", "to": "1", "bundle": str(bundle.directory.relative_to(world.var))})

    first, second = (tiny_bundle(world.var / "bundles" / name, strength=strength) for name, strength in (("a", 2.0), ("b", 3.0)))
    produce_with(first)
    world.owner()
    worker = world.worker("w1", GROUNDSWELL_BUNDLE_DIR="")
    swapped, sent = threading.Event(), []

    def until_swapped():
        while not swapped.is_set() or len(sent) % 1_000:
            sent.append(numbered(len(sent)))
            yield sent[-1]

    with world.producing(until_swapped(), rate=1_500):
        try:
            world_waits(lambda: any(h.messages > 3_000 for h in read_heartbeats(world.var)))
            produce_with(second)
            world_waits(lambda: any(h.version == second.manifest.version for h in read_heartbeats(world.var)))
            before = len(sent)
            world_waits(lambda: len(sent) > before + 3_000)
        finally:
            swapped.set()
    world.settled()
    assert worker.poll() is None
    world.check(len(sent))
    versions = [p["model_version"] for p in sorted(world.predictions(), key=lambda p: p["predicted_at"])]
    assert set(versions) == {first.manifest.version, second.manifest.version}
    change = versions.index(second.manifest.version)
    # Two judges work at once, so batches of both may stand beside each other for a moment, and no longer.
    assert first.manifest.version not in versions[change + 2 * world.settings.batch_messages :]


@of("disk")
def test_a_full_disk_under_the_warehouse_is_waited_for(world, tmp_path, request):
    import shutil
    import subprocess

    world.var.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=96m", "tmpfs", str(world.var)], check=False).returncode:
        pytest.skip("no small file system can be mounted here")
    request.addfinalizer(lambda: subprocess.run(["umount", "-l", str(world.var)], check=True))
    world.owner()
    worker = world.worker("w1")
    world.produce(numbered(n) for n in range(1_000))
    world.settled()
    ballast = world.var / "ballast"
    with ballast.open("wb") as file:
        file.write(b"\0" * (shutil.disk_usage(world.var).free - 200_000))
    world.produce(numbered(n) for n in range(1_000, 20_000))
    said = world.var / "worker.log"
    world_waits(lambda: "the sink waits" in said.read_text() or "heartbeat cannot be written" in said.read_text())
    ballast.unlink()
    world.settled()
    assert worker.poll() is None
    world_waits(lambda: any(h.messages == 20_000 for h in read_heartbeats(world.var)))  # it beats again
    world.check(20_000)
