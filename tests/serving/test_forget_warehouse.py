"""Forgetting messages and authors on chDB: rows, rollups and alerts are as if the messages had never been written."""

import json
import threading
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data.contracts import Alert, Event
from data.errors import WarehouseError
from data.feedback import FeedbackLabel, open_feedback
from data.forgetting import Request
from serving.classifier import Classifier
from serving.settings import StreamSettings
from serving.streaming.alerts.reads import Changes
from serving.streaming.alerts.rows import read_alerts, write_alerts
from serving.streaming.dead_letters import is_forgotten
from serving.streaming.worker import sink as sink_module
from serving.streaming.worker.processing import process_batch
from serving.streaming.worker.sink import Sink
from serving.warehouse import forget
from serving.warehouse.blocks import CHUNK
from serving.warehouse.connect import hold
from serving.warehouse.forget import find_left, find_messages, forget_messages
from serving.warehouse.keys import ForgottenKeys
from serving.warehouse.questions import QUESTIONS, ask
from tests.models import tiny_bundle
from tests.serving.alert_rows import alert_row
from tests.serving.warehouse_rows import NOW, ROLLUPS, counted, in_rollup, row, write

pytestmark = pytest.mark.integration
_numbers = iter(range(1_000_000))


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    with hold(tmp_path_factory.mktemp("var")) as client:
        yield client


@pytest.fixture
def topic(request, client):
    for table in ("predictions", *(f"rollup_{name}" for name in ROLLUPS), "alerts", "forgotten"):
        client.command(f"TRUNCATE TABLE {table}")
    return request.node.name


def message(value, **changes):
    return Request("message", value, **{"requested_at": datetime.now(UTC)} | changes)


def author(value, **changes):
    return Request("author", value, **{"requested_at": datetime.now(UTC)} | changes)


def alert(name, texts):
    return Alert.model_validate(alert_row(name, NOW, texts=texts))


def nonzero(client, topic, name):
    return {key: sums for key, sums in in_rollup(client, topic, name).items() if sums[3]}


def same(client, topic, rows):
    for name, step_s in ROLLUPS.items():
        found, expected = nonzero(client, topic, name), counted(rows, step_s)
        assert found.keys() == expected.keys(), name
        for key, sums in expected.items():
            assert found[key] == pytest.approx(sums, abs=1e-4), (name, key)


def test_forgotten_message_is_gone_from_rows_and_rollups(client, topic):
    rows = [row(topic, 0, n, text=f"text {n}") for n in range(5)] + [row(topic, 1, 0, id="0-2", source="other", text="text 2")]
    write(client, topic, rows)
    assert find_messages(client, [message("0-2")]).texts == {"text 2"}
    assert forget_messages(client, [message("0-2")]) == {"predictions": 2, "alerts": 0}
    same(client, topic, [each for each in rows if each["id"] != "0-2"])
    assert find_left(client, [message("0-2")]) == {}
    assert client.query("SELECT count() FROM predictions WHERE text = 'text 2' OR id = '0-2'").result_rows == [(0,)]
    hidden = "SELECT count() FROM predictions WHERE text = 'text 2' SETTINGS apply_deleted_mask = 0"
    assert client.query(hidden).result_rows == [(0,)]
    assert forget_messages(client, [message("0-2")]) == {"predictions": 0, "alerts": 0}
    same(client, topic, [each for each in rows if each["id"] != "0-2"])


def test_late_and_repeated_copies_do_not_come_back(client, topic):
    rows = [row(topic, 0, n) for n in range(4)]
    write(client, topic, rows)
    forget_messages(client, [message("0-1")])
    again = [each | {"predicted_at": datetime.now(UTC) + timedelta(days=1), "label": "positive"} for each in rows]
    write(client, topic, again)
    same(client, topic, [each for each in again if each["id"] != "0-1"])
    texts = ask(client, "messages", since=NOW - timedelta(hours=1), limit=100)
    assert [each["id"] for each in texts if each["topic"] == topic] == ["0-3", "0-2", "0-0"]


def test_author_is_forgotten_up_to_the_request(client, topic):
    requested = NOW + timedelta(minutes=5)
    rows = [
        row(topic, 0, 0, author_id="77"),
        row(topic, 0, 1, author_id="78"),
        row(topic, 0, 2, author_id="77", created_at=requested + timedelta(minutes=1)),
        row(topic, 0, 3),
    ]
    write(client, topic, rows)
    assert find_messages(client, [author("77", requested_at=requested)]).ids == {"0-0"}
    assert forget_messages(client, [author("77", requested_at=requested)])["predictions"] == 1
    same(client, topic, rows[1:])


