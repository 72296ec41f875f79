"""The keys of forgotten messages and authors, as a writer knows them: it leaves out their later copies."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from data.contracts import Event
from data.forgetting import forget_key, reason_to_forget

_SINCE = """
SELECT kind, key, until, toUnixTimestamp64Milli(forgotten_at) FROM forgotten
WHERE forgotten_at >= fromUnixTimestamp64Milli({since:Int64}, 'UTC')
"""
_OVERLAP_MS = 60_000
"""A row may become readable this long after its time."""


class ForgottenKeys:
    """Keys read so far. Any thread may ask; one reads."""

    def __init__(self) -> None:
        self._messages: dict[str, str] = {}
        self._authors: dict[str, tuple[str, datetime | None]] = {}
        self._edits: frozenset[str] = frozenset()
        self._seen_ms = 0
        self.version = 0
        """How often keys were added."""

    def __len__(self) -> int:
        return len(self._messages) + len(self._authors) + len(self._edits)

    def read(self, client: Any) -> None:
        """Read the keys that were added since the last call. Raises what the client raises."""
        rows = client.query(_SINCE, parameters={"since": max(0, self._seen_ms - _OVERLAP_MS)}).result_rows
        messages = {str(key): "forgotten" for kind, key, *_ in rows if kind == "message" and key not in self._messages}
        edits = {str(key) for kind, key, *_ in rows if kind == "edit"} - self._edits
        authors = {str(key): ("forgotten", _utc(until)) for kind, key, until, _ in rows if kind == "author"}
        new_authors = {key: value for key, value in authors.items() if self._authors.get(key) != value}
        # Replaced, not changed: other threads are reading them.
        if messages:
            self._messages = self._messages | messages
        if edits:
            self._edits = self._edits | edits
        if new_authors:
            self._authors = self._authors | new_authors
        self._seen_ms = max([self._seen_ms, *(int(at) for *_, at in rows)])
        self.version += bool(messages or edits or new_authors)

    def cover(self, event: Event, arrived_s: float) -> bool:
        """Return whether a message is forgotten: by its id or that of an earlier edit, or by its author and its time.

        Args:
            event: The message.
            arrived_s: Its timestamp at the broker, seconds since 1970: its time, if it has none of its own.
        """
        written_at = event.created_at or datetime.fromtimestamp(arrived_s, UTC) if self._authors else None
        return self.covers(event.id, event.replaces, event.author_id, written_at)

    def covers(self, identity: str, replaces: Iterable[str], author: str | None, written_at: datetime | None) -> bool:
        """Return whether a message with these fields is forgotten; see `cover`."""
        if self.is_replaced(identity):
            return True
        if not self._messages and not self._authors:
            return False
        return reason_to_forget(self._messages, self._authors, (identity, *replaces), author, written_at) is not None

    def is_replaced(self, identity: str) -> bool:
        """Return whether a message is an earlier edit of another, whose text others may still hold."""
        return bool(self._edits) and forget_key("edit", identity) in self._edits


def _utc(time: datetime | None) -> datetime | None:
    return time if time is None or time.tzinfo else time.replace(tzinfo=UTC)
