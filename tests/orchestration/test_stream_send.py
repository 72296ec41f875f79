"""The sender: a fixed rate, every message accounted for, a wrong address reported."""

import json

import pytest

from data.contracts import Event
from data.errors import SourceUnavailable, StreamError
from orchestration.steps.events import split_events
from serving.streaming import broker
from serving.streaming import producer as stream_send
from serving.streaming.broker import in_process_broker
from serving.streaming.producer import file_events, send
from tests.make import numbered_events


@pytest.fixture
def config():
    with in_process_broker() as address:  # which makes a topic when it is asked for
        yield {"bootstrap.servers": address, "log_level": 2}


def test_at_a_rate_no_message_goes_before_it_is_due(config, monkeypatch):
    now, taken, reported = 100.0, [], []

    class Clock:
        @staticmethod
        def monotonic():
            nonlocal now
            now += 0.002
            return now

    def events():
        for event in numbered_events(300):
            taken.append(now)
            yield event

    monkeypatch.setattr(stream_send, "time", Clock)
    summary = send(config, "messages", events(), rate=200, total=300, progress=lambda *what: reported.append(what))
    assert (summary.sent, summary.delivered, summary.failed) == (300, 300, 0)
    sent = [*taken[1:], now]  # a message is sent before the next one is taken
    assert all(at >= taken[0] + number / 200 for number, at in enumerate(sent))
    assert reported[-1] == ("300 messages", 1.0)
    assert 0 <= reported[0][1] < 1 and len(reported) > 2


def test_without_a_rate_it_goes_as_fast_as_the_broker_takes_it(config):
    summary = send(config, "messages", numbered_events(20_000))
    assert (summary.sent, summary.delivered, summary.late_s) == (20_000, 20_000, 0.0)


def test_undelivered_messages_are_counted_by_error_name(config):
    summary = send(config, "messages", [b"fits", b"x" * 9_000_000])
    assert (summary.sent, summary.delivered, summary.errors) == (2, 1, {"MSG_SIZE_TOO_LARGE": 1})


def test_an_address_without_a_broker_is_an_error(monkeypatch):
    monkeypatch.setattr(broker, "TIMEOUT_S", 1.5)
    with pytest.raises(StreamError, match=r"The broker at 127\.0\.0\.1:9 does not respond"):
        send({"bootstrap.servers": "127.0.0.1:9", "log_level": 0}, "messages", numbered_events(1))


def test_events_fit_the_contract():
    events = [Event.model_validate_json(value) for value in numbered_events(3, start=5)]
    assert [event.id for event in events] == ["n-5", "n-6", "n-7"]
    assert len({event.text for event in events}) == 3
    assert all(event.created_at for event in events)


def test_lines_of_a_file_are_sent_unchanged(tmp_path):
    file = tmp_path / "events.jsonl"
    file.write_bytes(b'{"id": 1}\r\n\xff not even UTF-8\n\nlast')
    assert list(file_events(file)) == [b'{"id": 1}', b"\xff not even UTF-8", b"last"]
    assert len(list(file_events(file, 2))) == 2
    with pytest.raises(SourceUnavailable, match="no file"):
        file_events(tmp_path / "none")


def test_split_events_repeat_with_other_ids(monkeypatch):
    import pandas as pd

    from orchestration.layout import Layout

    frame = pd.DataFrame({"id": ["a", "b"], "text": ["good", "bad"], "source": ["s", "s"]})
    monkeypatch.setattr("orchestration.steps.events.read_texts", lambda *_: frame)
    monkeypatch.setattr("orchestration.steps.events.ensure_splits", lambda *_: None)
    events = [json.loads(value) for value in split_events(Layout.load(), 5)]
    assert sorted(event["id"] for event in events[:4]) == ["a", "a-1", "b", "b-1"]
    assert len({event["id"] for event in events}) == 5
