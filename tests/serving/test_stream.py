"""Events through the broker, the worker and the warehouse: real librdkafka, real chDB."""

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.contracts import Event
from data.errors import StreamError, WarehouseError
from serving.classifier import Classifier
from serving.streaming import replay
from serving.streaming.broker import DEAD_LETTERS, PREDICTIONS, QUIET, in_process_broker
from serving.streaming.decode import dead_letter, decode
from serving.streaming.replay import run_stream
from serving.streaming.worker import Worker
from serving.warehouse.store import label_counts, open_warehouse
from tests.make import text_of
from tests.models import tiny_bundle

LABELS = ("negative", "neutral", "positive")


def event(n):
    return {"id": f"m{n}", "text": text_of(LABELS[n % 3], n), "source": "test"}


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    return Classifier(tiny_bundle(tmp_path_factory.mktemp("b") / "bundle"), threads=1)


@given(st.binary(max_size=200))
def test_whatever_the_bytes_an_event_or_a_reason(value):
    found = decode(value)
    assert isinstance(found, Event) or found
    letter = json.loads(dead_letter(value, reason="x", topic="t", partition=1, offset=2))
    assert base64.b64decode(letter["original_base64"]) == value


def test_what_is_wrong_with_a_message_is_named():
    assert decode(None) == "empty message"
    assert "id" in str(decode(b'{"text": "x"}'))
    assert "text" in str(decode(b'{"id": "1", "text": 5}'))
    assert isinstance(decode(json.dumps(event(1)).encode()), Event)


@pytest.mark.integration
def test_every_message_is_counted_once_however_often_it_is_replayed(classifier, tmp_path):
    events = [event(n) for n in range(600)] + [b"no json", b'{"id": "x"}']
    for _ in range(2):
        summary = run_stream(events, classifier, tmp_path / "warehouse", run_id="run")
        assert (summary.messages, summary.dead_letters) == (600, 2)
        assert summary.labels == {"negative": 200, "neutral": 200, "positive": 200}
        assert summary.version == classifier.name and summary.p50_ms <= summary.p95_ms
    other = run_stream(events[:30], classifier, tmp_path / "warehouse", run_id="other")
    assert other.messages == 30


def consume(bootstrap, topic, count):
    from confluent_kafka import Consumer

    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": topic, "auto.offset.reset": "earliest", **QUIET})
    consumer.subscribe([topic])
    found = []
    while len(found) < count:
        got = consumer.consume(count, 10)
        assert got, f"{len(found)} of {count} messages in {topic}"
        found += [message for message in got if message.error() is None]
    consumer.close()
    return found


@pytest.mark.integration
def test_a_worker_that_dies_before_its_commit_loses_and_doubles_nothing(classifier, tmp_path):
    from confluent_kafka import Producer

    class Dies(Worker):
        def _produce(self, topic, key, value):
            raise RuntimeError("killed after the warehouse has the batch")

    from serving.settings import StreamSettings

    settings = StreamSettings.load(batch_messages=50)
    with in_process_broker() as bootstrap, open_warehouse(tmp_path / "w") as client:
        producer = Producer({"bootstrap.servers": bootstrap, **QUIET})
        for n in range(90):
            producer.produce("t", json.dumps(event(n)).encode())
        producer.produce("t", b"broken")
        assert producer.flush(10) == 0
        first = Dies(bootstrap, "t", classifier, client, settings)
        with pytest.raises(RuntimeError):
            while True:
                first.step()
        first.close()
        second = Worker(bootstrap, "t", classifier, client, settings)
        done = 0
        while done < 91:
            done += second.step()
        second.close()
        assert label_counts(client, "t") == {"negative": 30, "neutral": 30, "positive": 30}
        predictions = [json.loads(message.value()) for message in consume(bootstrap, PREDICTIONS, 90)]
        assert {p["id"] for p in predictions} == {f"m{n}" for n in range(90)}
        letter = json.loads(consume(bootstrap, DEAD_LETTERS, 1)[0].value())
        assert base64.b64decode(letter["original_base64"]) == b"broken" and letter["topic"] == "t"


@pytest.mark.integration
def test_a_stalled_worker_is_an_error_and_not_a_wait_for_ever(classifier, tmp_path, monkeypatch):
    monkeypatch.setattr(replay, "STALL_S", 0.5)
    monkeypatch.setattr(Worker, "step", lambda self: 0)
    with pytest.raises(StreamError, match="got nothing"):
        run_stream([event(1)], classifier, tmp_path / "w", run_id="r")


def test_a_warehouse_that_cannot_be_opened_is_named(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(WarehouseError, match="cannot be opened"), open_warehouse(tmp_path / "file"):
        pass
