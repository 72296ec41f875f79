"""Decoding, classifying and the replay: real librdkafka, real chDB, no Kafka."""

import base64
import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.contracts import Event, Prediction
from data.errors import StreamError, WarehouseError
from serving.bundle import BUNDLE_ENV
from serving.classifier import Classifier
from serving.settings import StreamSettings
from serving.streaming import replay
from serving.streaming.decode import dead_letter, decode
from serving.streaming.replay import run_stream
from serving.streaming.worker.batching import micro_batches
from serving.streaming.worker.model import StubModel
from serving.streaming.worker.processing import process_batch
from serving.streaming.worker.worker import Worker
from serving.warehouse.connect import hold
from tests.make import text_of
from tests.models import tiny_bundle

LABELS = ("negative", "neutral", "positive")
NOW_MS = 1_790_000_000_123


def event(n):
    return {"id": f"m{n}", "text": text_of(LABELS[n % 3], n), "source": "test"}


class Message:
    """A message as the consumer returns it."""

    def __init__(self, value, offset=0, partition=0):
        self._value, self._offset, self._partition = value, offset, partition

    def value(self):
        return self._value

    def timestamp(self):
        return 1, NOW_MS

    def topic(self):
        return "t"

    def partition(self):
        return self._partition

    def offset(self):
        return self._offset


def messages(*values):
    return [Message(value if isinstance(value, bytes) else json.dumps(value).encode(), n) for n, value in enumerate(values)]


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    return Classifier(tiny_bundle(tmp_path_factory.mktemp("b") / "bundle"), threads=1)


@given(st.binary(max_size=200))
def test_decode_returns_an_event_or_a_reason_for_any_bytes(value):
    found = decode(value)
    assert isinstance(found, Event) or found
    letter = json.loads(dead_letter(value, reason="x", topic="t", partition=1, offset=2))
    assert base64.b64decode(letter["original_base64"]) == value


def test_reason_names_the_error_of_a_message():
    assert decode(None) == "empty message"
    assert "id" in str(decode(b'{"text": "x"}'))
    assert "text" in str(decode(b'{"id": "1", "text": 5}'))
    assert "blank" in str(decode(json.dumps({**event(1), "text": "\u200b\ufeff"}).encode()))
    assert isinstance(decode(json.dumps(event(1)).encode()), Event)


@given(st.integers(-4_000_000_000, 4_000_000_000))
def test_date_is_compared_with_the_arrival_and_not_with_this_clock(seconds):
    when = datetime.fromtimestamp(0, UTC) + timedelta(seconds=seconds)
    value = json.dumps({**event(1), "created_at": when.isoformat()}).encode()
    found = decode(value, arrived_s=seconds - 10, max_ahead_s=5)
    assert isinstance(found, str), "ahead"
    found = decode(value, arrived_s=seconds + 10**9, max_ahead_s=5)
    assert isinstance(found, Event) == (seconds >= 0)


def test_processed_message_is_a_prediction_of_the_contract_and_a_row_with_its_text(classifier):
    settings = StreamSettings.load()
    batch = process_batch(messages({**event(0), "created_at": "2026-09-01T10:00:00Z"}, b"broken", event(2)), classifier, settings)
    assert [m.offset() for m in batch.origins] == [0, 2] and [m.offset() for m, _ in batch.dead_letters] == [1]
    for encoded, row, label in zip(batch.predictions, batch.rows, ("negative", "positive"), strict=True):
        prediction = Prediction.model_validate_json(encoded)
        assert set(json.loads(encoded)) == set(Prediction.model_fields)
        assert prediction.label == label and prediction.model_version == classifier.name
        assert json.loads(row) == {
            **json.loads(encoded),
            "text": text_of(label, int(prediction.id[1:])),
            "produced_at": NOW_MS / 1000,
        }


