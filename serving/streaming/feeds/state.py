"""What of a feed was sent: a file that survives the process.

It is written twice a round. Before the messages are sent: with those that are uncertain if the process ends now. After the broker
has acknowledged them: with the new position. An uncertain entry is sent again as a new version that replaces the one before, so
that it counts once, whether or not the first one arrived.
"""

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
MAX_VERSIONS = 50
"""Most hashes to remember of one entry: more come only from a broker that fails each time."""


@dataclass(frozen=True)
class Version:
    """A version of an entry that was not sent yet."""

    id: str
    replaces: tuple[str, ...]
    """The ids of the versions before, oldest first."""


class _File(BaseModel):
    feed: str
    saved_at: datetime
    position: Position
    seen: dict[str, list[str]]
    """By the hash of an entry's id: the hash of each version's text. Neither text nor id can be read."""
    uncertain: set[str] = set()
    """Keys of `seen` whose last version may have arrived or not."""


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
        self._seen: dict[str, list[str]] = {}
        self._uncertain: set[str] = set()
        self._sending: set[str] = set()
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
            self.position, self._seen, self._uncertain, self._sending = {}, {}, set(), set()
            return
        except (OSError, ValidationError) as error:
            raise FeedError(
                f"The state of the feed {self._label} cannot be read.",
                found=type(error).__name__,
                remedy=f"Delete {self._file}; entries that are still in the feed are then sent again.",
            ) from error
        self.position, self._seen, self._uncertain, self._sending = found.position, found.seen, found.uncertain, set()

    def knows(self, identity: str) -> bool:
        """Return whether an entry with this id was certainly sent, or rejected."""
        key = _hash(identity)
        return key in self._seen and key not in self._uncertain

    def version(self, entry: Entry) -> Version | None:
        """Remember an entry; return its version, or None where it is known and has not changed (or too often)."""
        key, text = _hash(entry.id), _hash(entry.text)[:8]
        before = self._seen.pop(key, [])
        self._seen[key] = before  # now the newest: what is still in the feed is forgotten last
        if before and key not in self._uncertain and (before[-1] == text or len(before) > MAX_EDITS):
            return None
        before = before[: MAX_VERSIONS - 1]
        self._seen[key] = [*before, text]
        self._uncertain.discard(key)
        self._sending.add(key)
        *earlier, own = self._ids(entry.id, [*before, text])
        return Version(own, tuple(earlier))

    def later_ids(self, identity: str) -> list[str]:
        """Return the ids of all versions of an entry but the first."""
        return self._ids(identity, self._seen.get(_hash(identity), []))[1:]

    @staticmethod
    def _ids(identity: str, texts: list[str]) -> list[str]:
        """Return the id of each version. With its number: a text that comes back is a new version, since the stream has forgotten
        the replaced one for good.
        """
        return [f"{identity}#{number}-{text}" if number else identity for number, text in enumerate(texts)]

    def begin(self) -> None:
        """Write that the versions since the last `save` are about to be sent.

        Raises:
            GroundswellError: The file cannot be written.
        """
        self._write(self._uncertain | self._sending)

    def save(self, position: Position) -> None:
        """Write that they have arrived, and from where to continue.

        Raises:
            GroundswellError: The file cannot be written.
        """
        self.position, self._sending = position, set()
        self._write(self._uncertain)

    def _write(self, uncertain: set[str]) -> None:
        while len(self._seen) > self._memory:
            del self._seen[next(iter(self._seen))]
        content = {
            "feed": self._label,
            "saved_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "position": self.position,
            "seen": self._seen,
            "uncertain": sorted(uncertain & self._seen.keys()),
        }
        write_text(self._file, json.dumps(content) + "\n")


def _hash(value: str) -> str:
    return hashlib.blake2b(value.encode(errors="replace"), digest_size=8).hexdigest()
