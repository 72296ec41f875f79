"""The loop of the connectors, with RSS feeds: what is sent once, what again, and what not at all."""

import json
import threading
import time

import pytest

from data.contracts import Event
from data.errors import StreamError
from serving.streaming.decode import decode
from serving.streaming.feeds import ingest as ingest_module
from serving.streaming.feeds import state as state_module
from serving.streaming.feeds.entries import Entry, Notice, Polled, Round, bounded_id, cut
from serving.streaming.feeds.errors import FeedError
from serving.streaming.feeds.fetching import Fetcher
from serving.streaming.feeds.ingest import CUT, Ingest
from serving.streaming.feeds.rss import RssFeed
from serving.streaming.feeds.state import MAX_EDITS, FeedState
from tests.serving.feed_server import Reply, rss, serving_feeds


class FakeSender:
    """Keeps what it is given; acknowledges at `finish`, all but what `loses` names."""

    def __init__(self, loses: int = 0) -> None:
        self.values: list[bytes] = []
        self.delivered, self.errors, self.loses = 0, {}, loses

    def send(self, event: bytes) -> None:
        self.values.append(event)

    def finish(self, _: float) -> None:
        self.delivered, self.loses = len(self.values) - self.loses, 0

    @property
    def events(self) -> list[Event]:
        return [Event.model_validate_json(value) for value in self.values]

    @property
    def ids(self) -> list[str]:
        return [event.id.rpartition(":")[2] for event in self.events]


class Runner:
    """Runs the loop, each time as a new process would."""

    def __init__(self, server, folder) -> None:
        self.server, self.folder = server, folder
        self.sender, self.stop = FakeSender(), threading.Event()
        self.broken: list[FakeSender] = []
        self.failures: list[tuple[str, StreamError, float | None]] = []
        self.rounds = []

    def feed(self, path="/feed", **how):
        return RssFeed(f"{self.server.url}{path}", Fetcher(self.stop, allow_private=True), **how)

    def run(self, *feeds, once=True, limit=None):
        def failed(*what):
            self.failures.append(what)

        def done(_, totals):
            self.rounds.append(totals)

        def connect():
            return self.broken.pop() if self.broken else self.sender

        loop = Ingest(feeds or [self.feed()], self.folder, connect, self.stop, on_round=done, on_failure=failed)
        return loop.run(once=once, limit=limit)


@pytest.fixture
def runner(tmp_path):
    with serving_feeds() as server:
        yield Runner(server, tmp_path / "feeds")


def test_new_entries_are_sent_oldest_first_and_once(runner):
    runner.server.routes["/feed"] = [
        Reply(rss(("2", "Second", "The news got worse."), ("1", "First", "Good news today."))),
        Reply(rss(("3", "Third", "It is fine."), ("2", "Second", "The news got worse."))),
    ]
    assert runner.run().sent == 2
    assert runner.run().sent == 1
    assert runner.sender.ids == ["1", "2", "3"]
    first = runner.sender.events[0]
    assert (first.text, first.source, first.domain) == ("First\n\nGood news today.", "127.0.0.1", None)


def test_a_changed_entry_replaces_the_version_before(runner):
    replies = [Reply(rss(("1", "Title", text))) for text in ("one", "two", "two", "one", "two")]
    runner.server.routes["/feed"] = replies
    totals = [runner.run() for _ in range(5)]
    assert [(one.sent, one.edits) for one in totals] == [(1, 0), (1, 1), (0, 0), (1, 1), (1, 1)]
    first, *edits = runner.sender.events
    ids = [first.id, *(edit.id for edit in edits)]
    assert [edit.replaces for edit in edits] == [tuple(ids[:number]) for number in (1, 2, 3)]
    assert len(set(ids)) == 4


def test_an_entry_that_changes_at_each_poll_is_left_as_it_is(runner):
    runner.server.routes["/feed"] = [Reply(rss(("1", "Title", f"{count} comments"))) for count in range(MAX_EDITS + 5)]
    assert sum(runner.run().sent for _ in range(MAX_EDITS + 5)) == MAX_EDITS + 1