def test_only_failing_messages_of_a_batch_become_dead_letters(classifier):
    class Fragile(StubModel):
        name = "fragile"

        def classify_timed(self, texts, tier, *, domains=None):
            if any("guilty" in text for text in texts):
                raise RuntimeError("out of range")
            return classifier.classify_timed(texts, tier, domains=domains)

    events = [event(n) for n in range(50)]
    for n in (3, 4, 31):
        events[n]["text"] = f"guilty {n}"
    batch = process_batch(messages(*events), Fragile(), StreamSettings.load())
    assert sorted(m.offset() for m, _ in batch.dead_letters) == [3, 4, 31]
    assert [m.offset() for m in batch.origins] == [n for n in range(50) if n not in {3, 4, 31}]
    assert [json.loads(p)["label"] for p in batch.predictions] == [LABELS[m.offset() % 3] for m in batch.origins]
    assert all("fragile" in reason and "out of range" in reason for _, reason in batch.dead_letters)


@given(st.lists(st.integers(0, 200_000), max_size=60))
def test_micro_batches_keep_order_and_budget(sizes):
    batches = list(micro_batches([Message(b"x" * size, n) for n, size in enumerate(sizes)], 8_192))
    assert [m.offset() for batch in batches for m in batch] == list(range(len(sizes)))
    for batch in batches:
        assert len(batch) == 1 or sum(len(m.value()) // 4 for m in batch) <= 8_192


@pytest.mark.integration
def test_every_message_is_counted_once_however_often_it_is_replayed(classifier, tmp_path):
    events = [event(n) for n in range(600)] + [b"no json", b'{"id": "x"}']
    for _ in range(2):
        summary = run_stream(events, classifier, tmp_path, run_id="run")
        assert (summary.messages, summary.dead_letters, sum(summary.reasons.values())) == (600, 2, 2)
        assert "text: Field required" in summary.reasons
        assert summary.labels == {"negative": 200, "neutral": 200, "positive": 200}
        assert summary.version == classifier.name
    other = run_stream(events[:30], classifier, tmp_path, run_id="other")
    assert other.messages == 30


@pytest.mark.integration
def test_stalled_worker_is_an_error(classifier, tmp_path, monkeypatch):
    monkeypatch.setattr(replay, "STALL_S", 0.5)
    monkeypatch.setattr(Worker, "run", lambda self, stop: stop.wait())
    with pytest.raises(StreamError, match="committed nothing"):
        run_stream([event(1)], classifier, tmp_path, run_id="r")


def test_a_warehouse_that_cannot_be_opened_is_named(tmp_path):
    (tmp_path / "warehouse").write_text("in the way")
    with pytest.raises(WarehouseError, match="cannot be opened"), hold(tmp_path):
        pass


def test_model_is_reloaded_with_production_and_a_broken_bundle_is_ignored(tmp_path, monkeypatch):
    import threading

    from serving.ledger import append_move
    from serving.streaming.worker import model

    def put_in_production(bundle, directory=None):
        folder = directory or str(bundle.directory.relative_to(tmp_path))
        append_move(tmp_path, {"alias": "production", "to": "1", "bundle": folder})

    monkeypatch.delenv(BUNDLE_ENV, raising=False)
    monkeypatch.setenv("GROUNDSWELL_PATHS__VAR_DIR", str(tmp_path))
    monkeypatch.setattr(model, "LEDGER_POLL_INTERVAL_S", 0.02)
    first = tiny_bundle(tmp_path / "bundles" / "first")
    second = tiny_bundle(tmp_path / "bundles" / "second", strength=3.0)
    put_in_production(first)
    reloading = model.ReloadingModel(tmp_path)
    assert reloading.current.name == first.manifest.version
    stop, changed = threading.Event(), threading.Event()
    monkeypatch.setattr(model.metrics.MODEL, "clear", changed.set)
    thread = threading.Thread(target=reloading.follow, args=(stop,))
    thread.start()
    try:
        (tmp_path / "bundles" / "broken").mkdir()
        put_in_production(first, directory="bundles/broken")
        put_in_production(second)
        assert changed.wait(50) and not stop.wait(0.1)
        assert reloading.current.name == second.manifest.version
    finally:
        stop.set()
        thread.join()
