"""A new field on the topic stops nothing (getsentry/sentry-kafka-schemas#82, #114, openedx/openedx-events#38)."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.contracts import Event
from data.tweets import Notice, Tweet, read
from serving.streaming.decode import decode
from serving.streaming.worker import metrics

EVENT = {"id": "e1", "text": "Great crew", "source": "web", "created_at": "2023-10-10T20:19:24Z"}
VALUES = st.none() | st.booleans() | st.integers() | st.text() | st.lists(st.integers()) | st.dictionaries(st.text(), st.none())


@given(st.dictionaries(st.text().map(lambda name: f"x{name}"), VALUES, max_size=5))
def test_unknown_fields_change_nothing_of_an_event(more):
    plain, found = decode(json.dumps(EVENT).encode()), decode(json.dumps({**EVENT, **more}).encode())
    assert isinstance(plain, Event) and isinstance(found, Event)
    assert all(getattr(found, name) == getattr(plain, name) for name in Event.model_fields)
    assert set(found.model_extra or {}) == set(more)


def test_ignored_fields_are_counted_by_a_bounded_number_of_names(monkeypatch):
    monkeypatch.setattr(metrics, "_fields", set())

    def count(name):
        return metrics.IGNORED.labels(name)._value.get()

    before = count("retweet_count"), count("other")
    metrics.count_ignored(["retweet_count"])
    metrics.count_ignored([f"field-{number}" for number in range(metrics.MAX_FIELDS + 10)])
    metrics.count_ignored(["retweet_count"])
    assert (count("retweet_count"), count("other")) == (before[0] + 2, before[1] + 11)


@pytest.mark.parametrize(("value", "text"), [(7, "7"), (2**63, str(2**63)), ("07", "07"), (7.0, "7")])
def test_whole_numbers_are_ids(value, text):
    found = decode(json.dumps({**EVENT, "id": value, "author_id": value}).encode())
    assert isinstance(found, Event) and (found.id, found.author_id) == (text, text)


@pytest.mark.parametrize("value", [1.5e17, True, None, [], ""])
def test_what_is_no_id_is_refused_by_name(value):
    assert "id" in str(decode(json.dumps({**EVENT, "id": value}).encode()))


@pytest.mark.parametrize(
    "more",
    [
        b'"lang": NaN',
        b'"lang": 7',
        b'"author_id": NaN',
        b'"author_id": 1.5e17',
        b'"author_id": {}',
        b'"replaces": null',
        b'"replaces": "x"',
        b'"is_share": "yes"',
        b'"is_share": null',
        b'"is_share": false',
        b'"half \\ud83d": 1',
    ],
)
def test_an_optional_field_that_cannot_be_read_costs_itself_alone(more):
    assert isinstance(plain := decode(json.dumps(EVENT).encode()), Event)
    found = decode(json.dumps(EVENT).encode()[:-1] + b", " + more + b"}")
    assert isinstance(found, Event) and all(getattr(found, name) == getattr(plain, name) for name in Event.model_fields)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"source": '<a href="http://x" rel="nofollow">Web App</a>'}, ("Web App", False, ())),
        ({"text": "RT @anna: Great crew"}, ("web", True, ())),
        ({"text": "RT @ it"}, ("web", False, ())),
        ({"is_share": True}, ("web", True, ())),
        ({"replaces": ["e0"]}, ("web", False, ("e0",))),
    ],
)
def test_an_event_is_read_as_the_lakehouse_reads_it(fields, expected):
    (tweet,) = read({**EVENT, **fields})
    for found in (decode(json.dumps({**EVENT, **fields}).encode()), tweet):
        assert isinstance(found, Event | Tweet) and (found.source, found.is_share, found.replaces) == expected


@pytest.mark.parametrize(
    ("record", "found"),
    [
        ({"limit": {"track": 5}}, "not a message"),
        ({"event": "filters_changed"}, "not a message"),
        ({"id": "5", "action": "delete", "created_at": "2023-01-01", "reason": "deleted"}, Notice("delete", "5")),
        ({"deleted": True, "twitter": {"id": "5"}}, Notice("delete", "5")),
    ],
)
def test_notices_and_control_messages_without_a_mark_are_read_as_such(record, found):
    assert decode(json.dumps(record).encode()) == found


def test_twitters_dates_and_naive_times_are_read():
    for written in ("Tue Oct 10 20:19:24 +0000 2023", "2023-10-10T20:19:24", 1_696_969_164):
        assert decode(json.dumps({**EVENT, "created_at": written}).encode()) == decode(json.dumps(EVENT).encode())
