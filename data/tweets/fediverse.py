"""Messages of Mastodon (statuses, events of its streaming API) and Bluesky (posts, feeds, events of Jetstream)."""

import re

from data.times import plausible
from data.tweets.fields import items, longest, mapping, maybe_id, string, tweet, words
from data.tweets.types import Notice, NoticeKind, Record, Rejected, Tweet

_BREAK = re.compile(r"<(?:br|p|li|blockquote)\b[^<>]*>", re.IGNORECASE)
_AUTHOR = re.compile(r"at://(did:[^/]+)/")
POSTS = "app.bsky.feed.post"


def read_status(record: Record) -> Tweet | Rejected:
    """Read a status of Mastodon, whose text is HTML; of a reblog the original's."""
    shared = mapping(record.get("reblog"))
    content = (shared or record).get("content")
    return tweet(
        (record.get("id"), record.get("uri")),
        plain(content) if isinstance(content, str) else None,
        created=record.get("created_at"),
        edited=(record.get("edited_at"),),
        author=(mapping(record.get("account")).get("id"), mapping(record.get("account")).get("acct")),
        lang=(shared or record).get("language"),
        source=mapping(record.get("application")).get("name"),
        is_share=bool(shared),
    )


def plain(content: str) -> str:
    """Return the text of a status: one line for each paragraph and line break, nothing of the markup."""
    return words(_BREAK.sub("\n", content)).strip() if "<" in content or "&" in content else content


def read_post(record: Record) -> Tweet | Rejected:
    """Read a post of Bluesky as its feeds, searches and repositories have it; with a `reason` it is a repost."""
    post = mapping(record.get("post")) or record
    reason = mapping(record.get("reason"))
    is_share = "reasonRepost" in str(reason.get("$type", ""))
    by, uri = mapping(reason.get("by")), string(post.get("uri"))
    name = string(reason.get("uri")) or (f"{uri}#repost-{maybe_id(by.get('did'))}" if uri else None)
    content = mapping(post.get("record")) or mapping(post.get("value"))
    author = mapping(post.get("author")).get("did") or (_AUTHOR.match(uri or "") or (None, None))[1]
    return tweet(
        (name if is_share else uri,),
        longest(content.get("text")),
        created=reason.get("indexedAt") if is_share else content.get("createdAt") or post.get("indexedAt"),
        author=(by.get("did") if is_share else author,),
        lang=next(iter(items(content.get("langs"))), None),
        is_share=is_share,
    )


_GONE: dict[str, NoticeKind] = {
    "deleted": "user_delete",
    "suspended": "user_suspend",
    "takendown": "user_suspend",
    "deactivated": "user_protect",
}


def read_jetstream(record: Record) -> Tweet | Notice | Rejected:
    """Read an event of Jetstream: a new or changed post, a deletion, an account that is gone."""
    did, at = maybe_id(record.get("did")), record.get("time_us")
    account = mapping(record.get("account"))
    if account:
        return _read_account(account, did, at)
    commit = mapping(record.get("commit"))
    collection, key = commit.get("collection"), string(commit.get("rkey"))
    if collection != POSTS:
        return Rejected("not a message")
    uri = f"at://{did}/{collection}/{key}" if did and key else None
    if commit.get("operation") == "delete":
        return Notice("delete", uri, did, at=plausible(at)) if uri else Rejected("no id")
    content = mapping(commit.get("record"))
    changed = at if commit.get("operation") == "update" else None
    return tweet(
        (uri,),
        longest(content.get("text")),
        created=content.get("createdAt") or at,
        edited=(changed,),
        author=(did,),
        lang=next(iter(items(content.get("langs"))), None),
    )


def _read_account(account: Record, did: str | None, at: object) -> Notice | Rejected:
    if did is None:
        return Rejected("no id")
    if account.get("active") is True:
        return Notice("user_undelete", author=did, at=plausible(at))
    kind = _GONE.get(str(account.get("status")))
    return Notice(kind, author=did, at=plausible(at)) if kind else Rejected("not a message")
