"""The polling thread of a stream worker: reading, pausing, committing, draining. A fake clock, a fake broker, no threads."""

import threading
from functools import partial

import pytest
from confluent_kafka import KafkaError

from data.errors import StreamError
from serving.settings import StreamSettings
from serving.streaming.worker.commits import Commits
from serving.streaming.worker.health import WorkerHealth
from serving.streaming.worker.membership import REJOIN_AFTER_S, Membership
from serving.streaming.worker.poll_loop import BATCHES_AHEAD, LOOK_S, POLL_PAUSE_AFTER_S, RETRY_INTERVAL_S, PollLoop
from tests.serving.stream_fakes import BASE_POINT, TOPIC, Broker, Clock, Consumer, FakeSignals, Message, block


class Pool:
    """Takes batches; the test classifies and writes them with `write`."""

    threads = 1

    def __init__(self):
        self.batches, self.unprocessed, self.unclassified = [], 0, 0

    def submit(self, batch, epoch):
        self.batches.append(([(each.partition(), each.offset()) for each in batch], epoch))
        self.unprocessed += 1
        self.unclassified += len(batch)


class Rounds(threading.Event):
    """Set after a number of rounds of the loop, which looks once in each."""

    def __init__(self, count):
        super().__init__()
        self.left = count

    def is_set(self):
        self.left -= 1
        return self.left < 0


class Polling:
    """A poll loop with partitions 0 and 1. `rounds` runs it."""

    def __init__(self, tmp_path, control=None, **settings):
        self.clock, self.broker, self.pool = Clock(), Broker(), Pool()
        self.signals = FakeSignals(self.clock)
        self.settings = StreamSettings.load(
            **{"topic": TOPIC, "batch_messages": 10, "batch_age_ms": 100, "drain_s": 5} | settings
        )
        self.consumers = []
        self.membership = Membership(TOPIC, self.new_consumer, self.clock)
        self.membership.open()
        self.commits = Commits(TOPIC, self.membership, self.signals.changed, transactions=False)
        self.health = WorkerHealth(tmp_path, "w", None, lambda: ("", BASE_POINT, [], 0))
        self.health.begin("running")
        self.loop = PollLoop(
            self.settings, self.membership, self.pool, self.commits, self.health, self.signals, self.clock, control
        )
        self.membership.subscribe(self.loop.drain)
        self.consumer.assign(0, 1)

    def new_consumer(self):
        self.consumers.append(Consumer(self.broker, self.clock))
        return self.consumers[-1]

    @property
    def consumer(self):
        return self.consumers[-1]

    def rounds(self, count):
        self.loop.run(Rounds(count))

    def write(self):
        """What pool and sink do with the oldest batch."""
        origins, epoch = self.pool.batches.pop(0)
        self.pool.unprocessed -= 1
        self.pool.unclassified -= len(origins)
        self.commits.add(block(*origins, epoch=epoch))


@pytest.fixture
def polling(tmp_path):
    return Polling(tmp_path)


def test_messages_are_read_in_batches_and_committed_once_written(polling):
    polling.broker.ends[0] = 3
    polling.rounds(1)
    assert polling.pool.batches == [([(0, 0), (0, 1), (0, 2)], 0)] and polling.loop.first_read_at == polling.clock.now
    assert polling.commits.in_flight() == 3 and not polling.broker.commits
    polling.write()
    polling.rounds(1)
    assert polling.broker.commits == [{0: 3}] and polling.health.messages == 3 and polling.commits.in_flight() == 0


def test_message_of_a_partition_that_is_no_longer_owned_is_left_to_its_next_owner(polling):
    polling.membership.owned.discard(1)
    polling.broker.ends.update({0: 1, 1: 1})
    polling.rounds(1)
    assert polling.pool.batches == [([(0, 0)], 0)]


def test_batches_carry_the_epoch_in_which_they_were_read(polling):
    polling.broker.ends[0] = 1
    polling.rounds(1)
    polling.consumer.lose(1)
    polling.broker.ends[0] = 2
    polling.rounds(1)
    assert [epoch for _, epoch in polling.pool.batches] == [0, 1]


