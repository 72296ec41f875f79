"""Notices that a message or an author's messages must go or change: streaming API v1.1, API v2, Gnip, compliance jobs."""

from datetime import datetime
from typing import get_args

from data.times import plausible
from data.tweets.fields import last_part, mapping, maybe_id
from data.tweets.types import Json, Notice, NoticeKind, Record, Rejected

_MESSAGE_KINDS: dict[str, NoticeKind] = {
    "delete": "delete",
    "drop": "delete",
    "undrop": "undelete",
    "status_withheld": "withheld",
    "withheld": "withheld",
}
_USER_KINDS: dict[str, NoticeKind] = {kind: kind for kind in get_args(NoticeKind) if kind.startswith("user_")}
_KINDS = {*_MESSAGE_KINDS, *_USER_KINDS, "scrub_geo"}
_REASONS: dict[str, NoticeKind] = {"deactivated": "user_delete", "suspended": "user_suspend", "protected": "user_protect"}
"""Reasons of a compliance job's line that concern the author; any other is about the message."""
CONTROL = frozenset({"limit", "disconnect", "warning", "info", "friends", "friends_str", "error", "errors"})
"""What a stream sends between messages."""


def read_notice(record: Record) -> Notice | Rejected | None:
    """Read a notice; None where the record is none, `Rejected` where it names neither a message nor an author."""
    data: Json = record.get("data")
    if isinstance(data, dict):
        if "id" not in data and (found := _named(data) or _bare(data)):
            return found
        if any(isinstance(body, dict) and "event_at" in body for body in data.values()):
            return Rejected("not a message")  # another kind of event, such as a changed profile
    elif found := _named(record) or _job_line(record) or _deleted(record):
        return found
    return None


def _named(record: Record) -> Notice | Rejected | None:
    """Read `{"delete": {…}}` and the like: the kind is the name of a field."""
    name = next((key for key in record if key in _KINDS and isinstance(record[key], dict)), None)
    if name is None or "text" in record or "full_text" in record:
        return None
    body = mapping(record[name])
    message = next((found for key in ("status", "tweet", "post", "message") if (found := mapping(body.get(key)))), body)
    at = _time(body) or _time(record)
    if name == "scrub_geo":
        upto = maybe_id(*(body.get(key) for key in ("up_to_status_id_str", "up_to_status_id", "up_to_tweet_id", "up_to_post_id")))
        author = _author(body)
        return Notice("scrub_geo", author=author, up_to_id=upto, at=at) if author else Rejected("no id")
    if name in _USER_KINDS:
        author = _author(body) or maybe_id(body.get("id_str"), body.get("id"))
        return Notice(_USER_KINDS[name], author=author, at=at) if author else Rejected("no id")
    identity = maybe_id(message.get("id_str"), message.get("id"))
    author = _author(message) or _author(body)
    return Notice(_MESSAGE_KINDS[name], identity, author, at=at) if identity else Rejected("no id")


def _bare(data: Record) -> Notice | None:
    """Read `{"tweet": {"id": …, "author_id": …}, "event_at": …}`, API v2's deletion without a name."""
    message = mapping(data.get("tweet")) or mapping(data.get("post"))
    if "event_at" not in data or "text" in message:
        return None
    kind: NoticeKind = "withheld" if "withheld_in_countries" in data else "delete"
    identity = maybe_id(message.get("id"))
    return Notice(kind, identity, _author(message), at=_time(data)) if identity else None


def _job_line(record: Record) -> Notice | None:
    """Read a line of a compliance job's result: `{"id": …, "action": "delete", "reason": "deactivated", …}`."""
    if record.get("action") != "delete" or "reason" not in record or "text" in record:
        return None
    identity = maybe_id(record.get("id"))
    if identity is None:
        return None
    at = plausible(record.get("redacted_at"))
    about_author = "created_at" not in record and record["reason"] in _REASONS
    if about_author:  # a job about users: its ids are those of authors
        return Notice(_REASONS[record["reason"]], author=identity, at=at)
    return Notice("scrub_geo" if record["reason"] == "scrub_geo" else "delete", identity, at=at)


def _deleted(record: Record) -> Notice | None:
    """Read Gnip's `verb: delete`, and DataSift's `deleted: true`."""
    if record.get("verb") == "delete":
        inner = mapping(record.get("object"))
        identity = maybe_id(last_part(inner.get("id")), last_part(record.get("id")))
        author = maybe_id(last_part(mapping(record.get("actor")).get("id")))
        return Notice("delete", identity, author, at=plausible(record.get("postedTime"))) if identity else None
    if record.get("deleted") is True and "text" not in record:
        twitter = mapping(record.get("twitter"))
        identity = maybe_id(twitter.get("id"), mapping(record.get("interaction")).get("id"))
        return Notice("delete", identity, at=plausible(record.get("deleted_at"))) if identity else None
    return None


def is_control(record: Record) -> bool:
    """Return whether a record is a stream's word about itself or an event of another kind, or a page without a tweet."""
    if "id" in record or "id_str" in record:
        return False
    if any(record.get(name) == [] for name in ("feed", "posts", "records")):
        return True
    if "data" in record or "meta" in record:
        result = mapping(record.get("meta")).get("result_count")
        return not record.get("data") and ("data" in record or result == 0 or "errors" in record)
    is_event = isinstance(record.get("event"), str)  # a like or the like: `target_object` has the tweet
    return is_event or (0 < len(record) <= 3 and any(name in CONTROL for name in record))


def _author(body: Record) -> str | None:
    user = mapping(body.get("user"))
    given = *(body.get(name) for name in ("user_id_str", "user_id", "author_id")), user.get("id_str"), user.get("id")
    return maybe_id(*given)


def _time(body: Record) -> datetime | None:
    return next((at for name in ("event_at", "timestamp_ms", "deleted_at") if (at := plausible(body.get(name)))), None)
