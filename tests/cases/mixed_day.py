"""A day of raw tweets in every shape, with notices, edits, copies and bad records; and what a plain reader makes of them.

The reference does not parse: the writer of a line notes what it holds.
"""

import json
import os
import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import cycle
from pathlib import Path
from typing import Any

POST = "app.bsky.feed.post"
DELETED, EDITED, COPIED, BAD = 0.01, 0.02, 0.02, 0.03
"""Shares of the records."""
FILES = 8


@dataclass(frozen=True)
class Content:
    """One message, notice or bad record of a line."""

    id: str | None = None
    text: str = ""
    author: str | None = None
    at: datetime | None = None
    is_share: bool = False
    replaces: tuple[str, ...] = ()
    edited_at: datetime | None = None
    notice: str = ""
    """Its kind; `id` or `author` is what it concerns."""
    reason: str = ""
    """Why it is rejected."""


Line = tuple[bytes, list[Content]]
Shape = Callable[["Writer", Content], tuple[dict[str, Any], Content]]


def iso(at: datetime) -> str:
    return f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond // 1000:03}Z"


def twitter(at: datetime) -> str:
    return f"{at:%a %b %d %H:%M:%S +0000 %Y}"


def cut(text: str) -> str:
    return text[: len(text) // 2] + "…"


def old(one: Content, **fields: Any) -> dict[str, Any]:
    """Return a tweet of API v1.1; its text is in `fields`."""
    assert one.id and one.at
    return {"id": int(one.id), "id_str": one.id, "created_at": twitter(one.at), "user": {"id_str": one.author}, **fields}


def new(one: Content, **fields: Any) -> dict[str, Any]:
    """Return a tweet of API v2."""
    assert one.at
    return {"id": one.id, "created_at": iso(one.at), "author_id": one.author, "text": one.text, **fields}


def gnip(one: Content, **fields: Any) -> dict[str, Any]:
    assert one.at
    name = {
        "id": f"tag:search.twitter.com,2005:{one.id}",
        "objectType": "activity",
        "actor": {"id": f"id:twitter.com:{one.author}"},
    }
    return {**name, "postedTime": iso(one.at), "verb": "post", "generator": {"displayName": "Web"}, **fields}


def mastodon(one: Content, **fields: Any) -> dict[str, Any]:
    assert one.at
    return {"id": one.id, "created_at": iso(one.at), "account": {"id": one.author}, "content": f"<p>{one.text}</p>", **fields}


def bluesky(one: Content) -> dict[str, Any]:
    assert one.at
    return {"uri": one.id, "author": {"did": one.author}, "record": {"text": one.text, "createdAt": iso(one.at)}}


def retweeted(one: Content, **fields: Any) -> dict[str, Any]:
    original = {"id": 900, "id_str": "900", "user": {"id_str": "78"}, **fields}
    return old(one, text=f"RT @anna: {cut(one.text)}", retweeted_status=original)


def shared_v2(one: Content) -> tuple[dict[str, Any], dict[str, Any]]:
    tweet = new(one, text=f"RT @anna: {cut(one.text)}", referenced_tweets=[{"type": "retweeted", "id": "900"}])
    return tweet, {"id": "900", "author_id": "78", "text": cut(one.text), "note_tweet": {"text": one.text}}


QUOTED = {"id": 900, "id_str": "900", "text": "the words of another author, which are longer than one's own " * 3}
OPINIONS: dict[str, Callable[[Content], dict[str, Any]]] = {
    "v1.1 text": lambda one: old(one, text=one.text),
    "v1.1 full_text": lambda one: old(one, full_text=one.text, text=cut(one.text)),
    "v1.1 extended": lambda one: old(one, text=cut(one.text), truncated=True, extended_tweet={"full_text": one.text}),
    "v1.1 quote": lambda one: old(one, text=one.text, quoted_status=QUOTED, is_quote_status=True),
    "v2": lambda one: new(one, edit_history_tweet_ids=[one.id]),
    "v2 wrapped": lambda one: {"data": new(one), "matching_rules": [{"id": "1"}]},
    "v2 long": lambda one: {"data": new(one, text=cut(one.text), note_tweet={"text": one.text})},
    "v2 quote": lambda one: {
        "data": new(one, referenced_tweets=[{"type": "quoted", "id": "900"}]),
        "includes": {"tweets": [{"id": "900", "text": QUOTED["text"]}]},
    },
    "archive": lambda one: {"tweet": old(one, full_text=one.text)},
    "website": lambda one: {
        "rest_id": one.id,
        "legacy": {"full_text": one.text, "user_id_str": one.author, "created_at": twitter(one.at)},
    },
    "Gnip": lambda one: gnip(one, body=cut(one.text), long_object={"body": one.text}),
    "Mastodon": mastodon,
    "Mastodon event": lambda one: {"event": "update", "payload": json.dumps(mastodon(one))},
    "plain": lambda one: {
        "id": one.id,
        "text": one.text,
        "source": "support",
        "created_at": one.at.timestamp(),
        "author_id": one.author,
    },
    "snscrape": lambda one: {
        "id": int(one.id or 0),
        "rawContent": one.text,
        "date": iso(one.at),
        "user": {"id": int(one.author or 0)},
    },
    "half an emoji": lambda one: old(
        one, text=f"{one.text}\ud83d", user={"id_str": one.author, "name": "Al\udc00"}, score=float("nan")
    ),
}  # type: ignore[assignment]
SHARES: dict[str, Callable[[Content], dict[str, Any]]] = {
    "v1.1 retweet": lambda one: retweeted(one, full_text=one.text),
    "v1.1 retweet, extended": lambda one: retweeted(
        one, text=cut(one.text), truncated=True, extended_tweet={"full_text": one.text}
    ),
    "v2 retweet": lambda one: {"data": shared_v2(one)[0], "includes": {"tweets": [shared_v2(one)[1]]}},
    "twarc, flat": lambda one: {
        **shared_v2(one)[0],
        "referenced_tweets": [{"type": "retweeted", **shared_v2(one)[1]}],
        "__twarc": {"version": "2"},
    },
    "Gnip share": lambda one: gnip(
        one, verb="share", body="RT", object={"body": cut(one.text), "long_object": {"body": one.text}}
    ),
    "Mastodon reblog": lambda one: {**mastodon(one), "content": "", "reblog": {"id": "900", "content": f"<p>{one.text}</p>"}},
}
NOTICES: dict[str, Callable[[str, datetime], dict[str, Any]]] = {
    "v1.1 delete": lambda name, at: {
        "delete": {"status": {"id": int(name), "id_str": name}, "timestamp_ms": str(round(at.timestamp() * 1e3))}
    },
    "v2 delete": lambda name, at: {"data": {"tweet": {"id": name, "author_id": "7"}, "event_at": iso(at)}},
    "v2 delete, named": lambda name, at: {"data": {"delete": {"tweet": {"id": name}, "event_at": iso(at)}}},
    "v1.1 withheld": lambda name, at: {"status_withheld": {"id": int(name), "user_id": 7, "withheld_in_countries": ["DE"]}},
    "job": lambda name, at: {"id": name, "action": "delete", "created_at": iso(at), "redacted_at": iso(at), "reason": "deleted"},
    "Gnip delete": lambda name, at: {
        "verb": "delete",
        "object": {"id": f"tag:search.twitter.com,2005:{name}"},
        "postedTime": iso(at),
    },
    "Mastodon delete": lambda name, at: {"event": "delete", "payload": name},
    "archive, deleted": lambda name, at: {"tweet": {"id_str": name, "full_text": "gone", "deleted_at": iso(at)}},
}
BADS: list[tuple[str, Callable[[Content], Any]]] = [
    ("not json", lambda one: json.dumps(old(one, text=one.text)).encode()[:-9]),
    ("not json", lambda one: b"503 upstream went away"),
    ("not json", lambda one: [old(one, text=one.text)]),
    ("not json", lambda one: b'{"id": "1", "text": "caf\xe9"}'),
    ("no id", lambda one: {"text": one.text, "user": {"id_str": "7"}, "truncated": False}),
    ("no id", lambda one: {"data": {"text": one.text}}),
    ("id is a float", lambda one: {**old(one, text=one.text), "id": 1.23456789012345e17, "id_str": "1.23E+17"}),
    ("no text", lambda one: {"id_str": one.id, "user": {"id_str": "7"}}),
    ("no text", lambda one: {"data": {"id": one.id, "author_id": "7"}}),
    ("blank text", lambda one: old(one, full_text=" \u200b\n")),
    ("null bytes", lambda one: old(one, text=f"{one.text}\0")),
    ("text too long", lambda one: old(one, full_text=f"{one.text} " * 300)),
    ("created_at unreadable", lambda one: old(one, text=one.text) | {"created_at": "yesterday"}),
    ("created_at before 1970", lambda one: old(one, text=one.text) | {"created_at": "Sun Jul 20 20:17:40 +0000 1969"}),
    ("created_at in the future", lambda one: old(one, text=one.text) | {"created_at": "2099-12-31T23:59:59Z"}),
    ("not a message", lambda one: {"limit": {"track": 5}}),
    ("not a message", lambda one: {"data": [], "meta": {"result_count": 0}}),
]


class Writer:
    """Writes the lines of a day, in order of time."""

    def __init__(self, count: int, start: datetime, seed: int) -> None:
        self.chance = random.Random(seed)
        self.lines: list[Line] = []
        self._count, self._start, self._next = count, start, 1_700_000_000_000_000_000
        self._opinions, self._shares = cycle(OPINIONS.values()), cycle(SHARES.values())
        self._notices, self._bads = cycle(NOTICES.values()), cycle(BADS)
        self._authors = list(range(1000, 1300))

    def run(self) -> list[Line]:
        """Return the lines: all messages first, then what concerns earlier ones is put in at random places."""
        edits, deleted, copied, bad = (round(self._count * share) for share in (EDITED, DELETED, COPIED, BAD))
        while len(self.lines) < self._count - edits - deleted - copied - bad:
            self._add_some()
        plain = [line for line in self.lines if len(line[1]) == 1 and not line[1][0].is_share]
        chosen = self.chance.sample(plain, edits + deleted + copied)
        for line in chosen[:edits]:
            self._put(self._edit(line[1][0]))
        for line in chosen[edits : edits + copied]:
            self._put(line)
        for number, line in enumerate(chosen[edits + copied :]):
            self._put(self._delete(line[1][0], of_author=number % 10 == 0))
        for _ in range(bad):
            reason, make = next(self._bads)
            self._put((_line(make(self._message())), [Content(reason=reason)]))
        return self.lines

    def _add_some(self) -> None:
        kind = self.chance.random()
        if kind < 0.03:
            self.lines.append(self._page())
        elif kind < 0.06:
            self.lines.append(self._bluesky())
        else:
            one = replace(self._message(), is_share=kind < 0.2)
            make = next(self._shares if one.is_share else self._opinions)
            self.lines.append((_line(make(one)), [one]))

    def _message(self) -> Content:
        self._next += self.chance.randrange(1, 10_000_000)
        at = self._start + timedelta(seconds=20 * 3600 * len(self.lines) // self._count)
        mood = self.chance.choice(("so lovely and kind", "an awful wait again", "leaves at noon from gate"))
        return Content(
            str(self._next),
            f"Flight {self._next % 10**9} was {mood} B{len(self.lines)}",
            str(self.chance.choice(self._authors)),
            at,
        )

    def _page(self) -> Line:
        ones = [replace(self._message(), is_share=number == 1) for number in range(3)]
        tweet, original = shared_v2(ones[1])
        data = [new(ones[0]), tweet, new(ones[2]), {"text": "nothing to call it by"}]
        return _line({"data": data, "includes": {"tweets": [original]}, "meta": {"result_count": 4}}), [
            *ones,
            Content(reason="no id"),
        ]

    def _bluesky(self) -> Line:
        one, key = self._message(), self._next
        one = replace(one, id=f"at://did:plc:{one.author}/{POST}/{key}", author=f"did:plc:{one.author}")
        assert one.at
        if key % 3 == 0:
            return _line({"post": bluesky(one)}), [one]
        if key % 3 == 1:
            reason = {"$type": "app.bsky.feed.defs#reasonRepost", "by": {"did": "did:plc:9"}, "indexedAt": iso(one.at)}
            share = replace(one, id=f"{one.id}#repost-did:plc:9", author="did:plc:9", is_share=True)
            return _line({"post": bluesky(one), "reason": reason}), [share]
        commit = {
            "operation": "create",
            "collection": POST,
            "rkey": str(key),
            "record": {"text": one.text, "createdAt": iso(one.at)},
        }
        return _line({"did": one.author, "time_us": round(one.at.timestamp() * 1e6), "kind": "commit", "commit": commit}), [one]

    def _edit(self, one: Content) -> Line:
        """Return an edit with an id of its own, as Twitter has it, or with a time, as Mastodon has it."""
        assert one.id and one.at
        changed = replace(one, text=f"Correction: {one.text}")
        kind = self.chance.randrange(4)
        if kind == 0 and not one.id.startswith("at:"):
            changed = replace(changed, edited_at=one.at + timedelta(minutes=30))
            return _line(mastodon(changed, edited_at=iso(changed.edited_at))), [changed]  # type: ignore[arg-type]
        changed = replace(changed, id=str(int(one.id) + 1) if one.id.isdigit() else f"{one.id}e", replaces=(one.id,))
        ids = [one.id, changed.id]
        forms: tuple[dict[str, Any], ...] = (
            {"data": new(changed, edit_history_tweet_ids=ids)},
            new(changed, edit_history_tweet_ids=ids),
            {**new(changed), "edit_history": {"initial_tweet_id": one.id, "edit_tweet_ids": ids}},
        )
        return _line(forms[kind - 1]), [changed]

    def _delete(self, one: Content, *, of_author: bool) -> Line:
        assert one.id and one.at and one.author
        at = one.at + timedelta(hours=1)
        if of_author and one.author.isdigit():
            return _line({"data": {"user_delete": {"user": {"id": one.author}, "event_at": iso(at)}}}), [
                Content(author=one.author, at=at, notice="user_delete")
            ]
        if not one.id.isdigit():
            return _line({"event": "delete", "payload": one.id}), [Content(one.id, notice="delete")]
        record = next(self._notices)(one.id, at)
        return _line(record), [Content(one.id, notice="withheld" if "status_withheld" in record else "delete")]

    def _put(self, line: Line) -> None:
        self.lines.insert(self.chance.randrange(len(self.lines) + 1), line)


def _line(record: Any) -> bytes:
    return record if isinstance(record, bytes) else json.dumps(record).encode()


def write_day(count: int, *, start: datetime | None = None, seed: int = 16) -> list[Line]:
    """Return the lines of a day that ends now, each with what it holds."""
    start = start or datetime.now(UTC).replace(microsecond=0) - timedelta(hours=24)
    return Writer(count, start, seed).run()


def write_files(folder: Path, day: list[Line], arrived: datetime) -> None:
    """Write a day to files, with a blank keep-alive line after each hundredth line."""
    folder.mkdir(parents=True)
    for number in range(FILES):
        part = day[number * len(day) // FILES : (number + 1) * len(day) // FILES]
        content = b"".join(line + (b"\n\r\n" if place % 100 == 0 else b"\n") for place, (line, _) in enumerate(part))
        path = folder / f"{number}.jsonl"
        path.write_bytes(content)
        at = (arrived + timedelta(seconds=number)).timestamp()
        os.utime(path, (at, at))


@dataclass(frozen=True)
class Outcome:
    """Where each message, notice and bad record of a day is in the end: in exactly one of these."""

    rows: Counter[tuple[Any, ...]]
    """Number of rows by id, text, author and whether it is a share."""
    reasons: Counter[str]
    """All others by reason."""


def messages(day: list[Line]) -> Iterator[Content]:
    return (one for _, held in day for one in held)


def reference(day: list[Line], *, is_lakehouse: bool) -> Outcome:
    """Settle a day in plain Python; the stream keeps copies and corrections of the same id, the lakehouse only the last."""
    content = list(messages(day))
    gone = {one.id: one.notice for one in content if one.notice and one.id}
    gone_authors = {}
    for one in content:
        if one.notice and not one.id and one.at:
            gone_authors[one.author] = max(one.at, gone_authors.get(one.author, one.at))
    replaced = {name for one in content for name in one.replaces}
    reasons: Counter[str] = Counter()
    kept: list[Content] = []
    for one in content:
        if one.notice or one.reason:
            reasons[f"notice: {one.notice}" if one.notice else one.reason] += 1
            continue
        found = next((gone[name] for name in (one.id, *one.replaces) if name in gone), None)
        if found is None and one.author in gone_authors and one.at and one.at <= gone_authors[one.author]:
            found = "user_delete"
        if found:
            reasons[f"forgotten: {found}"] += 1
        elif not is_lakehouse and one.id in replaced:
            reasons["replaced"] += 1
        else:
            kept.append(one)
    if is_lakehouse:
        kept = _last_copies(kept, reasons)
    return Outcome(Counter((one.id, one.text, one.author, one.is_share) for one in kept), reasons)


def _last_copies(kept: list[Content], reasons: Counter[str]) -> list[Content]:
    by_first: dict[str | None, list[Content]] = {}
    for one in kept:
        by_first.setdefault(one.replaces[0] if one.replaces else one.id, []).append(one)
    last = []
    for copies in by_first.values():
        best = max(copies, key=lambda one: (len(one.replaces), one.edited_at or one.at))
        last.append(best)
        different = sum(one != best for one in copies)
        reasons["superseded"] += different
        reasons["duplicate"] += len(copies) - 1 - different
    return last
