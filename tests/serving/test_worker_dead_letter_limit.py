"""The share of dead letters that ends a stream worker."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.streaming.worker.dead_letter_limit import DEAD_LETTER_WINDOW, DeadLetterLimit, TooManyDeadLetters
from tests.serving.stream_fakes import block


def of(messages, dead, reason="not JSON"):
    return block(*((0, n) for n in range(messages)), dead=[reason] * dead)


def test_too_many_dead_letters_are_reported_with_share_limit_and_last_reason():
    limit = DeadLetterLimit(0.5)
    limit.check(of(100, 100))  # too few messages for a share
    with pytest.raises(TooManyDeadLetters) as found:
        limit.check(of(100, 1, "id: missing"))
    assert found.value.found == "101 of the last 200; the last one: id: missing"
    assert found.value.expected == "at most 50%"
    assert "GROUNDSWELL_STREAM__DEAD_LETTER_LIMIT" in found.value.remedy


def test_share_at_the_limit_is_accepted():
    DeadLetterLimit(0.5).check(of(200, 100))
    with pytest.raises(TooManyDeadLetters):
        DeadLetterLimit(0.5).check(of(200, 101))


def test_dead_letters_before_the_window_no_longer_count():
    limit = DeadLetterLimit(0.2)
    limit.check(of(900, 180))
    limit.check(of(1_000, 0))
    limit.check(of(100, 100))
    with pytest.raises(TooManyDeadLetters, match="Too many invalid messages"):
        limit.check(of(1_000, 201))


@given(st.lists(st.tuples(st.integers(1, 700), st.floats(0, 1)), min_size=1, max_size=12), st.floats(0, 1))
def test_share_is_that_of_the_fewest_last_blocks_that_fill_the_window(blocks, share):
    limit, seen = DeadLetterLimit(share), []
    for messages, part in blocks:
        seen.append((messages, int(messages * part)))
        fewest = next((n for n in range(1, len(seen)) if sum(read for read, _ in seen[-n:]) >= DEAD_LETTER_WINDOW), len(seen))
        read, dead = (sum(column) for column in zip(*seen[-fewest:], strict=True))
        if read >= DEAD_LETTER_WINDOW // 5 and dead / read > share:
            with pytest.raises(TooManyDeadLetters):
                limit.check(of(*seen[-1]))
            return
        limit.check(of(*seen[-1]))