def test_message_that_was_alone_in_its_second_leaves_no_bucket(client, topic):
    write(client, topic, [row(topic, 0, 0, source="alone")])
    forget_messages(client, [message("0-0")])
    for question in QUESTIONS:
        found = ask(client, question, since=NOW - timedelta(hours=2), source="alone" if question != "live" else "", limit=10)
        assert found == [] or (question == "distribution" and found[0]["messages"] == 0), question


def test_alerts_read_the_second_again_and_lose_the_text(client, topic):
    write(client, topic, [row(topic, 0, n, source="s", text="shown") for n in range(3)])
    write_alerts(client, [alert("a", texts=("shown", "another")), alert("b", texts=("another",))])
    changes = Changes(0)
    changes.read(client, NOW.timestamp() + 60)
    changes.seen()
    assert forget_messages(client, [message("0-0")], ["shown"]) == {"predictions": 1, "alerts": 1}
    (read,) = changes.read(client, NOW.timestamp() + 60).values()
    assert read[:, 1].tolist() == [2]
    assert {each.id: each.texts for each in read_alerts(client, NOW - timedelta(days=1))} == {
        "a": ("another",),
        "b": ("another",),
    }


def test_call_that_was_killed_before_the_recount_is_finished_by_the_next(client, topic, monkeypatch):
    rows = [row(topic, 0, n) for n in range(3)]
    write(client, topic, rows)
    asked = [message("0-1")]

    def killed(*_):
        raise WarehouseError("killed")

    with monkeypatch.context() as patch, pytest.raises(WarehouseError):
        patch.setattr(forget, "refresh_rollups", killed)
        forget_messages(client, asked)
    assert sum(sums[3] for sums in in_rollup(client, topic, "hour").values()) == 3
    forget_messages(client, asked)
    same(client, topic, [rows[0], rows[2]])


def test_recount_that_began_before_the_message_was_forgotten_does_not_win(client, topic):
    rows = [row(topic, 0, n) for n in range(3)]
    write(client, topic, rows)
    forget_messages(client, [message("0-1")])
    # A worker's recount from before, which is written after it.
    columns = "bucket, source, topic, partition, chunk, negative, neutral, positive, messages, score, score_squared, seen"
    client.command(
        f"INSERT INTO rollup_second ({columns}) SELECT {{at:UInt32}}, 'shop', {{topic:String}}, 0, 0, 3, 0, 0, 3, -1.8, 1.08, 3",
        parameters={"at": int(NOW.timestamp()), "topic": topic},
    )
    same(client, topic, [rows[0], rows[2]])


def test_many_long_ids_fit_into_the_statements(client, topic):
    ids = [f"{n:0>256}" for n in range(200)]
    write(client, topic, [row(topic, 0, n, id=identity) for n, identity in enumerate(ids)])
    assert forget_messages(client, [message(identity) for identity in ids], ["x" * 9_000])["predictions"] == 200
    assert find_left(client, [message(identity) for identity in ids]) == {}


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_order_of_writing_and_forgetting_gives_the_rows_that_are_left(client, data):
    topic = f"any-{next(_numbers)}"
    places = data.draw(st.lists(st.sampled_from([0, 1, 2, CHUNK - 1, CHUNK, CHUNK + 1]), min_size=1, max_size=6, unique=True))
    rows = {n: row(topic, 0, n, id=f"{topic}-{n % 3}", text="y", created_at=NOW - timedelta(seconds=n % 2)) for n in places}
    forgotten = set()
    for _ in range(data.draw(st.integers(1, 6))):
        if data.draw(st.booleans()):
            part = data.draw(st.lists(st.sampled_from(places), min_size=1))
            # A worker leaves out what it knows to be forgotten; offsets that were written before may come again.
            write(client, topic, [rows[n] for n in part if rows[n]["id"] not in forgotten or n in written_before(client, topic)])
        else:
            identity = data.draw(st.sampled_from([each["id"] for each in rows.values()]))
            forget_messages(client, [message(identity)])
            forgotten.add(identity)
    written = written_before(client, topic)
    same(client, topic, [each for n, each in rows.items() if n in written and each["id"] not in forgotten])


def written_before(client, topic):
    found = client.query("SELECT DISTINCT offset FROM predictions WHERE topic = {topic:String}", parameters={"topic": topic})
    return {row[0] for row in found.result_rows}


def event(identity, author=None, at=None, replaces=()):
    return Event(id=identity, text="x", source="s", author_id=author, created_at=at, replaces=replaces)


