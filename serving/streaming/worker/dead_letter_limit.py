"""Ends a worker before it turns a whole topic into dead letters: with so many, the cause is outside of the messages."""

from collections import deque

from data.errors import StreamError
from serving.streaming.worker.processing import ProcessedBatch

DEAD_LETTER_WINDOW = 1_000
"""Messages over which the share of dead letters is measured; the limit applies once a fifth of them were read."""


class TooManyDeadLetters(StreamError):
    """So many messages are invalid that the cause must be outside of the messages."""


class DeadLetterLimit:
    """The share of dead letters among the last messages."""

    def __init__(self, limit: float) -> None:
        """Make it, with the highest share that is accepted, from 0 to 1."""
        self._limit = limit
        self._recent: deque[tuple[int, int]] = deque()

    def check(self, block: ProcessedBatch) -> None:
        """Add a block to the share.

        Raises:
            TooManyDeadLetters: The share is above the limit.
        """
        self._recent.append((len(block.messages), len(block.dead_letters) - block.rejected))
        while sum(read for read, _ in self._recent) - self._recent[0][0] >= DEAD_LETTER_WINDOW:
            self._recent.popleft()
        read, dead = (sum(column) for column in zip(*self._recent, strict=True))
        if read >= DEAD_LETTER_WINDOW // 5 and dead / read > self._limit:
            raise TooManyDeadLetters(
                "Too many invalid messages.",
                found=f"{dead:,} of the last {read:,}"
                + (f"; the last one: {block.dead_letters[-1][1]}" if block.dead_letters else ""),
                expected=f"at most {self._limit:.0%}",
                remedy="Check the topic, and that its producer writes events of the contract. The messages are not committed. To "
                "accept them as dead letters, raise GROUNDSWELL_STREAM__DEAD_LETTER_LIMIT.",
            )
