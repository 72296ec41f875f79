"""How many messages a stream worker writes together, and how long it waits for them: a fake clock."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.streaming.worker.batching import BlockAssembly
from tests.serving.stream_fakes import Clock, block

ROWS, AGE_S = 5, 2.0


def origins(made):
    return [(message.partition(), message.offset()) for message in made.messages]


def insert(assembly, seconds=0.0):
    part = assembly.take_part()
    if part.messages:
        assembly.inserted(part, seconds)
    return origins(part)


def finish(assembly):
    insert(assembly)
    made = assembly.take()
    assembly.finished()
    return made


def test_block_is_complete_with_its_rows_or_at_its_age_or_when_flushed():
    clock = Clock()
    assembly = BlockAssembly(ROWS, AGE_S, clock)
    assert not assembly.complete(flush=True, idle=False), "an empty block is not written"
    assembly.add(block((0, 0)))
    assert not assembly.complete(flush=False, idle=False) and assembly.complete(flush=True, idle=False)
    assembly.add(block(*((0, n) for n in range(1, 5))))
    assert assembly.complete(flush=False, idle=False)
    assert origins(finish(assembly)) == [(0, n) for n in range(5)]
    assembly.add(block((0, 5)))
    clock.now += AGE_S
    assert assembly.complete(flush=False, idle=False)


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
    finish(assembly)
    assert assembly.wait_s(0.5) == 0.5


def test_without_load_a_part_is_inserted_at_once_but_the_sink_rests_after_an_insert():
    clock = Clock()
    assembly = BlockAssembly(ROWS, AGE_S, clock)
    assert not assembly.ready(idle=True), "an empty part is not inserted"
    assembly.add(block((0, 0)))
    assert assembly.ready(idle=True) and not assembly.ready(idle=False)
    assert insert(assembly, 0.1) == [(0, 0)]
    assembly.add(block((0, 1)))
    assert not assembly.ready(idle=True) and assembly.wait_s(0.5) == pytest.approx(0.2)
    clock.now += 0.2
    assert assembly.ready(idle=True) and assembly.wait_s(0.5) == 0.5
    assert insert(assembly) == [(0, 1)]
    assert origins(finish(assembly)) == [(0, 0), (0, 1)], "the block holds both parts"


def test_without_load_a_block_is_finished_at_once_and_the_next_one_a_while_after_it():
    clock = Clock()
    assembly = BlockAssembly(ROWS, AGE_S, clock)
    assembly.add(block((0, 0)))
    assert assembly.complete(flush=False, idle=True) and not assembly.complete(flush=False, idle=False)
    finish(assembly)
    clock.now += 0.5
    assembly.add(block((0, 1)))
    insert(assembly)
    assert not assembly.complete(flush=False, idle=True) and assembly.wait_s(9) == AGE_S - 0.5
    clock.now += AGE_S - 0.5
    assert assembly.complete(flush=False, idle=True) and assembly.wait_s(9) == 0.5


def test_batch_of_another_epoch_begins_a_block_of_its_own():
    assembly = BlockAssembly(ROWS, AGE_S, Clock())
    assert assembly.accepts(block((0, 0), epoch=3))
    assembly.add(block((0, 0), epoch=3))
    assert assembly.accepts(block((1, 0), epoch=3)) and not assembly.accepts(block((0, 1), epoch=4))
    insert(assembly)
    assert assembly.accepts(block((1, 0), epoch=3)) and not assembly.accepts(block((0, 1), epoch=4))
    assert finish(assembly).epoch == 3
    assert assembly.accepts(block((0, 1), epoch=4))


@given(st.lists(st.tuples(st.integers(1, 8), st.integers(0, 1), st.sampled_from([0.0, 0.5, 3.0]), st.booleans(), st.booleans())))
def test_no_message_is_lost_or_moved_and_no_block_is_too_large_or_mixed(steps):
    clock, inserted, taken, added, epoch = Clock(), [], [], [], 0
    assembly = BlockAssembly(ROWS, AGE_S, clock)

    def end():
        inserted.extend(insert(assembly, 0.2))
        taken.append(finish(assembly))

    for size, new_epoch, pause_s, flush, idle in steps:
        epoch += new_epoch
        batch = block(*((epoch, len(added) + n) for n in range(size)), epoch=epoch)  # the partition names the epoch
        added += origins(batch)
        if not assembly.accepts(batch):
            end()
        assembly.add(batch)
        clock.now += pause_s
        if assembly.ready(idle=idle):
            inserted += insert(assembly, 0.2)
        if assembly.complete(flush=flush, idle=idle):
            end()
        else:
            assert not flush and 0 < assembly.wait_s(10) <= AGE_S
    if assembly.complete(flush=True, idle=False):
        end()
    assert inserted == added == [each for made in taken for each in origins(made)]
    for made in taken:
        assert {message.partition() for message in made.messages} == {made.epoch}
        assert len(made.messages) < ROWS + 8