class Arrived:
    """A message on the topic."""

    def __init__(self, topic, offset):
        self.topic, self.partition, self.offset, self.key = lambda: topic, lambda: 0, lambda: offset, lambda: b"k"
        self.value = lambda: json.dumps({"id": str(offset), "text": "a text", "source": "s"}).encode()
        self.timestamp = lambda: (1, round(NOW.timestamp() * 1000))


def test_every_block_that_was_classified_before_the_keys_were_read_is_cleared(client, topic, tmp_path):
    settings, keys = StreamSettings.load(topic=topic), ForgottenKeys()
    model = Classifier(tiny_bundle(tmp_path / "bundle"), threads=1)
    sink = Sink(settings, tmp_path, "one", threading.Event(), lambda _: None, keys)
    sink._warehouse = client

    def write(block):
        sink.insert(block)
        sink._count(block)  # without the topics

    blocks = [process_batch([Arrived(topic, 2 * n), Arrived(topic, 2 * n + 1)], model, settings, keys) for n in range(3)]
    forget_messages(client, [message("0"), message("2"), message("5")])
    for number, block in enumerate(blocks):
        if number == 1:  # the warehouse fails once, after it has written the block and the keys were read
            with patch.object(sink_module, "leave_out", side_effect=WarehouseError("away")), pytest.raises(WarehouseError):
                write(block)
            sink._warehouse = client
        write(block)
    left = client.query(
        "SELECT id FROM predictions FINAL WHERE topic = {topic:String} AND NOT forgotten ORDER BY id", parameters={"topic": topic}
    )
    assert left.result_rows == [("1",), ("3",), ("4",)]
    open_feedback(tmp_path).add(FeedbackLabel("a text", "negative", by="desk 4"))
    copy = process_batch([Arrived(topic, 0)], model, settings, keys)
    assert copy.rows == [] and [event.id for event in copy.left_out] == ["0"]
    write(copy)  # the text was unknown when the notice came
    assert open_feedback(tmp_path).is_empty()


@pytest.mark.parametrize("failing", ["refresh_rollups", "follow_notices", None])
def test_rows_that_wait_for_a_recount_through_an_outage_are_new_for_the_alerts(client, topic, tmp_path, failing, monkeypatch):
    model = Classifier(tiny_bundle(tmp_path / "bundle"), threads=1)
    sink = Sink(StreamSettings.load(topic=topic), tmp_path, "one", threading.Event(), lambda _: None)
    monkeypatch.setattr(sink_module, "connect", lambda *_, **__: nullcontext(client))
    block = process_batch([Arrived(topic, 0), Arrived(topic, 1)], model, StreamSettings.load(topic=topic))
    sink.insert(block)
    written = "SELECT min(written_at) FROM predictions FINAL WHERE topic = {topic:String}"
    before = client.query(written, parameters={"topic": topic}).result_rows
    if failing:
        works, outcomes = getattr(sink_module, failing), iter([WarehouseError("away")])

        def fail_once(*given):
            for error in outcomes:
                raise error
            works(*given)

        monkeypatch.setattr(sink_module, failing, fail_once)
    sink._in_warehouse(lambda: sink._count(block))
    after = client.query(written, parameters={"topic": topic}).result_rows
    assert (after > before) is (failing is not None), "inserted again after a failure only"
    assert sum(sums[3] for sums in in_rollup(client, topic, "hour").values()) == 2


def test_keys_cover_messages_and_authors_up_to_their_time(client, topic):
    keys, now = ForgottenKeys(), NOW.timestamp()
    keys.read(client)
    assert keys.version == 0 and not keys.cover(event("1", "77"), now)
    forget_messages(client, [message("1"), author("77", requested_at=NOW), Request("edit", "5", "edit")])
    keys.read(client)
    keys.read(client)
    assert keys.version == 1
    later = NOW + timedelta(seconds=1)
    assert keys.cover(event("1"), now) and keys.cover(event("2", replaces=("1",)), now)
    assert keys.cover(event("2", "77", NOW), now + 60) and keys.cover(event("2", "77"), now)
    assert not keys.cover(event("2", "77", later), now) and not keys.cover(event("2", "78", NOW), now)
    assert keys.cover(event("5"), now) and not keys.cover(event("6", replaces=("5",)), now)
    assert is_forgotten(b'{"id": "1", "text": 5}', keys) and not is_forgotten(b'{"id": "2", "text": "1"}', keys)
    assert is_forgotten(b'{"data": {"id": "1", "text": ""}}', keys) and not is_forgotten(b"\xff 1", keys)
    stored = client.query("SELECT key FROM forgotten").result_rows
    assert all(len(key) == 64 for (key,) in stored)
