"""What of a feed was sent: a file that survives the process, written after the broker has acknowledged."""

import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout
from pydantic import BaseModel, ValidationError

from data.artifacts import write_text
from serving.streaming.feeds.entries import Connector, Entry, Position
from serving.streaming.feeds.errors import FeedError

MAX_EDITS = 20
"""Changes of an entry that are sent; one that changes at each poll, such as a count of comments, is then left as it is."""


@dataclass(frozen=True)
class Version:
    """A version of an entry that was not sent yet."""

    id: str
    replaces: str | None
    """The id of the version before."""


class _File(BaseModel):
    feed: str
    saved_at: datetime
    position: Position
    seen: dict[str, tuple[str, int]]
    """By the hash of an entry's id: the hash of its text, and how often it has changed. Neither text nor id can be read."""


class FeedState:
    """The position in a feed, and the entries that were sent from it. One process at a time has it open.

    Args:
        folder: Of the state files.
        connector: Of the feed; its `memory` bounds the entries that are remembered: the ones last in the feed.

    Raises:
        FeedError: Another process reads this feed, or the file is malformed.
    """

    def __init__(self, folder: Path, connector: Connector) -> None:
        name = hashlib.sha256(f"{connector.name} {connector.key}".encode()).hexdigest()[:16]
        self._file, self._label, self._memory = folder / f"{connector.name}-{name}.json", connector.label, connector.memory
        folder.mkdir(parents=True, exist_ok=True)
        self._lock = FileLock(self._file.with_suffix(".lock"))
        try:
            self._lock.acquire(timeout=0)
        except Timeout as error:
            raise FeedError(
                f"Another process reads {connector.label}.", remedy="Stop it first: two would send each entry twice."
            ) from error
        self.position: Position = {}
        self._seen: dict[str, tuple[str, int]] = {}
        try:
            self.reload()
        except FeedError:
            self.close()
            raise

    def close(self) -> None:
        """Let other processes read the feed."""
        self._lock.release()

    def reload(self) -> None:
        """Return to what was saved.

        Raises:
            FeedError: The file is malformed.
        """
        try:
            found = _File.model_validate_json(self._file.read_bytes())
        except FileNotFoundError:
            self.position, self._seen = {}, {}
            return
        except (OSError, ValidationError) as error:
            raise FeedError(
                f"The state of the feed {self._label} cannot be read.",
                found=type(error).__name__,
                remedy=f"Delete {self._file}; entries that are still in the feed are then sent again.",
            ) from error
        self.position, self._seen = found.position, found.seen

    def knows(self, identity: str) -> bool:
        """Return whether an entry with this id was sent or rejected."""
        return _hash(identity) in self._seen

    def version(self, entry: Entry) -> Version | None:
        """Remember an entry; return its version, or None where it is known and has not changed (or too often)."""
        key, text = _hash(entry.id), _hash(entry.text)[:8]
        known = self._seen.pop(key, None)
        if known is None:
            self._seen[key] = text, 0
            return Version(entry.id, None)
        before, edits = known
        if before == text or edits >= MAX_EDITS:
            self._seen[key] = known  # now the newest: what is still in the feed is forgotten last
            return None
        self._seen[key] = text, edits + 1
        # With the number: a text that comes back is a new version, since the stream has forgotten the replaced one for good.
        return Version(f"{entry.id}#{edits + 1}-{text}", f"{entry.id}#{edits}-{before}" if edits else entry.id)

    def save(self) -> None:
        """Write the file atomically.

        Raises:
            GroundswellError: It cannot be written.
        """
        while len(self._seen) > self._memory:
            del self._seen[next(iter(self._seen))]
        content = {
            "feed": self._label,
            "saved_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "position": self.position,
            "seen": self._seen,
        }
        write_text(self._file, json.dumps(content) + "\n")


def _hash(value: str) -> str:
    return hashlib.blake2b(value.encode(errors="replace"), digest_size=8).hexdigest()
