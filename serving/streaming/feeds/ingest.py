"""The loop of all connectors: poll, send, and only after the broker has acknowledged everything save the position.

Delivery: at least once on the topic, once in the counts. What was sent and not saved, because the process was killed, is sent
again as a version that replaces the first (see `state`): at most the entries of one round.
"""

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from data.errors import StreamError
from data.readable import MAX_TEXT_CHARS
from serving.streaming.feeds.entries import Connector, Entry, Notice, Round, cut, event_bytes
from serving.streaming.feeds.errors import FeedError, FeedUnavailable
from serving.streaming.feeds.state import FeedState
from serving.streaming.producer import Sender

ACKNOWLEDGE_S = 30.0
MAX_HINT_S = 3_600.0
"""A server's `max-age` or `<ttl>` delays the next poll by at most this; its `Retry-After` by what `seconds_to_wait` allows."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 30.0, 3_600.0
ROUND_ENTRIES = 2_000
CUT = f"text cut at {MAX_TEXT_CHARS:,} characters"


@dataclass
class Totals:
    """What was done, in a round or in all."""

    sent: int = 0
    """Messages that the broker acknowledged, notices included."""
    edits: int = 0
    """Of these: versions that replace earlier ones, changed or sent again after a failure."""
    notices: int = 0
    """Of these: deletions."""
    reasons: Counter[str] = field(default_factory=Counter[str])
    """Entries that were not sent as they are, by reason."""
    failures: int = 0
    """Polls that failed."""

    def add(self, other: "Totals") -> None:
        """Add the counts of a round."""
        self.sent += other.sent
        self.edits += other.edits
        self.notices += other.notices
        self.reasons += other.reasons
        self.failures += other.failures


class _Feed:
    """A connector with its state and its schedule."""

    def __init__(self, connector: Connector, folder: Path) -> None:
        self.connector, self.state = connector, FeedState(folder, connector)
        self.due_at, self.failures, self.has_worked = 0.0, 0, False

    def succeeded(self, hint_s: float | None) -> None:
        self.failures, self.has_worked = 0, True
        self.due_at = time.monotonic() + max(self.connector.interval_s, min(hint_s or 0.0, MAX_HINT_S))

    def failed(self, wait_s: float | None) -> float:
        """Return the seconds until the next try: twice as many each time, at least what the server asks."""
        first = min(max(self.connector.interval_s, 1.0), FIRST_PAUSE_S)
        pause = max(min(first * 2 ** min(self.failures, 20), LONGEST_PAUSE_S), wait_s or 0.0)
        self.failures += 1
        self.due_at = time.monotonic() + pause
        return pause

    def close(self) -> None:
        self.connector.close()
        self.state.close()


class Ingest:
    """Reads feeds and sends their entries, until it is stopped.

    Args:
        connectors: One for each feed.
        folder: Of the state files.
        connect: Returns a sender to the topic; called again after the broker failed.
        stop: Ends it.
        on_round: Called after each round, with the feed's label and what was done.
        on_failure: Called after a poll or a send that failed, with the feed's label, the error, and the seconds until the next
            try; None: the feed is not tried again.
    """

    def __init__(
        self,
        connectors: Sequence[Connector],
        folder: Path,
        connect: Callable[[], Sender],
        stop: threading.Event,
        *,
        on_round: Callable[[str, Totals], None],
        on_failure: Callable[[str, StreamError, float | None], None],
    ) -> None:
        self._connectors, self._folder, self._connect, self._stop = connectors, folder, connect, stop
        self._on_round, self._on_failure = on_round, on_failure
        self._sender: Sender | None = None
        self.totals = Totals()

    def run(self, *, once: bool = False, limit: int | None = None) -> Totals:
        """Read the feeds, each when it is due. Blocks.

        Args:
            once: Read each feed once.
            limit: Stop after this many messages.

        Raises:
            StreamError: At the start the broker is not reachable, or a feed's state cannot be used.
        """
        feeds: list[_Feed] = []
        try:
            self._sender = self._connect()
            feeds.extend(_Feed(connector, self._folder) for connector in self._connectors)
            left = [*feeds]
            while left and not self._stop.is_set() and (limit is None or self.totals.sent < limit):
                feed = min(left, key=lambda one: one.due_at)
                if self._stop.wait(max(0.0, feed.due_at - time.monotonic())):
                    break
                room = ROUND_ENTRIES if limit is None else min(limit - self.totals.sent, ROUND_ENTRIES)
                is_over = self._try(feed, room)
                if once or is_over:
                    left.remove(feed)
        finally:
            for feed in feeds:
                feed.close()
        return self.totals

    def _try(self, feed: _Feed, room: int) -> bool:
        """Do a round of a feed; return whether it is over for good."""
        label = feed.connector.label
        try:
            done = self._round(feed, room)
        except StreamError as error:
            feed.connector.reset()
            feed.state.reload()
            if self._stop.is_set():
                return True
            self.totals.failures += 1
            # What has never worked is a wrong address; what has, may be a server's bad day.
            wait_s = None
            if isinstance(error, FeedUnavailable):
                wait_s = error.wait_s
            elif isinstance(error, FeedError) and (not feed.has_worked or error.status == 410):
                self._on_failure(label, error, None)
                return True
            self._on_failure(label, error, feed.failed(wait_s))
            return False
        self.totals.add(done)
        self._on_round(label, done)
        return False

    def _round(self, feed: _Feed, room: int) -> Totals:
        connector, state = feed.connector, feed.state
        polled = connector.poll(Round(state.position, state.knows, room, self._stop))
        done = Totals(reasons=Counter(polled.rejected))
        events: list[bytes] = []
        position = polled.position
        for item in polled.items:
            if len(events) >= room:
                position = state.position  # the rest is read again
                break
            events += self._events(connector, state, item, done)
        if events:
            self._send(events, state)
        done.sent = len(events)
        state.save(position)
        feed.succeeded(polled.wait_s)
        return done

    @staticmethod
    def _events(connector: Connector, state: FeedState, item: Entry | Notice, done: Totals) -> list[bytes]:
        if isinstance(item, Notice):
            later = state.later_ids(item.of) if item.of else []
            done.notices += 1
            return [item.value, *(json.dumps({"delete": {"status": {"id": one}}}).encode() for one in later)]
        version = state.version(item)
        if version is None:
            return []
        text = cut(item.text)
        found = item.reason or event_bytes(replace(item, text=text), connector, version.id, version.replaces)
        if isinstance(found, str):
            done.reasons[found] += 1
            return []
        done.reasons[CUT] += len(text) < len(item.text)
        done.edits += bool(version.replaces)
        return [found]

    def _send(self, events: list[bytes], state: FeedState) -> None:
        """Send events; blocks until the broker has acknowledged all.

        Raises:
            StreamError: It has not, in `ACKNOWLEDGE_S`.
        """
        if self._sender is None:
            self._sender = self._connect()
        state.begin()
        sender, before = self._sender, self._sender.delivered
        for event in events:
            sender.send(event)
        sender.finish(ACKNOWLEDGE_S)
        if (missing := len(events) - (sender.delivered - before)) > 0:
            self._sender = None  # after some errors a producer with idempotence never sends again
            raise StreamError(
                f"The broker did not acknowledge {missing:,} of {len(events):,} messages.",
                found=", ".join(sender.errors) or None,
                remedy="They are sent again; check the broker.",
            )
