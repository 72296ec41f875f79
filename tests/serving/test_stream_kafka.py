"""The stream on a real Kafka: each message counts once, whatever fails in between."""

import json
import random
import signal
import threading
import time
from itertools import pairwise

import pytest

from orchestration.local.kafka import LocalKafka
from serving.streaming.broker import MAX_MESSAGE_BYTES
from serving.streaming.worker.heartbeat import read_heartbeats
from tests.models import tiny_bundle
from tests.serving.stream_harness import StreamHarness, end, numbered, topics
from tests.waiting import until

pytestmark = pytest.mark.integration
TOPICS = (
    "plain",
    "poison",
    "rebalance",
    "unavailable",
    "slow",
    "transactions",
    "dead-letters",
    "swap",
    "share",
    "disk",
    "paused",
    "between",
    "between-t",
    "rejoin",
)


@pytest.fixture(scope="module")
def kafka(tmp_path_factory):
    with LocalKafka(tmp_path_factory.mktemp("kafka")) as broker:
        broker.create_topics(topics(*TOPICS), {"max.message.bytes": str(MAX_MESSAGE_BYTES)})
        yield broker


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return tiny_bundle(tmp_path_factory.mktemp("bundle") / "tiny").directory


@pytest.fixture
def harness(kafka, bundle, tmp_path, request):
    made = StreamHarness(kafka, tmp_path / "var", bundle, **request.param)
    try:
        yield made
    finally:
        made.end()


def of(topic, **settings):
    return pytest.mark.parametrize("harness", [{"topic": topic, **settings}], indirect=True, ids=[topic])


@of("plain")
def test_messages_become_rows_and_the_worker_leaves_on_sigterm(harness):
    harness.warehouse_server()
    worker = harness.worker("w1")
    harness.produce(numbered(n) for n in range(5_000))
    harness.settled()
    assert end(worker) == 0
    harness.check(5_000)
    assert {p["id"] for p in harness.predictions()} == {f"n-{n}" for n in range(5_000)}
    (heartbeat,) = read_heartbeats(harness.var)
    assert heartbeat.state == "stopped" and heartbeat.messages == 5_000 and heartbeat.p50_ms > 0


def poison(n):
    """Return an invalid message, of ten kinds in turn."""
    event = {"id": f"p-{n}", "text": "fine", "source": "s"}
    return [
        b'{"id": "p", "text": "\xff\xfe", "source": "s"}',
        b"no json at all",
        json.dumps(event | {"text": 5}).encode(),
        json.dumps(event | {"text": "x" * 5_000_000}).encode(),
        json.dumps(event | {"text": "a\x00b"}).encode(),
        json.dumps({"text": "no id", "source": "s"}).encode(),
        json.dumps(event | {"id": 1.5e17}).encode(),
        json.dumps(event | {"created_at": "2093-01-01T00:00:00Z"}).encode(),
        json.dumps(event | {"created_at": "0001-01-01T00:00:00Z"}).encode(),
        b"",
    ][n % 10]


@of("poison")
def test_dead_letters_are_exactly_the_invalid_messages(harness):
    harness.warehouse_server()
    messages = [numbered(n) for n in range(9_900)] + [poison(n) for n in range(100)]
    random.Random(5).shuffle(messages)
    harness.worker("w1")
    harness.produce(messages)
    harness.settled()
    harness.check(9_900, dead=100)


@of("rebalance")
def test_joining_and_leaving_members_lose_and_duplicate_no_message(harness):
    harness.warehouse_server()
    steady = harness.worker("steady")
    with harness.producing((numbered(n) for n in range(20_000)), rate=1_500):
        for turn in range(5):
            guest = harness.worker(f"guest{turn}")
            until(lambda: any(h.name == f"guest{turn}" and h.partitions for h in read_heartbeats(harness.var)))  # noqa: B023
            if turn % 2:
                guest.send_signal(signal.SIGKILL)
            assert end(guest) == (-signal.SIGKILL if turn % 2 else 0)
    harness.settled()
    assert steady.poll() is None
    harness.check(20_000)
    assert {p["id"] for p in harness.predictions()} == {f"n-{n}" for n in range(20_000)}


@of("unavailable")
def test_worker_waits_for_an_unavailable_broker(harness, kafka):
    harness.warehouse_server()
    worker = harness.worker("w1")
    with harness.producing((numbered(n) for n in range(10_000)), rate=1_000):
        until(lambda: any(h.messages > 1_000 for h in read_heartbeats(harness.var)))
        kafka.pause()
        time.sleep(30)  # the fault itself: as long as the documented limit
        kafka.resume()
    harness.settled()
    assert worker.poll() is None
    harness.check(10_000)