def test_an_entry_that_left_the_feed_stays_and_is_not_sent_when_it_returns(runner):
    both, one = rss(("1", "A", "a"), ("2", "B", "b")), rss(("2", "B", "b"))
    runner.server.routes["/feed"] = [Reply(both), Reply(one), Reply(both)]
    assert [runner.run().sent for _ in range(3)] == [2, 0, 0]


def test_an_unchanged_feed_is_asked_for_with_etag_and_date(runner):
    def reply(asked):
        if asked.headers.get("if-none-match") == '"v1"' and asked.headers["if-modified-since"] == "Mon, 05 Jan 2026 10:00:00 GMT":
            return Reply(status=304)
        headers = {"ETag": '"v1"', "Last-Modified": "Mon, 05 Jan 2026 10:00:00 GMT"}
        return Reply(rss(("1", "A", "a")), headers=headers)

    runner.server.routes["/feed"] = reply
    assert [runner.run().sent for _ in range(3)] == [1, 0, 0]
    assert ["if-none-match" in asked.headers for asked in runner.server.asked] == [False, True, True]


def test_at_the_limit_the_rest_is_read_at_the_next_start(runner):
    runner.server.routes["/feed"] = Reply(rss(*((str(n), f"T{n}", f"text {n}") for n in range(5))), headers={"ETag": '"v1"'})
    assert runner.run(once=False, limit=2).sent == 2
    assert runner.run(once=False, limit=3).sent == 3
    assert sorted(runner.sender.ids) == ["0", "1", "2", "3", "4"]
    assert all("if-none-match" not in asked.headers for asked in runner.server.asked)


def test_without_an_acknowledgment_the_position_stays_and_all_is_sent_again_as_replacements(runner):
    runner.server.routes["/feed"] = Reply(rss(("1", "A", "a"), ("2", "B", "b")), headers={"ETag": '"v1"'})
    lossy = runner.sender = FakeSender(loses=1)
    assert runner.run().failures == 1
    assert "did not acknowledge 1 of 2" in runner.failures[0][1].message
    runner.sender = FakeSender()
    assert runner.run().edits == 2
    assert [event.replaces for event in runner.sender.events] == [(event.id,) for event in lossy.events]
    assert all("if-none-match" not in asked.headers for asked in runner.server.asked)
    assert runner.run().sent == 0


def test_after_a_failed_send_the_loop_connects_again(runner, monkeypatch):
    monkeypatch.setattr(ingest_module, "FIRST_PAUSE_S", 0.0)
    runner.server.routes["/feed"] = Reply(rss(("1", "A", "a")))
    runner.broken = [FakeSender(loses=1)]
    assert runner.run(once=False, limit=1).sent == 1
    assert len(runner.failures) == 1 and [event.text for event in runner.sender.events] == ["A\n\na"]


def test_with_a_broker_that_fails_each_time_the_versions_stay_bounded(runner, monkeypatch):
    monkeypatch.setattr(state_module, "MAX_VERSIONS", 3)
    runner.server.routes["/feed"] = Reply(rss(("1", "A", "a")))
    sent = []
    for _ in range(6):
        runner.sender = FakeSender(loses=1)
        runner.run()
        sent += runner.sender.events
    assert [len(event.replaces) for event in sent] == [0, 1, 2, 2, 2, 2]
    assert len({event.id for event in sent}) == 3


def test_a_deletion_is_sent_for_each_version(tmp_path):
    class Posts:
        name, label, key, source, domain, interval_s, memory = "fake", "fake", "fake", "s", None, 0.0, 100
        rounds = iter([[Entry("p", "one")], [Entry("p", "two")], [Notice(b'{"delete": {"status": {"id": "p"}}}', "p")]])

        def poll(self, _):
            return Polled(next(self.rounds))

        def reset(self):
            pass

        def close(self):
            pass

    sender, ignore = FakeSender(), lambda *_: None
    for _ in range(3):
        Ingest([Posts()], tmp_path, lambda: sender, threading.Event(), on_round=ignore, on_failure=ignore).run(once=True)
    first, second = (Event.model_validate_json(value) for value in sender.values[:2])
    assert [decode(value).message_id for value in sender.values[2:]] == [first.id, second.id]


