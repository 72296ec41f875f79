"""What a raw record holds: tweets, notices about tweets, and what cannot be read."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

Json = dict[str, "Json"] | list["Json"] | str | int | float | bool | None
"""What a field of a record may hold."""
Record = Mapping[str, Any]
"""A record as a platform wrote it: a JSON object."""

NoticeKind = Literal[
    "delete",
    "undelete",
    "scrub_geo",
    "withheld",
    "user_delete",
    "user_undelete",
    "user_protect",
    "user_unprotect",
    "user_suspend",
    "user_unsuspend",
    "user_withheld",
]
"""`delete`, `withheld`: one message. `scrub_geo`: the places of an author's messages up to `up_to_id`. `user_*`: all of an
author's messages. `undelete`, `user_un*`: the earlier notice no longer holds."""


@dataclass(frozen=True, slots=True)
class Tweet:
    """One message, whatever platform and tool wrote it."""

    message_id: str
    text: str
    """The longest true text that the record holds; of a pure retweet the original's. Without lone surrogates; may be blank."""
    author: str | None = None
    """The author's id, not the name."""
    created_at: datetime | None = None
    """UTC, 1970 to 2261. Not compared with the time of arrival: see `data.times.misdated`."""
    edited_at: datetime | None = None
    """The author's last change, if the record states one; UTC, 1970 to 2261."""
    lang: str | None = None
    source: str | None = None
    """The client's name, such as `Twitter for iPhone`; of a plain record its `source`."""
    is_share: bool = False
    """A pure retweet, reblog or repost: another author's text without a word of one's own."""
    replaces: tuple[str, ...] = ()
    """Ids of the earlier edits of this message, oldest first."""
    label: str | None = None
    """The label that a plain record carries, one of `LABELS`."""

    @property
    def first_id(self) -> str:
        """The id of the first edit: the same for all edits of one message."""
        return self.replaces[0] if self.replaces else self.message_id


@dataclass(frozen=True, slots=True)
class Notice:
    """A platform's notice that stored messages must change."""

    kind: NoticeKind
    message_id: str | None = None
    author: str | None = None
    up_to_id: str | None = None
    """Of `scrub_geo`: the author's newest message concerned."""
    at: datetime | None = None
    """UTC; None where the notice states no time."""


@dataclass(frozen=True, slots=True)
class Rejected:
    """A record, or one of its messages, that cannot be read."""

    reason: str
    """Such as `no id`; one of a few."""
    message_id: str | None = None
