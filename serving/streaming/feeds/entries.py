"""What a connector brings: entries of a feed, and the events that they become."""

import hashlib
import json
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

from pydantic import ValidationError

from data.contracts import MAX_ID_CHARS, Event
from data.domains import Domain
from data.readable import MAX_TEXT_CHARS, unreadable
from data.times import misdated
from data.tweets.fields import whole

MAX_LANG_CHARS = 35  # of BCP 47
_LEAST_KEPT = 0.9
"""A cut that would lose more than a tenth to reach a space is made within a word: some languages write none."""

Position = dict[str, Any]
"""Where a connector has read to, as JSON: an etag, an id, a cursor."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One text of a feed."""

    id: str
    """The event's id: made from the feed's own id, the same at each poll."""
    text: str
    """Of any length; without markup."""
    created_at: datetime | None = None
    """UTC."""
    lang: str | None = None
    author_id: str | None = None
    is_share: bool = False
    reason: str | None = None
    """Why it is no event: it is counted, remembered, and not read again."""


@dataclass(frozen=True, slots=True)
class Notice:
    """A platform's notice that a message or an account is gone, in its own form: the stream follows it."""

    value: bytes
    of: str | None = None
    """The id of the entry that is gone; None: an account."""


@dataclass
class Polled:
    """The result of one poll."""

    items: list[Entry | Notice] = field(default_factory=list[Entry | Notice])
    """Oldest first."""
    position: Position = field(default_factory=dict[str, Any])
    """From which the next poll continues, once all items were acknowledged."""
    wait_s: float | None = None
    """Seconds that the server asks to wait before the next poll."""
    rejected: Counter[str] = field(default_factory=Counter[str])
    """Entries that are no events, by reason."""


@dataclass(frozen=True)
class Round:
    """What a connector knows when it polls."""

    position: Position
    is_known: Callable[[str], bool]
    """Whether an entry with this id was sent or rejected before."""
    room: int
    """Most entries that are wanted. More are no error: they are brought again at the next poll."""
    stop: threading.Event


class Connector(Protocol):
    """Reads one feed."""

    name: str
    """Such as `rss`."""
    label: str
    """The feed as people and log files may see it: without secrets."""
    key: str
    """Identifies the feed."""
    source: str
    """Of its events."""
    domain: Domain | None
    """Of its events; None: that of the source."""
    interval_s: float
    """Seconds between two polls."""
    memory: int
    """Entries to remember; more than one poll brings."""

    def poll(self, round: Round) -> Polled:
        """Read what is new, and maybe entries that are known. Blocks for at most a minute or two.

        Raises:
            FeedError: The feed cannot be read; `FeedUnavailable`: at the moment.
        """
        ...

    def reset(self) -> None:
        """Continue from the position of the next round, whatever was read before."""
        ...

    def close(self) -> None:
        """Close the connections."""
        ...


def bounded_id(identity: str) -> str:
    """Return an id of at most `MAX_ID_CHARS` less what an edit adds: a longer one is hashed behind its beginning."""
    limit = MAX_ID_CHARS - 16
    if len(identity) <= limit:
        return identity
    return f"{identity[: limit - 41]}:{hashlib.sha256(identity.encode(errors='replace')).hexdigest()[:40]}"


def cut(text: str, limit: int = MAX_TEXT_CHARS) -> str:
    """Return a text of at most `limit` characters, cut between two words where possible."""
    if len(text) <= limit:
        return text
    head = text[:limit]
    kept = head.rstrip() if text[limit].isspace() else next(iter(head.rsplit(maxsplit=1)), "")
    return kept if len(kept) >= _LEAST_KEPT * limit else head


def event_bytes(entry: Entry, connector: Connector, identity: str, replaces: tuple[str, ...]) -> bytes | str:
    """Return an entry as it is sent, or the reason why it is no event.

    Args:
        entry: With a text that `cut` was applied to.
        connector: Gives source and domain.
        identity: The id of this version of the entry.
        replaces: The ids of the versions before.
    """
    text = whole(entry.text)
    if reason := unreadable(text, MAX_TEXT_CHARS):
        return reason.value
    now = datetime.now(UTC)
    # A wrong date would make the message a dead letter: it then has the time of its arrival.
    created = entry.created_at if entry.created_at and not misdated(entry.created_at, now) else None
    try:
        event = Event(
            id=identity,
            text=text,
            source=connector.source,
            created_at=created,
            lang=whole(entry.lang)[:MAX_LANG_CHARS] if entry.lang else None,
            author_id=entry.author_id,
            domain=connector.domain,
            replaces=replaces,
            is_share=entry.is_share,
        )
    except ValidationError as error:
        return str(error.errors(include_input=False, include_url=False)[0]["msg"])
    return json.dumps(event.model_dump(mode="json", exclude_defaults=True), ensure_ascii=False).encode()
