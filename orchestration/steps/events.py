"""Texts of the test split as events of the stream."""

from collections.abc import Iterator

from orchestration.layout import Layout
from orchestration.steps.data import ensure_splits, read_texts
from serving.streaming.producer import event_bytes


def split_events(layout: Layout, count: int, *, again: bool = True) -> Iterator[bytes]:
    """Yield texts of the test split in a random order, with the time when they are read; with `again` they repeat at the end."""
    ensure_splits(layout)
    frame = read_texts(layout, "test").sample(frac=1, random_state=0)
    rows = list(zip(frame["id"], frame["text"], frame["source"], strict=True))

    def event(number: int) -> bytes:
        turn, place = divmod(number, len(rows))
        identity, text, source = rows[place]
        return event_bytes(f"{identity}-{turn}" if turn else str(identity), text, source)

    return map(event, range(count if again else min(count, len(rows))))
