"""EDGAR, Mastodon and Bluesky, each against a server that speaks its interface on 127.0.0.1."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import pytest
from websockets.sync.server import serve

from data.errors import SettingsError
from serving.streaming.decode import decode
from serving.streaming.feeds import bluesky as bluesky_module
from serving.streaming.feeds import edgar as edgar_module
from serving.streaming.feeds.bluesky import BlueskyPosts
from serving.streaming.feeds.edgar import EdgarFilings, filing_text, require_contact
from serving.streaming.feeds.entries import Entry, Notice, Round
from serving.streaming.feeds.errors import FeedError, FeedUnavailable
from serving.streaming.feeds.fetching import Fetcher
from serving.streaming.feeds.mastodon import MastodonTimeline
from tests.serving.feed_server import Reply, serving_feeds


@pytest.fixture
def server():
    with serving_feeds() as one:
        yield one


def fetcher(**how):
    return Fetcher(threading.Event(), allow_private=True, **how)


def round_(position=None, known=(), room=1_000):
    return Round(position or {}, set(known).__contains__, room, threading.Event())


# EDGAR

PRESS = "<DOCUMENT>\n<TYPE>EX-99.1\n<SEQUENCE>2\n<TEXT>\n<html><body><p>Record profit.</p></body></html>\n</TEXT>\n</DOCUMENT>\n"
MAIN = (
    "<DOCUMENT>\n<TYPE>8-K\n<SEQUENCE>1\n<FILENAME>x.htm\n<TEXT>\n<html><body><div style='display:none'>hidden</div>"
    "<p>Item 2.02 Results.</p></body></html>\n</TEXT>\n</DOCUMENT>\n"
)
DATA = "<DOCUMENT>\n<TYPE>4\n<TEXT>\n<XML>\n<ownership/>\n</XML>\n</TEXT>\n</DOCUMENT>\n"


def accession(number):
    return f"0000000001-26-{number:06}"


def filed(number, form="8-K", company="Example Corp", cik=320):
    folder = accession(number).replace("-", "")
    return (
        f"<entry><title>{form} - {company} ({cik:010}) (Filer)</title>"
        f'<link href="https://www.sec.gov/Archives/edgar/data/{cik}/{folder}/{accession(number)}-index.htm"/>'
        f"<updated>2026-01-05T16:30:00-05:00</updated><category term='{form}' label='form type'/>"
        f"<id>urn:tag:sec.gov,2008:accession-number={accession(number)}</id></entry>"
    )


def latest(*entries):
    return Reply(f'<?xml version="1.0"?><feed xmlns="http://www.w3.org/2005/Atom"><title>Latest</title>{"".join(entries)}</feed>')


def filing_path(number, cik=320):
    return f"/Archives/edgar/data/{cik}/{accession(number).replace('-', '')}/{accession(number)}.txt"


def edgar(server, forms=("8-K",), cik=None):
    return EdgarFilings(fetcher(contact="ops@paper.example"), forms, cik, www=server.url, data=server.url)


def test_the_latest_filings_are_read_each_with_its_press_release(server):
    server.routes["/cgi-bin/browse-edgar"] = latest(filed(2), filed(2, cik=77), filed(1), filed(3, form="8-K12B"))
    server.routes[filing_path(1)] = Reply(MAIN)
    server.routes[filing_path(2)] = Reply(MAIN + PRESS)
    entries = edgar(server).poll(round_()).items
    assert [(entry.id, entry.text) for entry in entries] == [
        (f"edgar:{accession(1)}", "8-K Example Corp\n\nItem 2.02 Results."),
        (f"edgar:{accession(2)}", "8-K Example Corp\n\nRecord profit."),
    ]
    assert entries[0].created_at == datetime(2026, 1, 5, 21, 30, tzinfo=UTC)
    assert all(asked.headers["user-agent"].endswith("ops@paper.example") for asked in server.asked)


def test_known_filings_are_not_requested(server):
    server.routes["/cgi-bin/browse-edgar"] = latest(filed(2), filed(1))
    server.routes[filing_path(2)] = Reply(MAIN)
    (entry,) = edgar(server).poll(round_(known={f"edgar:{accession(1)}"})).items
    assert entry.id == f"edgar:{accession(2)}"
    assert filing_path(1) not in server.paths()


def test_the_filings_of_a_company_are_read(server):
    recent = {
        "accessionNumber": [accession(3), accession(2), "nonsense", accession(1)],
        "form": ["4", "10-Q/A", "10-Q", "10-Q"],
        "acceptanceDateTime": ["2026-01-07T10:00:00.000Z", "2026-01-06T10:00:00.000Z", None, "2026-01-05T10:00:00.000Z"],
    }
    found = {"cik": "0000000320", "name": "Example Corp", "filings": {"recent": recent}}
    server.routes["/submissions/CIK0000000320.json"] = Reply(json.dumps(found))
    for number in (1, 2):
        server.routes[filing_path(number)] = Reply(MAIN)
    entries = edgar(server, ("10-Q", "10-K"), cik=320).poll(round_()).items
    assert [entry.id for entry in entries] == [f"edgar:{accession(1)}", f"edgar:{accession(2)}"]
    assert entries[1].text.startswith("10-Q/A Example Corp")


def test_a_filing_that_is_gone_or_has_no_prose_is_remembered_with_the_reason(server):
    server.routes["/cgi-bin/browse-edgar"] = latest(filed(2, form="4"), filed(1, form="4"))
    server.routes[filing_path(2)] = Reply(DATA)
    entries = edgar(server, ("4",)).poll(round_()).items
    assert [entry.reason for entry in entries] == ["filing not readable (HTTP 404)", "filing without prose"]


def test_a_filing_that_fails_at_the_moment_is_read_at_the_next_poll(server):
    server.routes["/cgi-bin/browse-edgar"] = latest(filed(2), filed(1))
    server.routes[filing_path(1)] = Reply(status=503)
    server.routes[filing_path(2)] = Reply(MAIN)
    polled = edgar(server).poll(round_())
    assert [entry.id for entry in polled.items] == [f"edgar:{accession(2)}"]
    assert polled.rejected["filing not readable at the moment"] == 1


def test_a_poll_ends_when_edgar_asks_to_wait_or_keeps_failing(server):
    server.routes["/cgi-bin/browse-edgar"] = latest(*(filed(number) for number in range(9, 0, -1)))
    server.routes[filing_path(1)] = Reply(MAIN)
    server.routes[filing_path(2)] = Reply(status=429, headers={"Retry-After": "60"})
    polled = edgar(server).poll(round_())
    assert ([entry.id for entry in polled.items], polled.wait_s) == ([f"edgar:{accession(1)}"], 60)
    for number in range(1, 10):
        server.routes[filing_path(number)] = Reply(status=500)
    server.asked.clear()
    assert edgar(server).poll(round_()).items == []
    assert len(server.asked) == 1 + edgar_module.MAX_FAILURES


def test_a_blocked_client_waits_ten_minutes(server):
    server.routes["/cgi-bin/browse-edgar"] = Reply("Undeclared automated tool", status=403)
    with pytest.raises(FeedUnavailable, match="refuses this client") as error:
        edgar(server).poll(round_())
    assert error.value.wait_s == 600


def test_a_list_that_is_none_is_an_error(server):
    server.routes["/submissions/CIK0000000320.json"] = Reply("<html>", headers={"Content-Type": "text/html"})
    with pytest.raises(FeedError, match="has no filings"):
        edgar(server, cik=320).poll(round_())
    server.routes["/cgi-bin/browse-edgar"] = Reply("<html><title>Maintenance</title>")
    with pytest.raises(FeedError, match="Maintenance"):
        edgar(server).poll(round_())


@pytest.mark.parametrize("contact", [None, "", "me", "a@b", "you@example.org\r\nX: y", "y\u00f6u@example.org"])
def test_without_a_contact_edgar_is_refused(contact):
    with pytest.raises(SettingsError, match="--contact"):
        require_contact(contact)


def test_a_contact_may_have_a_name():
    assert require_contact("Example Corp you@example.org") == "Example Corp you@example.org"


def test_the_text_of_a_filing_that_is_cut_or_plain():
    assert filing_text("<DOCUMENT>\n<TYPE>8-K\n<TEXT>\n  Plain   words\n\n of it") == "Plain words\n\nof it"
    assert filing_text(MAIN + DATA) == "Item 2.02 Results."
    assert filing_text("") == filing_text(DATA) == filing_text("<DOCUMENT>") == ""


# Mastodon


def status(number, text="Hello", **more):
    return {
        "id": str(number),
        "uri": f"https://home.example/statuses/{number}",
        "content": f"<p>{text}</p>",
        "created_at": "2026-01-05T10:00:00.000Z",
        "language": "en",
        "account": {"id": "7", "uri": "https://home.example/users/ann"},
        **more,
    }


class Instance:
    """A timeline that grows."""

    def __init__(self, server, path="/api/v1/timelines/public"):
        self.statuses, self.headers = [], {}
        server.routes[path] = self.reply

    def reply(self, asked):
        query = parse_qs(urlsplit(asked.path).query)
        limit = int(query["limit"][0])
        if after := query.get("min_id"):
            found = [one for one in self.statuses if int(one["id"]) > int(after[0])][:limit]
        else:
            found = self.statuses[-limit:]
        return Reply(json.dumps(found[::-1]), headers={"Content-Type": "application/json", **self.headers})


def test_a_timeline_is_read_without_gaps(server):
    instance, timeline = Instance(server), MastodonTimeline(server.url, fetcher())
    instance.statuses = [status(number) for number in range(90, 150)]
    first = timeline.poll(round_())
    assert [entry.id.rpartition("/")[2] for entry in first.items] == [str(n) for n in range(110, 150)]
    instance.statuses += [status(number) for number in range(150, 250)]
    second = timeline.poll(round_(first.position))
    assert [entry.id.rpartition("/")[2] for entry in second.items] == [str(n) for n in range(150, 250)]
    assert second.position == {"id": "249"}
    third = timeline.poll(round_(second.position))
    assert (third.items, third.position) == ([], {"id": "249"})


def test_a_status_becomes_an_entry_with_global_ids(server):
    instance = Instance(server, "/api/v1/timelines/tag/caf%C3%A9")
    instance.statuses = [status(1, "Good<br>day"), status(2, "", media_attachments=[{}]), {"id": None, "content": "x"}]
    polled = MastodonTimeline(server.url, fetcher(), tag="#caf\u00e9", domain="tweets").poll(round_())
    first = polled.items[0] if polled.items[0].text else polled.items[1]
    assert isinstance(first, Entry)
    assert (first.id, first.author_id) == ("https://home.example/statuses/1", "https://home.example/users/ann")
    assert (first.text, first.lang, first.is_share) == ("Good\nday", "en", False)
    assert polled.rejected == {"no id": 1}


def test_a_used_up_rate_limit_ends_the_poll_until_it_is_renewed(server):
    instance = Instance(server)
    instance.statuses = [status(number) for number in range(100, 200)]
    reset = datetime.now(UTC) + timedelta(days=3650)  # far away, so that no slow machine gets there
    instance.headers = {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": reset.isoformat().replace("+00:00", "Z")}
    polled = MastodonTimeline(server.url, fetcher()).poll(round_({"id": "99"}))
    assert len(polled.items) == 40 and polled.wait_s is not None and polled.wait_s > 86_400


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (Reply("{}", status=422), "without an account"),
        (Reply("<html>", headers={"Content-Type": "text/html"}), "no timeline of Mastodon.\n.*text/html"),
        (Reply('{"error": "x"}'), "no timeline of Mastodon"),
        (Reply(status=404), "HTTP 404"),
    ],
)
def test_an_instance_without_the_timeline_is_an_error(server, reply, error):
    server.routes["/api/v1/timelines/public"] = reply
    with pytest.raises(FeedError, match=error):
        MastodonTimeline(server.url, fetcher()).poll(round_())


# Bluesky


def post(number, operation="create", text="Hello", **commit):
    record = {"record": {"text": text, "createdAt": "2026-01-05T10:00:00.000Z", "langs": ["en"]}} if operation != "delete" else {}
    found = {"operation": operation, "collection": "app.bsky.feed.post", "rkey": f"r{number}", **record, **commit}
    return json.dumps({"did": "did:plc:ann", "time_us": 1_000_000_000 + number, "kind": "commit", "commit": found})


@contextmanager
def jetstream(*connections: list[str]) -> Iterator[tuple[str, list[str]]]:
    """Serve each connection its events, then wait for the client, but close the ones before the last."""
    left, asked, over = [*connections], [], threading.Event()

    def handle(connection):
        asked.append(connection.request.path)
        is_last = len(left) == 1
        for event in left[0] if is_last else left.pop(0):
            connection.send(event)
        if is_last:
            over.wait()

    with serve(handle, "127.0.0.1", 0) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"ws://127.0.0.1:{server.socket.getsockname()[1]}/subscribe", asked
        finally:
            over.set()
            server.shutdown()


def bluesky(url):
    return BlueskyPosts(service=url, allow_private=True)


def cursors(asked):
    return [parse_qs(urlsplit(path).query).get("cursor", [None])[0] for path in asked]


def test_posts_and_deletions_are_read_in_order(monkeypatch):
    monkeypatch.setattr(bluesky_module, "ROUND_EVENTS", 5)
    identity = json.dumps({"did": "did:plc:ann", "time_us": 1_000_000_009, "kind": "identity", "identity": {}})
    with jetstream([post(1), post(1, "delete"), "{", identity, post(2, text="")]) as (url, asked):
        feed = bluesky(url)
        polled = feed.poll(round_())
        feed.close()
    first, gone, blank = polled.items
    assert isinstance(first, Entry) and isinstance(gone, Notice) and isinstance(blank, Entry)
    assert (first.id, first.author_id) == ("at://did:plc:ann/app.bsky.feed.post/r1", "did:plc:ann")
    assert decode(gone.value).message_id == first.id
    assert polled.rejected == {"not json": 1}
    assert polled.position == {"time_us": 1_000_000_002}
    assert "wantedCollections=app.bsky.feed.post" in asked[0] and cursors(asked) == [None]


def test_after_a_break_it_is_read_from_a_little_before_the_position():
    with jetstream([post(1)], [post(1), post(2)]) as (url, asked):
        feed = bluesky(url)
        first = feed.poll(round_(room=1))
        with pytest.raises(FeedUnavailable, match="closed the connection"):
            feed.poll(round_(first.position))
        feed.reset()
        second = feed.poll(round_(first.position, room=2))
        feed.close()
    assert [entry.id[-2:] for entry in second.items] == ["r1", "r2"]
    assert cursors(asked) == [None, str(1_000_000_001 - bluesky_module.OVERLAP_US)]


def test_a_quiet_stream_gives_an_empty_round(monkeypatch):
    monkeypatch.setattr(bluesky_module, "ROUND_S", 0.1)
    with jetstream([]) as (url, _):
        feed = bluesky(url)
        assert feed.poll(round_({"time_us": 5})).position == {"time_us": 5}
        feed.close()


def test_what_is_no_jetstream_is_an_error(server):
    server.routes["/subscribe"] = Reply("<html>")
    with pytest.raises(FeedError, match="is no Jetstream"):
        bluesky(server.url.replace("http", "ws") + "/subscribe").poll(round_())


def test_a_jetstream_that_is_overloaded_is_unavailable(server):
    server.routes["/subscribe"] = Reply(status=503, headers={"Retry-After": "9"})
    with pytest.raises(FeedUnavailable, match="not available at the moment") as error:
        bluesky(server.url.replace("http", "ws") + "/subscribe").poll(round_())
    assert error.value.wait_s == 9


def test_a_jetstream_in_the_private_network_is_refused():
    with jetstream([]) as (url, asked), pytest.raises(FeedError, match="private network"):
        BlueskyPosts(service=url).poll(round_())
    assert asked == []


def test_an_event_that_is_too_large_ends_the_connection(monkeypatch):
    monkeypatch.setattr(bluesky_module, "MAX_EVENT_BYTES", 100)
    with jetstream([post(1, text="x" * 1_000)]) as (url, _):
        feed = bluesky(url)
        with pytest.raises(FeedUnavailable, match="closed the connection"):
            feed.poll(round_())
        feed.close()
