"""A day of 20,000 raw records in every shape, row by row: the reader, the stream's decoder, and the stream up to the warehouse.

The lakehouse reads the same day in tests/serving/test_lakehouse.py.
"""

import json
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from data.tweets import Notice, Rejected, Tweet, pages, parse, read
from serving.classifier import Classifier
from serving.streaming.decode import decode
from serving.streaming.producer import file_events
from serving.streaming.replay import run_stream
from serving.warehouse.connect import connect
from serving.warehouse.forget import count_notices
from tests.cases.mixed_day import FILES, Content, Line, messages, reference, write_day, write_files
from tests.models import tiny_bundle

COUNT = 20_000
BY_TEXT_OR_ARRIVAL = {"blank text", "null bytes", "text too long", "created_at in the future"}
"""Reasons that the reader of records leaves to the others."""
STREAM_WORDS = {
    "Invalid JSON": "not json",
    "Input should be an object": "not json",
    "Input should be a valid string, unable to parse raw data": "not json",
    "text is blank": "blank text",
    "null bytes": "null bytes",
    "text has": "text too long",
    "after its arrival": "created_at in the future",
    "is in the future": "created_at in the future",
    "created_at before": "created_at before 1970",  # a summary writes N for numbers
}


@pytest.fixture(scope="module")
def day() -> list[Line]:
    return write_day(COUNT)


def test_the_day_has_all_shapes_and_each_message_ends_in_one_place(day):
    assert len(day) == COUNT
    for is_lakehouse in (True, False):
        outcome = reference(day, is_lakehouse=is_lakehouse)
        assert outcome.rows.total() + outcome.reasons.total() == len(list(messages(day)))
    notices = sum(bool(one.notice) for one in messages(day))
    edits = sum(bool(one.replaces or one.edited_at) for one in messages(day))
    assert (notices, edits) == (COUNT // 100, COUNT // 50)


def as_read(one: Content) -> Tweet | Notice | Rejected:
    """Return what the reader should find, without the times of notices."""
    if one.reason:
        return Rejected(one.reason)
    if one.notice:
        return Notice(one.notice, one.id, one.author)  # type: ignore[arg-type]
    assert one.id
    return Tweet(one.id, one.text, one.author, one.at, one.edited_at, is_share=one.is_share, replaces=one.replaces)


def plain(found: Tweet | Notice | Rejected, one: Content) -> Tweet | Notice | Rejected:
    """Return what was found without what the day does not note."""
    if isinstance(found, Tweet):
        return replace(found, lang=None, source=None)
    if isinstance(found, Notice):
        return Notice(found.kind, found.message_id, found.author if one.author else None)
    return Rejected(found.reason)


def test_the_reader_finds_every_message_as_it_was_written(day):
    for line, held in day:
        record = parse(line)
        found = read(record) if isinstance(record, dict) else [record or Rejected("blank")]
        assert len(found) == len(held), line
        for one, content in zip(found, held, strict=True):
            assert content.reason in BY_TEXT_OR_ARRIVAL or plain(one, content) == as_read(content), line


def stream_reason(reason: str) -> str:
    return next((ours for words, ours in STREAM_WORDS.items() if words in reason), reason)


def test_the_streams_decoder_finds_the_same(day):
    for line, held in day:
        record = parse(line)
        parts = [json.dumps(part).encode() for part in pages(record)] if isinstance(record, dict) and len(held) > 1 else [line]
        for part, content in zip(parts, held, strict=True):
            found = decode(part, arrived_s=datetime.now(UTC).timestamp())
            if isinstance(found, str):
                assert stream_reason(found) == content.reason, part
            elif isinstance(found, Notice):
                assert found.kind == content.notice, part
            else:
                row = (found.id, found.text, found.author_id, found.is_share, found.replaces, found.created_at)
                assert row == (content.id, content.text, content.author, content.is_share, content.replaces, content.at), part


@pytest.mark.integration
@pytest.mark.parametrize("count", [2_000, pytest.param(COUNT, marks=pytest.mark.soak)])
def test_the_stream_fills_the_warehouse_with_the_rows_of_the_day(tmp_path, count):
    day = write_day(count)
    write_files(tmp_path / "raw", day, datetime.now(UTC))
    events = (value for number in range(FILES) for value in file_events(tmp_path / "raw" / f"{number}.jsonl"))
    summary = run_stream(events, Classifier(tiny_bundle(tmp_path / "tiny"), threads=1), tmp_path / "var", run_id="day")
    expected = reference(day, is_lakehouse=False)
    reasons: Counter[str] = Counter()
    for reason, letters in summary.reasons.items():
        reasons[stream_reason(reason)] += letters
    assert reasons == {one.reason: expected.reasons[one.reason] for one in messages(day) if one.reason}
    with connect(tmp_path / "var") as client:
        kept = "SELECT id, text, author_id, is_share FROM predictions FINAL WHERE NOT forgotten"
        assert Counter(client.query(kept).result_rows) == expected.rows
        notices = {name.removeprefix("notice: "): n for name, n in expected.reasons.items() if name.startswith("notice: ")}
        assert count_notices(client) == notices
        # What is removed, or replaced by an edit, has no content left.
        assert client.query("SELECT count() FROM predictions FINAL WHERE forgotten AND (id != '' OR text != '')").result_rows == [
            (0,)
        ]
        (opinions, shares) = client.query("SELECT sum(messages), sum(shares) FROM rollup_hour FINAL").result_rows[0]
        assert shares == sum(count for row, count in expected.rows.items() if row[3])
        assert opinions + shares == expected.rows.total()