@of("paused", batch_messages=120, block_age_ms=100, drain_s=1)
def test_partition_revoked_while_paused_is_read_when_assigned_again(harness, bundle):
    from serving.bundle import read_bundle
    from serving.classifier import Classifier
    from serving.streaming.worker import metrics
    from serving.streaming.worker.model import StubModel
    from serving.streaming.worker.worker import Worker

    class Held(StubModel):
        name = "held"

        def __init__(self):
            self.model, self.go = Classifier(read_bundle(bundle), threads=1), threading.Event()

        def classify_timed(self, texts, tier, *, domains=None):
            assert self.go.wait(600)
            return self.model.classify_timed(texts, tier, domains=domains)

    harness.warehouse_server()
    harness.produce((numbered(n) for n in range(1_000)), rate=2_000)  # at a rate: to every partition
    stop, model = threading.Event(), Held()
    worker = Worker(harness.settings, harness.var, lambda: model, name="held")
    thread = threading.Thread(target=worker.run, args=(stop,))
    thread.start()
    try:
        until(lambda: metrics.PAUSED._value.get() == 1)
        guest = harness.worker(
            "guest", GROUNDSWELL_STREAM__DRAIN_S="600"
        )  # it leaves nothing uncommitted, however slow the machine
        until(lambda: any(h.name == "guest" and h.partitions for h in read_heartbeats(harness.var)))
        assert end(guest) == 0
        model.go.set()
        harness.produce((numbered(n) for n in range(1_000, 2_000)), rate=2_000)
        harness.settled()
    finally:
        model.go.set()
        stop.set()
        thread.join()
    harness.check(2_000)
    # Messages in flight when their partition was revoked belong to the guest: neither committed nor produced a second time.
    assert sorted(int(p["id"][2:]) for p in harness.predictions()) == list(range(2_000))


@of("transactions", transactions=True)
def test_with_transactions_each_prediction_is_read_once_though_workers_are_killed(harness):
    harness.warehouse_server()
    for first, end_of_part in pairwise((0, 7_000, 8_000, 9_000, 10_000)):
        harness.produce(numbered(n) for n in range(first, end_of_part))  # more than a heartbeat's worth, and some for each worker
        worker = harness.worker("w1")
        if end_of_part < 10_000:
            until(lambda: any(h.pid == worker.pid and h.messages for h in read_heartbeats(harness.var)))  # noqa: B023
            worker.kill()
            worker.wait()
    harness.settled()
    harness.check(10_000)
    assert sorted(int(p["id"][2:]) for p in harness.predictions()) == list(range(10_000))


@pytest.mark.parametrize(
    "harness", [{"topic": "between"}, {"topic": "between-t", "transactions": True}], indirect=True, ids=["plain", "transactions"]
)
def test_commit_refused_between_two_generations_is_repeated(harness, bundle, monkeypatch):
    """A worker that keeps its partitions is not assigned them again, so a commit that it gave up would be missing for ever."""
    import confluent_kafka
    from confluent_kafka import KafkaError, KafkaException

    from serving.bundle import read_bundle
    from serving.classifier import Classifier
    from serving.streaming.worker.worker import Worker

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
    harness.warehouse_server()
    harness.produce(numbered(n) for n in range(100))
    stop, model = threading.Event(), Classifier(read_bundle(bundle), threads=1)
    thread = threading.Thread(target=Worker(harness.settings, harness.var, lambda: model, name="between").run, args=(stop,))
    thread.start()
    try:
        until(lambda: len(refused) == 2)
        harness.settled()
    finally:
        stop.set()
        thread.join(300)
    harness.check(100)
    assert sorted(p["id"] for p in harness.predictions()) == sorted(f"n-{n}" for n in range(100))
    (heartbeat,) = read_heartbeats(harness.var)
    assert heartbeat.messages == 100 and heartbeat.in_flight == 0


@of("rejoin")
def test_worker_that_lost_its_partitions_and_gets_none_joins_again(harness, bundle, monkeypatch):
    from confluent_kafka import TopicPartition

    from serving.bundle import read_bundle
    from serving.classifier import Classifier
    from serving.streaming.worker import membership
    from serving.streaming.worker.worker import Worker

    monkeypatch.setattr(membership, "REJOIN_AFTER_S", 1.0)
    harness.warehouse_server()
    stop, model = threading.Event(), Classifier(read_bundle(bundle), threads=1)
    worker = Worker(harness.settings, harness.var, lambda: model, name="rejoin")
    thread = threading.Thread(target=worker.run, args=(stop,))
    thread.start()
    try:
        harness.produce(numbered(n) for n in range(100))
        harness.settled()
        worker._membership.on_lost(
            None, [TopicPartition(harness.topic, partition) for partition in range(6)]
        )  # like the callback of librdkafka
        harness.produce(numbered(n) for n in range(100, 200))
        harness.settled()
    finally:
        stop.set()
        thread.join(300)
    harness.check(200)


@of("share", dead_letter_limit=0.2)
def test_too_many_dead_letters_end_the_worker(harness):
    harness.warehouse_server()
    harness.produce([numbered(n) for n in range(100)] + [b"not ours"] * 400)
    worker = harness.worker("w1")
    assert worker.wait(300) == 78
    (heartbeat,) = read_heartbeats(harness.var)
    assert heartbeat.state == "failed" and "Too many invalid messages" in heartbeat.detail