def test_two_processes_do_not_read_one_feed(runner):
    runner.server.routes["/feed"] = Reply(rss(("1", "A", "a")))
    state = FeedState(runner.folder, runner.feed())
    with pytest.raises(FeedError, match="Another process reads"):
        runner.run()
    state.close()
    assert runner.run().sent == 1


def test_a_malformed_state_is_an_error_that_names_the_file(runner):
    runner.server.routes["/feed"] = Reply(rss(("1", "A", "a")))
    runner.run()
    (file,) = runner.folder.glob("*.json")
    file.write_text('{"seen": 1}')
    with pytest.raises(FeedError, match=f"Delete .*{file.name}"):
        runner.run()


def test_the_state_has_no_text_and_no_secret(runner):
    runner.server.routes["/feed"] = Reply(rss(("guid-1", "Headline", "Body of it.")))
    runner.run(runner.feed("/feed?token=hidden"))
    (file,) = runner.folder.glob("*.json")
    assert not any(word in file.read_text() for word in ("Headline", "Body", "guid-1", "hidden"))


def test_the_memory_keeps_what_is_still_in_the_feed(runner, monkeypatch):
    monkeypatch.setattr(RssFeed, "memory", 3)
    old = ("old", "Pinned", "always there")
    runner.server.routes["/feed"] = [Reply(rss((str(n), f"T{n}", f"text {n}"), old)) for n in range(8)]
    for _ in range(8):
        runner.run()
    assert runner.sender.ids.count("old") == 1
    (file,) = runner.folder.glob("*.json")
    assert len(json.loads(file.read_text())["seen"]) == 3


def test_entries_without_text_are_counted_once(runner):
    runner.server.routes["/feed"] = Reply(rss(("1", "", "<![CDATA[<img src='a.png'>]]>"), ("2", "B", "b")))
    totals = [runner.run() for _ in range(2)]
    assert [(one.sent, one.reasons["blank text"]) for one in totals] == [(1, 1), (0, 0)]


def test_a_long_text_is_cut_between_words_and_counted(runner):
    runner.server.routes["/feed"] = Reply(rss(("1", "", "word " * 5_000)))
    assert runner.run().reasons[CUT] == 1
    text = runner.sender.events[0].text
    assert 9_990 <= len(text) <= 10_000 and text.endswith("word")


def test_a_text_is_cut_at_a_space_or_where_there_is_none_at_the_limit():
    assert cut("one two three", 20) == "one two three"
    assert cut("a" * 96 + " bcdefgh", 100) == "a" * 96
    assert cut("a" * 100 + " b", 100) == "a" * 100
    assert cut("漢" * 200, 100) == "漢" * 100
    assert cut("a " + "b" * 200, 100) == "a " + "b" * 98
    assert cut(" " * 100 + "b", 100).isspace()


def test_a_long_id_is_hashed_and_stays_unique():
    ids = {bounded_id("rss:host:" + "x" * 500 + str(n)) for n in range(3)}
    assert len(ids) == 3 and all(len(one) <= 240 for one in ids)
    assert bounded_id("short") == "short"


def test_a_date_that_cannot_be_right_is_left_out(runner):
    runner.server.routes["/feed"] = Reply(
        rss(("1", "A", "a</description><pubDate>Fri, 01 Jan 2106 00:00:00 GMT</pubDate><description>"), ("2", "B", "b"))
    )
    runner.run()
    assert [event.created_at for event in runner.sender.events] == [None, None]


def test_a_web_page_ends_the_feed_and_others_continue(runner):
    runner.server.routes["/page"] = Reply("<!doctype html><title>Home</title>", headers={"Content-Type": "text/html"})
    runner.server.routes["/feed"] = Reply(rss(("1", "A", "a")))
    totals = runner.run(runner.feed("/page"), runner.feed(), once=False, limit=1)
    assert (totals.sent, totals.failures) == (1, 1)
    ((label, error, pause_s),) = runner.failures
    assert label.endswith("/page") and "web page and no feed" in error.message and pause_s is None


