"""What a stream worker commits: never a message that was not processed, and in the end each that was. A fake broker."""

from collections import Counter, deque

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from serving.streaming.worker.commits import Commits
from serving.streaming.worker.membership import Membership
from tests.serving.stream_fakes import TOPIC, Broker, Clock, Consumer, FakeSignals, Message, block

PARTITIONS = 3


class Group:
    def __init__(self, *, transactions=False):
        clock = Clock()
        self.broker = Broker(PARTITIONS)
        self.consumer = Consumer(self.broker, clock)
        self.membership = Membership(TOPIC, lambda: self.consumer, clock)
        self.membership.open()
        self.membership.subscribe(lambda _: True)
        self.commits = Commits(TOPIC, self.membership, FakeSignals(clock).changed, transactions=transactions)


@pytest.fixture
def group():
    made = Group()
    made.consumer.assign(0, 1, 2)
    return made


def add(group, *origins, epoch=None):
    made = block(*origins, epoch=group.membership.epoch if epoch is None else epoch)
    group.commits.count_read(made.messages)
    group.commits.add(made)
    return made


def test_blocks_are_committed_together_at_the_highest_offset_of_each_partition(group):
    blocks = [add(group, (0, 0), (0, 1), (2, 7)), add(group, (0, 2), (1, 3))]
    assert group.commits.pending and group.commits.in_flight() == 5 and group.commits.in_flight({0, 1}) == 4
    assert group.commits.commit() == (blocks, None)
    assert group.broker.commits == [{0: 3, 1: 4, 2: 8}]
    assert not group.commits.pending and group.commits.in_flight() == 0


def test_nothing_written_is_no_request(group):
    group.commits.count_read(block((0, 0)).messages)
    assert group.commits.commit() == ([], None)
    assert not group.broker.commits and group.commits.in_flight() == 1


@pytest.mark.parametrize("refusal", ["request", "partition"])
def test_refused_blocks_are_committed_by_the_next_call_before_newer_ones(group, refusal):
    blocks = [add(group, (0, 0), (1, 0)), add(group, (0, 1))]
    group.broker.refusals.append(refusal)
    finished, error = group.commits.commit()
    assert finished == [] and error.str() and group.commits.in_flight() == 3 and group.commits.pending
    blocks.append(add(group, (1, 1)))
    assert group.commits.commit() == (blocks, None)
    assert group.broker.committed == {0: 2, 1: 2, 2: 0}


def test_refused_blocks_of_a_revoked_partition_are_finished_without_a_commit(group):
    blocks = [add(group, (0, 0))]
    group.broker.refusals.append("request")
    group.commits.commit()
    group.consumer.revoke(0)
    assert group.commits.commit() == (blocks, None)
    assert not group.broker.commits and group.commits.in_flight() == 0, "its next owner reads the message again"


def test_revoked_partition_is_left_out_and_the_others_of_its_block_are_committed(group):
    add(group, (0, 0), (1, 0))
    group.consumer.revoke(0)
    group.consumer.assign(0)
    add(group, (2, 0))
    group.commits.commit()
    assert group.broker.commits == [{1: 1, 2: 1}]


def test_with_transactions_the_sink_commits_and_gets_the_group_of_now():
    group = Group(transactions=True)
    group.consumer.assign(0)
    assert group.commits.commit() == ([], None) and group.commits.group == "metadata 1"
    blocks = [add(group, (0, 0))]
    assert group.commits.commit() == (blocks, None) and group.commits.group == "metadata 2"
    assert not group.broker.commits and group.commits.in_flight() == 0