def test_without_room_reading_is_paused_after_a_second_and_resumed_with_room(tmp_path):
    polling = Polling(tmp_path, max_in_flight=100)
    polling.broker.ends[0] = 1_000
    polling.rounds(BATCHES_AHEAD)
    before = polling.clock.now
    polling.rounds(1)
    assert polling.clock.now >= before + POLL_PAUSE_AFTER_S and polling.consumer.paused == {0, 1}
    assert len(polling.pool.batches) == BATCHES_AHEAD, "paused partitions give no messages"
    polling.write()
    polling.rounds(1)
    assert not polling.consumer.paused and polling.broker.committed[0] == 10
    assert len(polling.pool.batches) == BATCHES_AHEAD


def test_too_many_messages_in_flight_pause_reading(tmp_path):
    polling = Polling(tmp_path, max_in_flight=100, batch_messages=100)
    polling.broker.ends[0] = 1_000
    polling.rounds(3)
    assert polling.consumer.paused == {0, 1} and polling.commits.in_flight() == 100


def test_what_is_written_while_there_is_no_room_is_committed_at_once(tmp_path):
    polling = Polling(tmp_path, max_in_flight=100, batch_messages=100)
    polling.broker.ends[0] = 200
    polling.rounds(1)
    polling.signals.meanwhile.append(polling.write)
    before = polling.clock.now
    polling.rounds(1)
    assert polling.clock.now == before and polling.broker.committed[0] == 100 and not polling.consumer.paused


class Control:
    """Records the load that it hears of."""

    overloaded = False

    def __init__(self, most=10):
        self.heard, self.most, self.ready = [], most, True

    def most_texts(self, most):
        return min(most, self.most)

    def due(self):
        return self.ready

    def update(self, waiting, arrived):
        self.heard.append((waiting, arrived))


def test_load_control_hears_what_waits_and_what_arrived(tmp_path):
    polling = Polling(tmp_path, control := Control())
    polling.broker.ends[0] = 25
    polling.rounds(1)
    assert control.heard == [(25, 0)], "10 in the pool, 15 at the broker; nothing arrived since the partition was assigned"
    polling.broker.ends.update({0: 40, 1: 5, 2: 1_000})
    polling.write()
    polling.rounds(1)
    assert control.heard[-1] == (35, 20), "partition 2 belongs to another worker"
    control.ready, control.overloaded = False, True
    polling.rounds(1)
    assert len(control.heard) == 2
    control.ready = True
    polling.rounds(1)
    assert polling.health._overloaded


def test_load_control_bounds_a_micro_batch(tmp_path):
    polling = Polling(tmp_path, Control(most=4))
    polling.broker.ends[0] = 9
    polling.rounds(2)
    assert [len(origins) for origins, _ in polling.pool.batches] == [4, 4]


def test_message_waits_for_others_only_while_all_threads_are_busy(polling):
    before = polling.clock.now
    polling.rounds(1)
    assert polling.clock.now == before + LOOK_S
    polling.broker.ends[0] = 1
    polling.rounds(1)
    before = polling.clock.now
    polling.rounds(1)
    assert polling.clock.now == pytest.approx(before + 0.1, abs=1.5 * LOOK_S)


@pytest.mark.parametrize("busy", ["thread", "sink"])
def test_what_arrived_is_classified_as_soon_as_a_thread_and_the_sink_are_free(polling, busy):
    polling.broker.ends[0] = 1
    polling.rounds(1)
    if busy == "sink":
        polling.write()
        polling.signals.sink_writing = True
    before, arrives = polling.clock.now, [(0, 0.02, 2), (1, 0.05, 1)]

    def meanwhile():
        for partition, at, end in arrives:
            if polling.clock.now >= before + at:
                polling.broker.ends[partition] = end
        if polling.clock.now >= before + 0.06:
            polling.signals.sink_writing = False
            if polling.pool.unprocessed:
                polling.write()

    polling.consumer.before_consume.extend([meanwhile] * 10)
    polling.rounds(1)
    assert polling.pool.batches == [([(0, 1), (1, 0)], 0)] and polling.clock.now < before + 0.1


def test_messages_read_before_a_partition_was_revoked_are_not_mixed_with_later_ones(polling):
    polling.broker.ends[1] = 1
    polling.rounds(1)
    arrive = partial(polling.broker.ends.update, {0: 1, 1: 2})
    polling.consumer.before_consume.extend([arrive, lambda: polling.consumer.revoke(0), lambda: polling.consumer.assign(0)])
    polling.rounds(1)
    assert polling.pool.batches[1] == ([(1, 1)], 1), "the read ended with the epoch, before the partition came back"


