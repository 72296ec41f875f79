"""Tweets in the forms of Twitter/X: API v1.1, archives, scrapers, API v2, Gnip activity streams; and plain records."""

from collections.abc import Mapping

from data.tweets.fields import client, items, last_part, longest, mapping, maybe_id, tweet, without_retweet
from data.tweets.notices import read_notice
from data.tweets.types import Json, Notice, Record, Rejected, Tweet

_LONG = frozenset({"note_tweet", "legacy", "extended_tweet", "rawContent", "renderedContent", "fullText", "tweet"})
_SHARED = frozenset({"retweeted_status", "retweeted_status_result", "retweetedTweet", "referenced_tweets"})
_EDITS = frozenset({"edit_history_tweet_ids", "edit_history", "edit_info", "edit_control", "replaces"})


def read_v1(record: Record, *, archived: bool = False) -> Tweet | Rejected:
    """Read a tweet of API v1.1 or a plain record.

    Of a plain record the fields are `id`, `text`, and if known `source`, `created_at`, `lang`, `author_id`, `label`, and those of
    an event: `replaces`, `is_share`.

    Args:
        record: The tweet.
        archived: It is from an account's own archive, where a retweet may be cut within its first letters.
    """
    legacy = mapping(record.get("legacy"))  # as the website's own API has it: the id and the long text stay outside
    fields = {**legacy, **record} if legacy else record
    user = mapping(fields.get("user"))
    text, is_share = _shared_text(fields)
    own_text = _text_v1(fields)
    shared = without_retweet(own_text) if own_text is not None else None
    if text is None:
        text, is_share = own_text, is_share or shared is not None or (archived and (own_text or "").startswith("RT @"))
    elif shared is not None and len(shared) > len(text):
        text = shared  # the original is cut, and the retweet is not
    return tweet(
        (fields.get("id_str"), fields.get("rest_id"), fields.get("id")),
        text,
        created=_created(fields),
        edited=(fields.get("edited_at"), fields.get("updated_at")),
        author=(
            *(user.get("id_str"), user.get("id")),
            *(fields.get("user_id_str"), fields.get("user_id"), fields.get("author_id"), mapping(fields.get("author")).get("id")),
        ),
        lang=fields.get("lang") or fields.get("language"),
        source=fields.get("sourceLabel") or fields.get("source"),
        is_share=is_share or fields.get("is_share") is True,
        history=_history(fields),
        stated_label=fields.get("label"),
    )


def _shared_text(fields: Record) -> tuple[str | None, bool]:
    """Return the text of the retweeted tweet, where the record has it, and whether the record is a retweet."""
    if _SHARED.isdisjoint(fields):
        return None, False
    inlined = [mapping(one) for one in items(fields.get("referenced_tweets")) if mapping(one).get("type") == "retweeted"]
    website = mapping(mapping(fields.get("retweeted_status_result")).get("result"))
    # The last ones are where a tool, such as twarc, put the tweet into the list of references.
    places = [mapping(fields.get("retweeted_status")), website, mapping(fields.get("retweetedTweet")), *inlined]
    text = next((text for place in places if (text := _text_v1(place)) is not None), None)
    return text, any(places)


def _created(fields: Record) -> object:
    scraped = fields.get("date") if "rawContent" in fields or "renderedContent" in fields else fields.get("createdAt")
    return fields.get("created_at") or fields.get("timestamp_ms") or scraped


def _text_v1(record: Record) -> str | None:
    """Return the longest text of a tweet, whose long form may be in one of several places."""
    if _LONG.isdisjoint(record):
        return longest(record.get("full_text"), record.get("text"))
    found = mapping(record.get("note_tweet"))
    result = mapping(mapping(found.get("note_tweet_results")).get("result"))
    return longest(
        *(mapping(record.get("legacy")).get("full_text"), record.get("full_text"), record.get("text")),
        mapping(record.get("extended_tweet")).get("full_text"),
        *(found.get("text"), result.get("text"), record.get("rawContent"), record.get("fullText"), record.get("tweet")),
        record.get("content") if "renderedContent" in record else None,
    )


def _history(record: Record) -> Json:
    """Return the ids of all edits, oldest first, from any of the places where they are written."""
    if _EDITS.isdisjoint(record):
        return None
    if ids := record.get("edit_history_tweet_ids") or items(record.get("replaces")):
        return ids
    edits = mapping(record.get("edit_history"))
    if ids := items(edits.get("edit_tweet_ids")) or items(edits.get("editTweetIds")):
        return ids
    control = mapping(record.get("edit_control"))
    if ids := items(control.get("edit_tweet_ids")) or items(mapping(control.get("edit_control_initial")).get("edit_tweet_ids")):
        return ids
    info = mapping(record.get("edit_info"))
    edit = mapping(info.get("edit"))
    known = items(mapping(info.get("initial")).get("editTweetIds"))
    return known or items(mapping(edit.get("editControlInitial")).get("editTweetIds")) or [edit.get("initialTweetId")]


def read_v2(record: Record) -> list[Tweet | Notice | Rejected]:
    """Read a response of API v2: `data` is one tweet or a list of them, and `includes` has the tweets that they refer to.

    A list may hold notices too.
    """
    data: Json = record.get("data")
    included = [mapping(one) for one in items(mapping(record.get("includes")).get("tweets"))]
    originals = {found: one for one in included if (found := maybe_id(one.get("id")))}
    if not isinstance(data, list):
        return [_read_v2(data, originals)]
    return [(read_notice({"data": one}) if isinstance(one, dict) else None) or _read_v2(one, originals) for one in data]


def alone(one: Json, includes: Record) -> Record:
    """Return one tweet of a page as a response of its own, with the included tweets that it refers to."""
    wanted = {maybe_id(mapping(found).get("id")) for found in items(mapping(one).get("referenced_tweets"))}
    tweets = [found for found in items(includes.get("tweets")) if maybe_id(mapping(found).get("id")) in wanted - {None}]
    return {"data": [one], "includes": {"tweets": tweets}} if tweets else {"data": [one]}


def _read_v2(one: Json, originals: Mapping[str, Record]) -> Tweet | Rejected:
    fields = mapping(one)
    references = [mapping(found) for found in items(fields.get("referenced_tweets"))]
    names = [maybe_id(found.get("id")) or "" for found in references if found.get("type") == "retweeted"]
    original = next((originals[name] for name in names if name in originals), None)
    if original is None:
        return read_v1(fields)
    text = {name: original.get(name) for name in ("text", "full_text", "note_tweet", "extended_tweet")}
    return read_v1({**fields, "retweeted_status": text})


def read_activity(record: Record) -> Tweet | Rejected:
    """Read an activity of Gnip: `body` and `long_object`; of a share (`verb: share`) those of its object."""
    inner = mapping(record.get("object"))
    is_share = record.get("verb") == "share"
    source = inner if is_share and _text_of_activity(inner) is not None else record
    actor = mapping(record.get("actor"))
    return tweet(
        (last_part(record.get("id")),),
        _text_of_activity(source),
        created=record.get("postedTime"),
        edited=(record.get("updated"),),
        author=(last_part(actor.get("id")),),
        lang=record.get("twitter_lang") or mapping(record.get("twitter")).get("lang"),
        source=client(mapping(record.get("generator")).get("displayName")),
        is_share=is_share,
        history=_history(record),
    )


def _text_of_activity(activity: Record) -> str | None:
    inner = mapping(activity.get("object"))
    return longest(activity.get("body"), mapping(activity.get("long_object")).get("body"), inner.get("body"))
