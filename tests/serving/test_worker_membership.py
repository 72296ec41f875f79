"""Which partitions a stream worker owns, and which messages are still its own: a fake clock, a fake consumer."""

import pytest

from serving.streaming.worker.membership import REJOIN_AFTER_S, Membership
from tests.serving.stream_fakes import TOPIC, Broker, Clock, Consumer, block


class Group:
    """A membership with a fake broker; `consumers` are those that it made."""

    def __init__(self):
        self.clock, self.broker, self.consumers, self.drained = Clock(), Broker(), [], []
        self.membership = Membership(TOPIC, self.new_consumer, self.clock)
        self.membership.open()
        self.membership.subscribe(self.drain)

    def new_consumer(self):
        self.consumers.append(Consumer(self.broker, self.clock))
        return self.consumers[-1]

    def drain(self, partitions):
        self.drained.append((partitions, set(self.membership.owned)))
        return True

    @property
    def consumer(self):
        return self.consumers[-1]


@pytest.fixture
def group():
    return Group()


def test_assigned_partitions_are_owned_and_read(group):
    group.consumer.paused = {1}
    group.consumer.assign(0, 1)
    group.consumer.assign(2)
    assert group.membership.owned == {0, 1, 2} and not group.consumer.paused
    assert group.membership.epoch == 0, "an assignment costs no message its owner"


def test_partitions_are_drained_while_still_owned_and_then_released(group):
    group.consumer.assign(0, 1, 2)
    group.consumer.revoke(0, 2)
    assert group.drained == [({0, 2}, {0, 1, 2})]
    assert group.membership.owned == {1} and group.membership.epoch == 1


def test_lost_partitions_are_released_without_a_drain(group):
    group.consumer.assign(0, 1)
    group.consumer.lose(0)
    assert group.membership.owned == {1} and group.membership.epoch == 1 and not group.drained


@pytest.mark.parametrize("leave", ["revoke", "lose"])
def test_messages_read_before_a_partition_left_are_not_ours_though_it_returns(group, leave):
    group.consumer.assign(0, 1)
    before = block((0, 5), (1, 7), epoch=group.membership.epoch)
    assert group.membership.ours(before) == {0, 1}
    getattr(group.consumer, leave)(0)
    assert group.membership.ours(before) == {1}
    group.consumer.assign(0)
    after = block((0, 5), epoch=group.membership.epoch)
    assert group.membership.ours(before) == {1} and group.membership.ours(after) == {0}


def test_worker_without_partitions_joins_again_after_the_wait_and_once(group):
    group.consumer.assign(0)
    group.consumer.lose(0)
    group.clock.now += REJOIN_AFTER_S - 1
    group.membership.rejoin_if_left_out()
    assert len(group.consumers) == 1
    group.clock.now += 1
    group.membership.rejoin_if_left_out()
    assert [(each.closed, each.subscribed) for each in group.consumers] == [(True, True), (False, True)]
    group.clock.now += 10 * REJOIN_AFTER_S
    group.membership.rejoin_if_left_out()
    assert len(group.consumers) == 2, "the new member got its time"
    group.consumer.assign(0)
    group.consumer.revoke(0)
    assert group.drained == [({0}, {0})]


def test_wait_to_join_again_begins_when_the_broker_is_back(group):
    group.consumer.assign(0)
    group.consumer.lose(0)
    group.broker.down = True
    group.clock.now += 5 * REJOIN_AFTER_S
    group.membership.rejoin_if_left_out()
    group.broker.down = False
    group.membership.rejoin_if_left_out()
    assert [each.subscribed for each in group.consumers] == [True, False] and group.consumers[1].closed
    group.clock.now += REJOIN_AFTER_S
    group.membership.rejoin_if_left_out()
    assert [(each.closed, each.subscribed) for each in group.consumers] == [(True, True), (True, False), (False, True)]


def test_worker_whose_client_lost_its_connection_for_good_joins_with_a_new_one(group):
    group.consumer.assign(0)
    group.consumer.lose(0)
    group.consumer.cut_off = True
    group.clock.now += REJOIN_AFTER_S
    group.membership.rejoin_if_left_out()
    assert [(each.closed, each.subscribed) for each in group.consumers] == [(True, True), (False, True)]
    assert group.membership.consumer is group.consumers[-1]


def test_worker_with_partitions_does_not_join_again(group):
    group.consumer.assign(0, 1)
    group.consumer.lose(0)  # it keeps one
    group.clock.now += 2 * REJOIN_AFTER_S
    group.membership.rejoin_if_left_out()
    group.consumer.lose(1)
    group.consumer.assign(1)
    group.clock.now += 2 * REJOIN_AFTER_S
    group.membership.rejoin_if_left_out()
    group.consumer.revoke(1)  # given back, not lost
    group.clock.now += 2 * REJOIN_AFTER_S
    group.membership.rejoin_if_left_out()
    assert len(group.consumers) == 1


def test_each_partition_is_paused_once_also_one_that_left_and_returned(group):
    group.consumer.assign(0, 1)
    group.membership.pause()
    group.membership.pause()
    assert group.consumer.paused == {0, 1} == group.membership.paused and group.consumer.pauses == 1
    group.consumer.revoke(1)
    group.consumer.assign(1, 2)
    assert group.consumer.paused == {0}
    group.membership.pause()
    assert group.consumer.paused == {0, 1, 2} and group.consumer.pauses == 2
    group.membership.resume()
    assert not group.consumer.paused and not group.membership.paused


def test_nothing_is_ours_once_the_worker_leaves(group):
    group.consumer.assign(0)
    read = block((0, 1), epoch=group.membership.epoch)
    group.membership.close()
    assert group.consumer.closed and not group.membership.ours(read)
