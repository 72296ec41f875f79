"""What to forget: one message or the messages of one author, with the keys by which every store recognizes them later."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from data.tweets import Notice

Kind = Literal["message", "author", "edit", "places"]
"""`edit`: a message that a later edit replaces; unlike with `message`, that edit stays. `places`: where an author's messages were
written; the messages stay."""
BY_HAND = "by hand"
_MESSAGES = ("delete", "withheld")
_AUTHORS = ("user_delete", "user_protect", "user_suspend", "user_withheld")


@dataclass(frozen=True)
class Request:
    """One thing to forget. `groundswell forget` makes it, or a notice of the author or the platform."""

    kind: Kind
    value: str
    """The id of a message; or of an author: the id or the name."""
    reason: str = BY_HAND
    """The kind of the notice, such as `delete`."""
    requested_at: datetime = datetime(1970, 1, 1, tzinfo=UTC)
    """An author's messages up to this time are forgotten; later ones are new."""

    @property
    def key(self) -> str:
        """The key that stores keep, without the id itself."""
        return forget_key(self.kind, self.value)


def forget_key(kind: Kind, value: str) -> str:
    """Return the key of a message or an author, 64 hexadecimal digits: SHA-256 of `message:<id>` or `author:<id>`."""
    return hashlib.sha256(f"{kind}:{value}".encode("utf-8", "surrogatepass")).hexdigest()


def request_of(notice: Notice, arrived_at: datetime) -> Request | None:
    """Return what a notice asks to forget; None if nothing: the stores hold no places, and nothing comes back by itself.

    Args:
        notice: Of an author or a platform.
        arrived_at: Used where the notice states no time.
    """
    at = notice.at or arrived_at
    if notice.kind in _MESSAGES and notice.message_id:
        return Request("message", notice.message_id, notice.kind, at)
    if notice.kind in _AUTHORS and notice.author:
        return Request("author", notice.author, notice.kind, at)
    return None


def reason_to_forget(
    messages: Mapping[str, str],
    authors: Mapping[str, tuple[str, datetime | None]],
    ids: Iterable[str | None],
    author: str | None,
    written_at: datetime | None,
) -> str | None:
    """Return the reason why a message is forgotten, or None.

    Args:
        messages: Reasons by the keys of messages.
        authors: Reasons by the keys of authors, with the time up to which their messages are forgotten (None: of any time).
        ids: Of the message and its earlier edits.
        author: Id of its author.
        written_at: When it was written; None: not known, and an author's key does not cover it.
    """
    for identity in dict.fromkeys(ids) if messages else ():
        if identity is not None and (reason := messages.get(forget_key("message", identity))):
            return reason
    if author is None or not authors:
        return None
    reason, until = authors.get(forget_key("author", author), (None, None))
    return reason if until is None or (written_at is not None and written_at <= until) else None