def test_refused_commit_is_reported_and_tried_again(polling):
    polling.broker.ends[0] = 1
    polling.rounds(1)
    polling.write()
    polling.broker.refusals.append("request")
    polling.loop._commit()
    assert polling.health.state == "waiting for the broker" and polling.health.messages == 0
    polling.loop._commit()
    assert polling.health.state == "running" and polling.health.messages == 1


def test_revoked_partition_is_drained_and_the_others_are_not_waited_for(polling):
    polling.broker.ends.update({0: 1, 1: 1})
    polling.rounds(1)
    flushed = []

    def write():
        flushed.append(polling.signals.flush_now.is_set())
        polling.write()

    polling.signals.meanwhile.append(write)
    polling.consumer.revoke(0)
    assert flushed == [True] and not polling.signals.flush_now.is_set()
    assert polling.broker.committed[0] == 1 and polling.membership.owned == {1}


def test_drain_ends_at_its_limit_and_what_is_left_is_not_committed(polling):
    polling.broker.ends[0] = 1
    polling.rounds(1)
    before = polling.clock.now
    assert polling.loop.drain({0}) is False and polling.clock.now == pytest.approx(before + 5)
    assert polling.loop.drain({1}) is True
    polling.membership._release({0})
    polling.write()
    polling.loop._commit()
    assert not polling.broker.commits and polling.commits.in_flight() == 0


def test_drain_tries_a_refused_commit_until_the_group_has_its_new_generation(polling):
    polling.broker.ends[0] = 1
    polling.rounds(1)
    polling.write()
    polling.broker.refusals.extend(["request", "partition", "request"])
    before = polling.clock.now
    assert polling.loop.drain(None) is True
    assert polling.broker.committed[0] == 1 and polling.clock.now == pytest.approx(before + 3 * RETRY_INTERVAL_S)


def test_failure_of_the_sink_ends_polling_and_drains(polling):
    polling.broker.ends[0] = 1
    polling.rounds(1)
    polling.signals.fail(RuntimeError("refused"))
    before = polling.clock.now
    polling.loop.run(threading.Event())
    assert polling.loop.drain(None) is True and polling.clock.now == before and not polling.broker.commits


def test_worker_that_the_group_left_out_polls_with_a_new_consumer(polling):
    polling.consumer.lose(0, 1)
    polling.clock.now += REJOIN_AFTER_S
    first = polling.consumer
    polling.membership.rejoin_if_left_out()
    polling.consumer.assign(0)
    polling.broker.ends[0] = 1
    polling.rounds(1)
    assert first.closed and len(polling.consumers) == 2 and polling.pool.batches == [([(0, 0)], 1)]


@pytest.mark.parametrize(
    ("code", "fatal", "message"),
    [
        (KafkaError.TOPIC_AUTHORIZATION_FAILED, False, f"Not authorized to read {TOPIC}"),
        (KafkaError.GROUP_AUTHORIZATION_FAILED, False, f"Not authorized to read {TOPIC}"),
        (KafkaError.UNKNOWN_TOPIC_OR_PART, False, f"The topic {TOPIC} no longer exists"),
        (KafkaError._FENCED, True, "The broker ended this member"),
    ],
)
def test_error_that_does_not_pass_ends_the_worker(polling, code, fatal, message):
    polling.consumer.errors.append(Message(0, 0, error=KafkaError(code, "reason", fatal)))
    with pytest.raises(StreamError, match=message):
        polling.rounds(1)


def test_error_that_may_pass_costs_no_message(polling):
    polling.broker.ends[0] = 1
    polling.consumer.errors.append(Message(0, 0, error=KafkaError(KafkaError._TRANSPORT, "reset")))
    polling.rounds(1)
    assert polling.pool.batches == [([(0, 0)], 0)]


def test_message_after_an_unavailable_broker_ends_the_wait(polling):
    polling.health.wait_for("the broker", "down")
    polling.rounds(1)
    assert polling.health.state == "waiting for the broker"
    polling.broker.ends[0] = 1
    polling.rounds(1)
    assert polling.health.state == "running"
