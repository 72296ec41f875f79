"""One reader for every shape in which a tweet, a post or a notice about one is written.

`parse` turns a line into a record, `read` a record into its messages. Lakehouse, stream, `score` and datasets call both.
"""

import json
from collections.abc import Iterable
from typing import Any

from data.times import plausible
from data.tweets import fediverse, twitter
from data.tweets.fields import mapping, maybe_id
from data.tweets.notices import is_control, read_notice
from data.tweets.types import Json, Notice, NoticeKind, Record, Rejected, Tweet

__all__ = ["NOT_JSON", "Notice", "NoticeKind", "Rejected", "Tweet", "is_raw", "pages", "parse", "read", "rows"]

NOT_JSON = "not json"
_MARKS = frozenset(
    """
    account actor archived body commit content data delete edit_history edit_history_tweet_ids edit_info
    extended_tweet feed fullText full_text id_str legacy note_tweet object objectType payload post posts quoted_status
    rawContent reblog record records referenced_tweets rest_id retweeted_status retweetedTweet scrub_geo status_withheld
    truncated tweet tweet_create_events tweet_delete_events tweet_results uri user user_delete user_id_str
    user_protect user_suspend user_undelete user_unprotect
    user_unsuspend user_withheld verb withheld
    """.split()  # noqa: SIM905
)
_BLANK = " \t\r\n\ufeff"


def parse(line: bytes | str) -> dict[str, Any] | Rejected | None:
    """Parse a line that holds one record.

    A byte order mark, `NaN` and lone surrogates are accepted: they cost nothing but themselves.

    Returns:
        The record; None for a blank line, with which streaming APIs keep a connection alive; `Rejected` for anything that is not
        exactly one JSON object in UTF-8.
    """
    try:
        text = (_decoded(line) if isinstance(line, bytes) else line).strip(_BLANK)
    except UnicodeDecodeError:
        return Rejected(NOT_JSON)
    if not text:
        return None
    record: Json
    try:
        record = json.loads(text)
    except (json.JSONDecodeError, RecursionError):
        return Rejected(NOT_JSON)
    except ValueError:  # a number of more digits than Python reads stays text
        record = json.loads(text, parse_int=str)
    return record if isinstance(record, dict) else Rejected(NOT_JSON)


def _decoded(line: bytes) -> str:
    try:
        return line.decode()
    except UnicodeDecodeError:
        return line.decode("utf-8", "surrogatepass")  # half an emoji, not as an escape but in bytes


def read(record: Record) -> list[Tweet | Notice | Rejected]:
    """Read all messages of a record, in their order: one, or those of a page. Never empty, and raises for no JSON object.

    Supported: API v1.1 (extended, compatible, retweets, quotes), v2 (single, lists, pages, with `includes`), archives
    (`{"tweet": …}`), Gnip's activities, twarc's lines and pages, Mastodon, Bluesky, the notices of each, and plain records.
    """
    if not _has_text(record):
        if notice := read_notice(record):
            return [notice]
        if wrapped := _unwrapped(record):
            return wrapped
        if is_control(record):
            return [Rejected("not a message")]
    return [twitter.read_v1(record)]


def is_raw(fields: Iterable[str]) -> bool:
    """Return whether names of fields show that a record is not an event of the stream, but as a platform wrote it."""
    return not _MARKS.isdisjoint(fields)


def pages(record: Record) -> list[Record]:
    """Split a page into records of one message each, with the tweets that it refers to; any other record stays whole."""
    data: Json = record.get("data")
    if _has_text(record) or isinstance(data, dict) or read_notice(record):
        return [record]
    if isinstance(data, list) and data:
        return [twitter.alone(one, mapping(record.get("includes"))) for one in data]
    name = _feed(record) or _events(record)
    return [{name: [one]} for one in record[name]] if name else [record]


def _has_text(record: Record) -> bool:
    return isinstance(record.get("text"), str) or isinstance(record.get("full_text"), str)


def _feed(record: Record) -> str | None:
    """Return the field that holds the posts of a page of Bluesky."""
    return next((name for name in ("feed", "posts", "records") if isinstance(record.get(name), list) and record[name]), None)


def _events(record: Record) -> str | None:
    """Return the field with the events of the Account Activity API."""
    names = ("tweet_create_events", "tweet_delete_events")
    return next((name for name in names if isinstance(record.get(name), list) and record[name]), None)


def rows(record: dict[str, Any]) -> list[dict[str, Any]]:
    """Return a record as rows of a table: a raw one with the `text` that counts, and `id`, `created_at`, `lang`, `author_id`.

    A page gives several rows; a record that is not raw, or holds no tweet, stays as it is.
    """
    if not is_raw(record):
        return [record]
    found = [one for one in read(record) if isinstance(one, Tweet)]
    return [
        {
            "id": one.message_id,
            "created_at": one.created_at,
            "lang": one.lang,
            "author_id": one.author,
            **record,
            "text": one.text,
        }
        for one in found
    ] or [record]


def _unwrapped(record: Record) -> list[Tweet | Notice | Rejected] | None:
    """Read a record in which the message is not at the top, or has other names there; None where it is."""
    if isinstance(record.get("data"), dict) or (isinstance(record.get("data"), list) and record["data"]):
        return [*twitter.read_v2(record)]
    if name := _feed(record):
        return [fediverse.read_post(mapping(one)) for one in record[name]]
    if name := _events(record):
        return [_read_event_of_account(name, mapping(one)) for one in record[name]]
    if inner := mapping(mapping(record.get("tweet_results")).get("result")):
        return [_read_archived(mapping(inner.get("tweet")) or inner)]
    if inner := mapping(record.get("tweet")):
        return [_read_archived(inner)]
    if record.get("objectType") == "activity" or ("body" in record and "actor" in record):
        return [twitter.read_activity(record)]
    if "content" in record and ("account" in record or "reblog" in record or "spoiler_text" in record):
        return [fediverse.read_status(record)]
    if "payload" in record and "event" in record and (payload := _payload(record["payload"])) is not None:
        return _read_event(record["event"], payload)
    if "did" in record and ("commit" in record or "account" in record or "identity" in record):
        return [fediverse.read_jetstream(record)]
    if "post" in record or ("uri" in record and ("record" in record or "value" in record)):
        return [fediverse.read_post(record)]
    return None


def _read_archived(tweet: Record) -> Tweet | Notice | Rejected:
    if "deleted_at" in tweet:
        gone = maybe_id(tweet.get("id_str"), tweet.get("id"))
        return Notice("delete", gone, at=plausible(tweet["deleted_at"])) if gone else Rejected("no id")
    return twitter.read_v1(tweet, archived=True)


def _read_event_of_account(name: str, event: Record) -> Tweet | Notice | Rejected:
    if name == "tweet_create_events":
        return twitter.read_v1(event)
    return read_notice({"delete": event}) or Rejected("no id")


def _payload(value: object) -> str | None:
    return value if isinstance(value, str) else maybe_id(value)


def _read_event(kind: object, payload: str) -> list[Tweet | Notice | Rejected]:
    """Read an event of Mastodon's streaming API: its payload is a status as JSON text, or the id of a deleted one."""
    if kind == "delete":
        return [Notice("delete", payload)] if payload.strip() else [Rejected("no id")]
    if kind not in ("update", "status.update"):
        return [Rejected("not a message")]
    status = parse(payload)
    return [fediverse.read_status(status)] if isinstance(status, dict) else [status or Rejected(NOT_JSON)]