@of("slow", batch_messages=40, block_age_ms=100)
def test_a_model_that_takes_five_seconds_a_batch_costs_no_rebalance(harness, bundle):
    from serving.bundle import read_bundle
    from serving.classifier import Classifier
    from serving.streaming.worker.model import StubModel
    from serving.streaming.worker.worker import Worker

    class Slow(StubModel):
        name = "slow"

        def __init__(self):
            self.model, self.calls = Classifier(read_bundle(bundle), threads=1), 0

        def classify_timed(self, texts, tier, *, domains=None):
            self.calls += 1
            if self.calls <= 4:
                time.sleep(5)  # the fault itself
            return self.model.classify_timed(texts, tier, domains=domains)

    harness.warehouse_server()
    harness.produce(numbered(n) for n in range(400))
    stop, model = threading.Event(), Slow()
    worker = Worker(harness.settings, harness.var, lambda: model, name="slow")
    thread = threading.Thread(target=worker.run, args=(stop,))
    thread.start()
    try:
        harness.settled()
    finally:
        stop.set()
        thread.join(300)
    harness.check(400)
    assert len(harness.predictions()) == 400  # nothing was classified twice: the group never revoked a partition


@of("dead-letters")
def test_dead_letters_are_listed_and_replayed_once(harness):
    from serving.streaming.dead_letters import read_dead_letters, replay_dead_letters

    def pending():
        return [letter for letter in read_dead_letters(harness.settings) if letter.topic == harness.topic]

    harness.warehouse_server()
    strict = harness.worker("strict", GROUNDSWELL_STREAM__MAX_AHEAD_S="1")
    late = json.dumps(
        {**json.loads(numbered(7)), "created_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 60))}
    ).encode()
    harness.produce([numbered(1), late, b"never an event"])
    harness.settled()
    end(strict)
    assert sorted(letter.reason.split(":")[0] for letter in pending()) == ["Invalid JSON", "created_at"]
    harness.worker("usual")
    others = len(list(read_dead_letters(harness.settings))) - 2
    assert replay_dead_letters(harness.settings) == 2 + others
    harness.settled()
    with_row = {p["id"] for p in harness.predictions()}
    assert with_row == {"n-1", "n-7"}
    assert [letter.original for letter in pending()] == [b"never an event"]  # it became a dead letter again


@of("swap")
def test_new_production_model_takes_over_between_batches_without_loss(harness):
    from serving.ledger import append_move

    def produce_with(bundle):
        append_move(harness.var, {"alias": "production", "to": "1", "bundle": str(bundle.directory.relative_to(harness.var))})

    first, second = (
        tiny_bundle(harness.var / "bundles" / name, strength=strength) for name, strength in (("a", 2.0), ("b", 3.0))
    )
    produce_with(first)
    harness.warehouse_server()
    worker = harness.worker("w1", GROUNDSWELL_BUNDLE_DIR="")
    swapped, sent = threading.Event(), []

    def until_swapped():
        while not swapped.is_set() or len(sent) % 1_000:
            sent.append(numbered(len(sent)))
            yield sent[-1]

    with harness.producing(until_swapped(), rate=1_500):
        try:
            until(lambda: any(h.messages > 3_000 for h in read_heartbeats(harness.var)))
            produce_with(second)
            until(lambda: any(h.version == second.manifest.version for h in read_heartbeats(harness.var)))
            before = len(sent)
            until(lambda: len(sent) > before + 3_000)
        finally:
            swapped.set()
    harness.settled()
    assert worker.poll() is None
    harness.check(len(sent))
    versions = [p["model_version"] for p in sorted(harness.predictions(), key=lambda p: p["predicted_at"])]
    assert set(versions) == {first.manifest.version, second.manifest.version}
    change = versions.index(second.manifest.version)
    # Two threads classify at once, so batches of both versions may be mixed for a moment, and no longer.
    assert first.manifest.version not in versions[change + 2 * harness.settings.batch_messages :]


@of("disk")
def test_worker_waits_while_the_disk_of_the_warehouse_is_full(harness, tmp_path, request):
    import shutil
    import subprocess

    harness.var.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=96m", "tmpfs", str(harness.var)], check=False).returncode:
        pytest.skip("no small file system can be mounted here")
    request.addfinalizer(lambda: subprocess.run(["umount", "-l", str(harness.var)], check=True))
    harness.warehouse_server()
    worker = harness.worker("w1")
    harness.produce(numbered(n) for n in range(1_000))
    harness.settled()
    ballast = harness.var / "ballast"
    with ballast.open("wb") as file:
        file.write(b"\0" * (shutil.disk_usage(harness.var).free - 200_000))
    harness.produce(numbered(n) for n in range(1_000, 20_000))
    log = harness.var / "worker.log"
    until(lambda: "the sink waits" in log.read_text() or "heartbeat cannot be written" in log.read_text())
    ballast.unlink()
    harness.settled()
    assert worker.poll() is None
    until(lambda: any(h.messages == 20_000 for h in read_heartbeats(harness.var)))  # heartbeats are written again
    harness.check(20_000)