class CommitMachine(RuleBasedStateMachine):
    """Any order of reading, writing, commits, refusals and rebalances, with another member that owns the other partitions."""

    def __init__(self):
        super().__init__()
        group = Group()
        self.broker, self.consumer, self.membership, self.commits = (
            group.broker,
            group.consumer,
            group.membership,
            group.commits,
        )
        self.read_batches = deque()
        self.processed = {number: set() for number in range(PARTITIONS)}  # offsets, by any member
        self.written_to = {}  # by owned partition: where the last block written of this ownership ends
        self.read_count, self.finished_count = Counter(), Counter()

        self.consumer.assign(*range(PARTITIONS))

    # Messages.

    @rule(numbers=st.sets(st.integers(0, PARTITIONS - 1), min_size=1), count=st.integers(1, 3))
    def read(self, numbers, count):
        """Read messages of partitions that the worker believes to own."""
        messages = []
        for number in sorted(numbers & self.membership.owned):
            begin = self.consumer.positions[number]
            self.consumer.positions[number] = begin + count
            messages += [Message(number, offset) for offset in range(begin, begin + count)]
        if messages:
            self.commits.count_read(messages)
            self.read_count.update(each.partition() for each in messages)
            origins = [(each.partition(), each.offset()) for each in messages]
            self.read_batches.append(block(*origins, epoch=self.membership.epoch))

    @precondition(lambda self: self.read_batches)
    @rule()
    def write(self):
        written = self.read_batches.popleft()
        ours = self.membership.ours(written)  # the sink leaves out the others
        for message in written.messages:
            if message.partition() in ours:
                self.processed[message.partition()].add(message.offset())
                self.written_to[message.partition()] = message.offset() + 1
        self.commits.add(written)

    @precondition(lambda self: self.commits.pending)
    @rule(refusal=st.sampled_from(["", "request", "partition"]))
    def commit(self, refusal):
        self.broker.refusals.append(refusal)
        before, accepted = dict(self.broker.committed), len(self.broker.commits)
        finished, error = self.commits.commit()
        self.broker.refusals.clear()
        for written in finished:
            self.finished_count.update(message.partition() for message in written.messages)
        for number, offset in [each for commit in self.broker.commits[accepted:] for each in commit.items()]:
            assert number in self.membership.owned
            assert offset >= before[number], "a commit took another member's progress back"
        if error is None:
            assert not self.commits.pending
            for number, end in self.written_to.items():
                assert number not in self.broker.owned or self.broker.committed[number] == end
        else:
            assert not finished

    # The group.

    @precondition(lambda self: len(self.membership.owned) < PARTITIONS)
    @rule(number=st.integers(0, PARTITIONS - 1))
    def assign(self, number):
        if number not in self.membership.owned:
            self.written_to.pop(number, None)
            self.consumer.assign(number)

    @precondition(lambda self: self.membership.owned & self.broker.owned)
    @rule(number=st.integers(0, PARTITIONS - 1))
    def revoke(self, number):
        if number in self.membership.owned & self.broker.owned:
            self.consumer.revoke(number)

    @precondition(lambda self: self.broker.owned)
    @rule(number=st.integers(0, PARTITIONS - 1))
    def take_away(self, number):
        """The group ends the ownership; the worker hears of it later (`hear_of_loss`)."""
        self.broker.owned.discard(number)

    @precondition(lambda self: self.membership.owned - self.broker.owned)
    @rule()
    def hear_of_loss(self):
        if lost := self.membership.owned - self.broker.owned:
            self.consumer.lose(*lost)

    @precondition(lambda self: len(self.broker.owned) < PARTITIONS)
    @rule(number=st.integers(0, PARTITIONS - 1), count=st.integers(0, 9))
    def another_member_works(self, number, count):
        if number not in self.broker.owned:
            begin = self.broker.committed[number]
            self.processed[number].update(range(begin, begin + count))
            self.broker.committed[number] = begin + count

    @rule(number=st.integers(0, PARTITIONS - 1), count=st.integers(0, 9), lost=st.booleans())
    def partition_leaves_and_returns(self, number, count, lost):
        if lost:
            self.take_away(number)
            self.hear_of_loss()
        self.revoke(number)
        self.another_member_works(number, count)
        self.assign(number)

    @invariant()
    def every_committed_message_was_processed(self):
        for number, committed in self.broker.committed.items():
            assert self.processed[number].issuperset(range(committed))

    @invariant()
    def in_flight_is_what_was_read_and_not_finished(self):
        for number in range(PARTITIONS):
            assert self.commits.in_flight({number}) == self.read_count[number] - self.finished_count[number] >= 0

    def teardown(self):
        self.hear_of_loss()
        while self.read_batches:
            self.write()
        self.commit("")
        for number in self.membership.owned:
            assert self.broker.committed[number] == self.consumer.positions[number], "read and processed, and never committed"
        assert self.commits.in_flight() == 0
        self.every_committed_message_was_processed()


CommitMachine.TestCase.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)
TestCommitMachine = CommitMachine.TestCase
