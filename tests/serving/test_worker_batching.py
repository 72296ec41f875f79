"""How many messages a stream worker writes together, and how long it waits for them: a fake clock."""

from hypothesis import given
from hypothesis import strategies as st

from serving.streaming.worker.batching import BlockAssembly
from tests.serving.stream_fakes import Clock, block

ROWS, AGE_S = 5, 2.0


def origins(made):
    return [(message.partition(), message.offset()) for message in made.messages]


def test_block_is_complete_with_its_rows_or_at_its_age_or_when_flushed():
    clock = Clock()
    assembly = BlockAssembly(ROWS, AGE_S, clock)
    assert not assembly.complete(flush=True), "an empty block is not written"
    assembly.add(block((0, 0)))
    assert not assembly.complete(flush=False) and assembly.complete(flush=True)
    assembly.add(block(*((0, n) for n in range(1, 5))))
    assert assembly.complete(flush=False)
    assert origins(assembly.take()) == [(0, n) for n in range(5)]
    assembly.add(block((0, 5)))
    clock.now += AGE_S
    assert assembly.complete(flush=False)


def test_age_counts_from_the_first_batch_and_bounds_the_wait():
    clock = Clock()
    assembly = BlockAssembly(ROWS, AGE_S, clock)
    assert assembly.wait_s(0.5) == 0.5
    assembly.add(block((0, 0)))
    clock.now += 1.75
    assembly.add(block((0, 1)))
    assert assembly.wait_s(0.5) == 0.25
    clock.now += 1
    assert assembly.wait_s(0.5) == 0
    assembly.take()
    assert assembly.wait_s(0.5) == 0.5


def test_batch_of_another_epoch_begins_a_block_of_its_own():
    assembly = BlockAssembly(ROWS, AGE_S, Clock())
    assert assembly.accepts(block((0, 0), epoch=3))
    assembly.add(block((0, 0), epoch=3))
    assert assembly.accepts(block((1, 0), epoch=3)) and not assembly.accepts(block((0, 1), epoch=4))
    assert assembly.take().epoch == 3
    assert assembly.accepts(block((0, 1), epoch=4))


@given(st.lists(st.tuples(st.integers(1, 8), st.integers(0, 1), st.sampled_from([0.0, 0.5, 3.0]), st.booleans())))
def test_no_message_is_lost_or_moved_and_no_block_is_too_large_or_mixed(steps):
    clock, taken, added, epoch = Clock(), [], [], 0
    assembly = BlockAssembly(ROWS, AGE_S, clock)
    for size, new_epoch, pause_s, flush in steps:
        epoch += new_epoch
        batch = block(*((epoch, len(added) + n) for n in range(size)), epoch=epoch)  # the partition names the epoch
        added += origins(batch)
        if not assembly.accepts(batch):
            taken.append(assembly.take())
        assembly.add(batch)
        clock.now += pause_s
        if assembly.complete(flush=flush):
            taken.append(assembly.take())
        else:
            assert not flush and 0 < assembly.wait_s(10) <= AGE_S
    if assembly.complete(flush=True):
        taken.append(assembly.take())
    assert [each for made in taken for each in origins(made)] == added
    for made in taken:
        assert {message.partition() for message in made.messages} == {made.epoch}
        assert len(made.messages) < ROWS + 8