def test_when_no_feed_is_left_the_loop_ends(runner):
    runner.server.routes["/feed"] = Reply(status=404)
    assert runner.run(once=False).failures == 1


def test_a_feed_that_worked_before_is_tried_again_after_a_web_page_and_not_after_410(runner, monkeypatch):
    monkeypatch.setattr(ingest_module, "FIRST_PAUSE_S", 0.0)
    page = Reply("<html><title>Maintenance</title></html>")
    runner.server.routes["/feed"] = [Reply(rss(("1", "A", "a"))), page, Reply(status=410)]
    runner.run(runner.feed(interval_s=0.0), once=False)
    assert [pause_s for _, _, pause_s in runner.failures] == [0.0, None]


def test_a_failing_feed_is_tried_after_longer_and_longer_pauses_and_not_before_the_server_allows(tmp_path):
    class Down:
        name, label, key, source, domain, interval_s, memory = "fake", "fake", "fake", "s", None, 300.0, 10

        def poll(self, _):
            raise NotImplementedError

        def reset(self):
            pass

        def close(self):
            pass

    pauses, now = [], time.monotonic()
    feed = ingest_module._Feed(Down(), tmp_path)
    for wait_s in (None, None, None, 4_000.0, None):
        pauses.append(feed.failed(wait_s))
    assert pauses == [30, 60, 120, 4_000, 480]
    assert feed.due_at >= now + 480
    feed.succeeded(None)
    assert feed.failed(None) == 30
    feed.close()


@pytest.mark.parametrize(
    ("headers", "extra", "expected"),
    [
        ({}, "", 300),
        ({"Cache-Control": "public, max-age=900"}, "", 900),
        ({"Cache-Control": "max-age=60"}, "", 300),
        ({}, "<ttl>20</ttl>", 1_200),
        ({"Cache-Control": "max-age=31536000"}, "", 3_600),
    ],
)
def test_the_next_poll_is_when_interval_and_server_allow(runner, tmp_path, headers, extra, expected):
    runner.server.routes["/feed"] = Reply(rss(("1", "A", "a"), extra=extra), headers=headers)
    connector = runner.feed()
    feed = ingest_module._Feed(connector, tmp_path)
    before = time.monotonic()
    feed.succeeded(connector.poll(Round({}, lambda _: False, 10, runner.stop)).wait_s)
    assert before + expected <= feed.due_at <= time.monotonic() + expected
    feed.close()


def test_a_stop_during_the_wait_ends_the_loop(runner):
    runner.server.routes["/feed"] = Reply(rss(("1", "A", "a")))
    running = threading.Thread(target=lambda: runner.run(once=False), daemon=True)
    running.start()
    while not runner.rounds and running.is_alive():
        runner.stop.wait(0.01)
    runner.stop.set()
    running.join(60)
    assert not running.is_alive() and runner.failures == []


def test_a_connector_that_brings_more_than_there_is_room_for_is_read_again(tmp_path):
    class Many:
        name, label, key, source, domain, interval_s, memory = "fake", "fake", "fake", "s", "news", 0.0, 100

        def __init__(self):
            self.seen = []

        def poll(self, round):
            self.seen.append(dict(round.position))
            return Polled([Entry(str(n), f"text {n}") for n in range(5)], {"at": 5})

        def reset(self):
            pass

        def close(self):
            pass

    sender, stop, connector = FakeSender(), threading.Event(), Many()
    ignore = lambda *_: None  # noqa: E731
    for limit in (3, 5, None):
        Ingest([connector], tmp_path, lambda: sender, stop, on_round=ignore, on_failure=ignore).run(once=True, limit=limit)
    assert connector.seen == [{}, {}, {"at": 5}]
    assert [event.domain for event in sender.events] == ["news"] * 5
