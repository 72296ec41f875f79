"""The reader of raw records: every shape, and any JSON object."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.times import misdated
from data.tweets import Notice, Rejected, Tweet, pages, parse, read, rows

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
NAMES = st.sampled_from(
    [
        "id",
        "id_str",
        "text",
        "full_text",
        "user",
        "data",
        "includes",
        "tweets",
        "tweet",
        "note_tweet",
        "extended_tweet",
        "retweeted_status",
        "quoted_status",
        "legacy",
        "referenced_tweets",
        "edit_history_tweet_ids",
        "edit_info",
        "delete",
        "status",
        "scrub_geo",
        "withheld",
        "user_delete",
        "event_at",
        "body",
        "actor",
        "verb",
        "object",
        "objectType",
        "long_object",
        "content",
        "account",
        "reblog",
        "event",
        "payload",
        "did",
        "commit",
        "operation",
        "collection",
        "post",
        "posts",
        "feed",
        "uri",
        "record",
        "reason",
        "created_at",
        "edited_at",
        "timestamp_ms",
        "source",
        "lang",
        "label",
        "meta",
        "type",
        "fullText",
        "renderedContent",
        "tweet_create_events",
        "tweet_delete_events",
        "tweet_results",
        "result",
        "edit_control",
    ]
)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES | st.text(max_size=5), inner, max_size=6),
    max_leaves=25,
)
RECORDS = st.dictionaries(NAMES, JSON, max_size=8)


@given(RECORDS)
def test_any_json_object_gives_messages_that_can_be_stored(record):
    found = read(record)
    assert found
    for one in found:
        for value in (getattr(one, name) for name in one.__slots__):
            if isinstance(value, str):
                value.encode()
        if isinstance(one, Tweet):
            assert one.message_id and one.message_id not in one.replaces
            assert all(at is None or misdated(at) is None for at in (one.created_at, one.edited_at))
        if isinstance(one, Notice):
            assert one.message_id or one.author
        if isinstance(one, Rejected):
            assert one.reason


@given(
    st.binary()
    | st.text().map(lambda text: text.encode("utf-8", "surrogatepass"))
    | RECORDS.map(lambda r: json.dumps(r).encode())
)
def test_any_line_is_a_record_or_blank_or_rejected(line):
    found = parse(line)
    assert found is None or isinstance(found, dict | Rejected)


@given(RECORDS)
def test_a_record_survives_writing_and_parsing(record):
    assert repr(parse(json.dumps(record))) == repr(json.loads(json.dumps(record)))


POST = "app.bsky.feed.post"
LONG = "the lounge was lovely " * 15 + "but the flight was awful 😡 #fail @harbourair"


@st.composite
def shapes(draw):
    """Return a record of a shape, and the id and text that it carries."""
    identity = str(draw(st.integers(1, 2**63 - 1)))
    text = draw(st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
    short = text[:20] + "…"
    user = {"id_str": "7"}
    old = {"id_str": identity, "text": short, "user": user}
    new = {"id": identity, "author_id": "7", "text": short}
    both = draw(st.booleans())
    whole = {"note_tweet": {"text": short + text}} if both else {"text": short + text}
    retweet = {**new, "referenced_tweets": [{"type": "retweeted", "id": "1"}]}
    activity = {"id": f"tag:search.twitter.com,2005:{identity}", "objectType": "activity", "actor": {"id": "id:twitter.com:7"}}
    kinds = [
        ({**old, "text": short + text}, False),
        ({**old, "full_text": short + text}, False),
        ({**old, "fullText": short + text}, False),
        ({"id": identity, "user": user, "content": short + text, "renderedContent": short}, False),
        ({"id": identity, "user_id": 7, "tweet": short + text}, False),
        ({"tweet_results": {"result": {"rest_id": identity, "legacy": {"full_text": short + text, "user_id_str": "7"}}}}, False),
        ({"tweet_create_events": [{**old, "text": short + text}]}, False),
        ({**old, "truncated": True, "extended_tweet": {"full_text": short + text}}, False),
        ({**old, "text": f"RT @anna: {short + text}"}, True),
        ({**old, "retweeted_status": {"id": 1, **whole}}, True),
        ({**old, "text": f"RT @anna: {short + text}", "retweeted_status": {"id": 1, "text": short[:9]}}, True),
        ({**old, "retweeted_status": {"id": 1, "text": "x", "extended_tweet": {"full_text": short + text}}}, True),
        ({**old, "text": short + text, "quoted_status": {"id": 1, "text": LONG * 3}}, False),
        ({"tweet": {**old, "full_text": short + text}}, short.startswith("RT @")),
        ({"rest_id": identity, "legacy": {"full_text": short + text, "user_id_str": "7"}}, False),
        ({**new, **whole}, False),
        ({"data": {**new, **whole}, "includes": {"tweets": [{"id": "1", "text": LONG * 3}]}}, False),
        ({"data": [{**new, **whole}], "meta": {"result_count": 1}}, False),
        ({"data": [retweet], "includes": {"tweets": [{"id": "1", **whole}]}}, True),
        ({**retweet, "referenced_tweets": [{"type": "retweeted", "id": "1", **whole}], "__twarc": {}}, True),
        ({**activity, "verb": "post", "body": short, "long_object": {"body": short + text}}, False),
        ({**activity, "verb": "share", "body": short, "object": {"body": "x", "long_object": {"body": short + text}}}, True),
    ]
    record, is_share = draw(st.sampled_from(kinds))
    return record, identity, short + text, is_share


@given(shapes())
def test_each_shape_keeps_id_whole_text_author_and_share(shape):
    record, identity, text, is_share = shape
    if "retweeted_status" not in record and str(record.get("text")).startswith("RT @anna: "):
        text = record["text"]
    assert read(parse(json.dumps(record))) == [Tweet(identity, text, "7", is_share=is_share)]


@pytest.mark.parametrize(
    ("record", "notice"),
    [
        ({"delete": {"status": {"id": 5, "user_id": 7}, "timestamp_ms": "1696970000000"}}, Notice("delete", "5", "7")),
        ({"status_withheld": {"id": 5, "user_id": 7, "withheld_in_countries": ["DE"]}}, Notice("withheld", "5", "7")),
        ({"scrub_geo": {"user_id_str": "7", "up_to_status_id_str": "9"}}, Notice("scrub_geo", None, "7", "9")),
        ({"user_delete": {"id": 7, "timestamp_ms": "1"}}, Notice("user_delete", None, "7")),
        ({"user_withheld": {"id": 7, "withheld_in_countries": ["DE"]}}, Notice("user_withheld", None, "7")),
        ({"data": {"tweet": {"id": "5", "author_id": "7"}, "event_at": "2023-10-11T00:00:00Z"}}, Notice("delete", "5", "7")),
        (
            {"data": {"delete": {"event_at": "2023-10-11T00:00:00Z", "tweet": {"id": "5", "author_id": "7"}}}},
            Notice("delete", "5", "7"),
        ),
        ({"data": {"withheld": {"tweet": {"id": "5"}, "withheld_in_countries": []}}}, Notice("withheld", "5")),
        ({"data": {"user_suspend": {"user": {"id": "7"}, "event_at": "2023"}}}, Notice("user_suspend", None, "7")),
        ({"data": {"scrub_geo": {"user": {"id": "7"}, "up_to_tweet_id": "9"}}}, Notice("scrub_geo", None, "7", "9")),
        ({"id": "5", "action": "delete", "created_at": "2023-01-01", "reason": "deleted"}, Notice("delete", "5")),
        ({"id": "7", "action": "delete", "reason": "deactivated"}, Notice("user_delete", None, "7")),
        (
            {"verb": "delete", "object": {"id": "tag:search.twitter.com,2005:5"}, "actor": {"id": "id:twitter.com:7"}},
            Notice("delete", "5", "7"),
        ),
        ({"tweet_delete_events": [{"status": {"id": "5", "user_id": "7"}}]}, Notice("delete", "5", "7")),
        ({"data": [{"delete": {"tweet": {"id": "5", "author_id": "7"}}}]}, Notice("delete", "5", "7")),
        ({"event": "delete", "payload": 5}, Notice("delete", "5")),
        ({"tweet": {"id_str": "5", "full_text": "x", "deleted_at": "2023-10-11"}}, Notice("delete", "5")),
        ({"event": "delete", "payload": "5"}, Notice("delete", "5")),
        (
            {"did": "did:plc:7", "commit": {"operation": "delete", "collection": POST, "rkey": "5"}},
            Notice("delete", "at://did:plc:7/app.bsky.feed.post/5", "did:plc:7"),
        ),
        ({"did": "did:plc:7", "account": {"active": False, "status": "deleted"}}, Notice("user_delete", None, "did:plc:7")),
    ],
)
def test_notice_names_what_it_concerns(record, notice):
    (found,) = read(record)
    assert isinstance(found, Notice)
    assert (found.kind, found.message_id, found.author, found.up_to_id) == (
        notice.kind,
        notice.message_id,
        notice.author,
        notice.up_to_id,
    )


def test_tweets_that_speak_of_deletion_are_tweets():
    assert isinstance(read({"id": "1", "text": "x", "delete": {"status": {"id": 2}}})[0], Tweet)
    assert isinstance(read({"data": {"id": "1", "text": "x", "withheld": {"country_codes": ["DE"]}}})[0], Tweet)


def test_page_gives_each_tweet_and_each_that_cannot_be_read():
    page = {
        "data": [{"id": "1", "text": "a"}, {"text": "b"}, 7, {"id": "3"}, {"id": "4", "text": "d"}],
        "meta": {"result_count": 5},
    }
    assert read(page) == [
        Tweet("1", "a"),
        Rejected("no id"),
        Rejected("no id"),
        Rejected("no text", "3"),
        Tweet("4", "d"),
    ]
    assert read({"meta": {"result_count": 0}}) == [Rejected("not a message")]
    assert read({"limit": {"track": 5}}) == [Rejected("not a message")]


@pytest.mark.parametrize(
    "record",
    [
        {"tweet_id": "0", "body": "Great crew", "mood": "positive"},
        {"id": 1, "post": "Great crew", "label": "positive"},
        {"text": "Great crew", "label": "positive"},
        {"delete": {"status": {"id": 5}}},
        {},
    ],
)
def test_record_that_is_no_raw_tweet_stays_a_row_as_it_is(record):
    assert rows(record) == [record] and pages(record) == [record]


@given(RECORDS)
def test_rows_and_pages_never_raise_and_lose_no_message(record):
    assert rows(record)
    split = pages(record)
    if len(split) > 1:
        assert [one for part in split for one in read(part)] == read(record)


def test_label_of_a_plain_record_is_read_in_any_case():
    (found,) = read({"id": "1", "text": "x", "label": " Positive"})
    assert isinstance(found, Tweet) and found.label == "positive"
    (found,) = read({"id": "1", "text": "x", "label": 4})
    assert isinstance(found, Tweet) and found.label is None


def test_mastodon_statuses_are_read_without_markup():
    account = {"id": "7", "acct": "someone@example.org"}
    content = (
        '<p>I &lt;3 this <a href="https://m.example/tags/bus" class="hashtag">#<span>bus</span></a><br>Really.</p><p>Go!</p>'
    )
    status = {
        "id": "5",
        "uri": "https://m.example/5",
        "created_at": "2023-10-10T20:19:24.000Z",
        "content": content,
        "account": account,
    }
    (found,) = read({**status, "language": "en", "application": {"name": "Web"}, "edited_at": "2023-10-11T00:00:00.000Z"})
    assert isinstance(found, Tweet)
    assert (found.text, found.author, found.lang, found.source) == ("I <3 this #bus\nReally.\nGo!", "7", "en", "Web")
    assert found.edited_at is not None
    (shared,) = read({**status, "id": "6", "content": "", "reblog": {**status, "account": {"id": "8"}}})
    assert isinstance(shared, Tweet) and shared.is_share and shared.text == found.text and shared.author == "7"
    assert read({"stream": ["public"], "event": "update", "payload": json.dumps(status)}) == read(status)


@pytest.mark.parametrize(
    "content", ["<" * 100_000, "<a " * 30_000, "<!--" * 25_000, "&#" + "9" * 5_000 + ";", "<p>" * 30_000, "&" * 100_000]
)
def test_hostile_markup_is_read_in_one_pass(content):
    (found,) = read({"id": "5", "content": content, "account": {"id": "7"}, "application": {"name": content}})
    assert isinstance(found, Tweet)
    assert read({"id": "1", "text": "x", "source": f"<{content}"})


def test_bluesky_posts_reposts_and_events_are_read():
    post = {"$type": "app.bsky.feed.post", "text": "lovely bus", "createdAt": "2023-10-10T20:19:24Z", "langs": ["en"]}
    view = {"uri": "at://did:plc:7/app.bsky.feed.post/5", "cid": "x", "author": {"did": "did:plc:7"}, "record": post}
    (found,) = read(view)
    assert isinstance(found, Tweet) and (found.message_id, found.text, found.author) == (view["uri"], "lovely bus", "did:plc:7")
    assert read({"post": view}) == [found] == read({"feed": [{"post": view}]}) == read({"posts": [view]})
    repost = {"post": view, "reason": {"$type": "app.bsky.feed.defs#reasonRepost", "by": {"did": "did:plc:8"}}}
    (shared,) = read(repost)
    assert isinstance(shared, Tweet) and shared.is_share and shared.author == "did:plc:8" and shared.message_id != view["uri"]
    commit = {"operation": "create", "collection": POST, "rkey": "5", "record": post}
    assert read({"did": "did:plc:7", "time_us": 1_700_000_000_000_000, "kind": "commit", "commit": commit}) == [found]
    like = {"operation": "create", "collection": "app.bsky.feed.like", "rkey": "5", "record": {}}
    assert read({"did": "did:plc:7", "kind": "commit", "commit": like}) == [Rejected("not a message")]


@pytest.mark.parametrize(
    ("fields", "replaces"),
    [
        ({"edit_history_tweet_ids": ["1", "2", "3"]}, ("1", "2")),
        ({"edit_history": {"initial_tweet_id": "1", "edit_tweet_ids": ["1", "3"]}}, ("1",)),
        ({"edit_info": {"edit": {"initialTweetId": "1", "editControlInitial": {"editTweetIds": ["1", "2", "3"]}}}}, ("1", "2")),
        ({"edit_info": {"initial": {"editTweetIds": ["3"]}}}, ()),
        ({"edit_history_tweet_ids": ["3", "4"]}, ()),
        ({"edit_history_tweet_ids": ["3", "20", "1"]}, ("1",)),
        ({"edit_control": {"edit_control_initial": {"edit_tweet_ids": ["1", "3"]}}}, ("1",)),
    ],
)
def test_edit_names_what_it_replaces(fields, replaces):
    (found,) = read({"id": "3", "text": "x", **fields})
    assert isinstance(found, Tweet) and found.replaces == replaces
    assert found.first_id == (replaces[0] if replaces else "3")


@pytest.mark.parametrize(
    ("ids", "read_as"),
    [
        ({"id": 123456789012345678}, "123456789012345678"),
        ({"id": 1.23456789012345e17}, None),
        ({"id": "1.23456789012345E+17"}, None),
        ({"id": "123456789012345680.0"}, None),
        ({"id": 1.23456789012345e17, "id_str": "123456789012345678"}, "123456789012345678"),
        ({"id": 18.0}, "18"),
        ({"id": "2e10"}, "2e10"),
    ],
)
def test_id_that_lost_its_digits_is_rejected_by_name(ids, read_as):
    (found,) = read({**ids, "text": "x"})
    assert found == (Tweet(read_as, "x") if read_as else Rejected("id is a float"))


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ('<a href="http://twitter.com/download/iphone" rel="nofollow">Twitter for iPhone</a>', "Twitter for iPhone"),
        ("<a href='x'>Bob &amp; Co</a>", "Bob & Co"),
        ("", None),
        ("support", "support"),
        ("&lt;a href=&quot;http://x&quot;&gt;Web App&lt;/a&gt;", "Web App"),
        ("a < b", "a < b"),
    ],
)
def test_source_is_the_name_of_the_client(source, name):
    (found,) = read({"id": "1", "text": "x", "source": source})
    assert isinstance(found, Tweet) and found.source == name


@pytest.mark.parametrize("line", ["", "  ", "\r\n", "\ufeff", b"\xef\xbb\xbf\n"])
def test_blank_line_is_no_record(line):
    assert parse(line) is None


def test_what_hurts_one_field_costs_that_field_alone():
    assert parse(b'\xef\xbb\xbf{"id": "1"}') == {"id": "1"}
    record = parse('{"id": "1", "text": "good \\ud83d", "score": NaN, "other": -Infinity, "user": {"name": "Al\\udc00"}}')
    assert isinstance(record, dict) and read(record) == [Tweet("1", "good ")]
    halved = parse('{"id": "1", "text": "good \ud83d"}'.encode("utf-8", "surrogatepass"))
    assert isinstance(halved, dict) and read(halved) == [Tweet("1", "good ")]
    long = parse('{"id": "1", "text": "x", "score": ' + "7" * 5000 + "}")
    assert isinstance(long, dict) and read(long) == [Tweet("1", "x")]


@pytest.mark.parametrize(
    "line", ["[1]", "{", '{"id": 1} {"id": 2}', "null", b'{"city": "Orl\xe9ans"}', "[" * 100_000, '{"a":' * 100_000]
)
def test_anything_but_one_object_is_not_json(line):
    assert parse(line) == Rejected("not json")


@pytest.mark.parametrize(
    "record",
    [
        {"limit": {"track": 5}},
        {"data": None, "errors": [{"title": "Not Found"}]},
        {"data": [], "meta": {"result_count": 0}},
        {"meta": {"result_count": 0}},
        {"errors": [{"title": "ConnectionException"}]},
        {"event": "favorite", "source": {"id": 1}, "target_object": {"id": 2, "text": "liked"}},
        {"event": "filters_changed"},
        {"feed": [], "cursor": "x"},
        {"data": {"user_profile_modification": {"user": {"id": "7"}, "event_at": "2023-10-11T00:00:00Z"}}},
    ],
)
def test_what_a_stream_sends_between_messages_is_no_message(record):
    assert read(record) == [Rejected("not a message")]


@pytest.mark.parametrize("edited", [0, "0", 1_696_969_164 / 1000, "2001-01-01"])
def test_change_before_the_creation_does_not_count(edited):
    (found,) = read({"id": "1", "text": "x", "created_at": "2023-10-10T20:19:24Z", "updated_at": edited})
    assert isinstance(found, Tweet) and found.edited_at is None


def test_records_of_a_bluesky_repository_have_their_author_in_the_address():
    value = {"text": "hello sky", "createdAt": "2023-10-10T20:19:24Z", "langs": ["en"]}
    records = [{"uri": f"at://did:plc:7/{POST}/{key}", "cid": "c", "value": value} for key in ("a", "b")]
    page = {"records": records, "cursor": "b"}
    found = [one for part in pages(page) for one in read(part)]
    assert found == read(page) and len(found) == 2
    for one, key in zip(found, "ab", strict=True):
        assert isinstance(one, Tweet) and (one.message_id, one.author) == (f"at://did:plc:7/{POST}/{key}", "did:plc:7")
        assert (one.text, one.lang) == ("hello sky", "en") and one.created_at is not None
