"""Raw tweets with faults: the expected result equals that of a reader in plain Python, for any seed."""

import json
import tempfile
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.cleaning import clean
from data.errors import MalformedData
from data.labels import LABELS
from data.raw_tweets import BETWEEN_FILES, FEWEST, REASONS, SPAN, write_raw_tweets

START = datetime(2026, 3, 1, 21, 0, 0, tzinfo=UTC)
TEXTS = [
    ("the crew was lovely 🎂 and so was the café", "positive"),
    ("two hours late, and no reason given @user https://example.org/a", "negative"),
    ("the train leaves at noon\nfrom the harbour\u2028platform 2", "neutral"),
    ("“never again”, he wrote; I agree \\o/", "negative"),
]


def write(folder, **kwargs):
    return write_raw_tweets(folder, TEXTS, start=START, **kwargs)


def when(value):
    """Parse a time in any of the formats; return it with the format's name, None if it is not a time."""
    if isinstance(value, int) or value.isdigit():
        name, unit = ("milliseconds", 1e3) if int(value) > 1e11 else ("seconds", 1)
        return datetime.fromtimestamp(0, UTC) + timedelta(seconds=int(value) / unit), f"{name}, {type(value).__name__}"
    for name, parse in (
        ("twitter", lambda: datetime.strptime(value, "%a %b %d %H:%M:%S %z %Y")),
        ("iso", lambda: datetime.fromisoformat(value)),
    ):
        try:
            return parse().astimezone(UTC), name
        except ValueError:
            continue
    return None, "none"


def fault(record, arrived):
    """Return why a record is rejected; None if it is accepted."""
    text = record.get("full_text", record.get("text"))
    if record.get("id_str") is None and record.get("id") is None:
        return "no id"
    if text is None:
        return "no text"
    if "\0" in text:
        return "null bytes"
    if len(text) > 10_000:
        return "text too long"
    if not clean(text):
        return "blank text"
    at, _ = when(record["created_at"])
    if at is None:
        return "created_at unreadable"
    if at.year < 1970:
        return "created_at before 1970"
    return "created_at in the future" if at > arrived + timedelta(minutes=5) else None


def read(folder):
    """Read the files like a lakehouse: number of lines, rejects by reason, and the winner of each id."""
    lines, rejected, winners = 0, Counter(), {}
    for file in sorted(folder.iterdir()):
        arrived = datetime.fromtimestamp(file.stat().st_mtime, UTC)
        content = file.read_bytes()
        assert content.endswith(b"\n") or not content
        for place, line in enumerate(content.split(b"\n")[:-1]):
            lines += 1
            try:
                record = json.loads(line)
            except ValueError:
                record = None
            reason = fault(record, arrived) if isinstance(record, dict) else "not json"
            if reason:
                rejected[reason] += 1
                continue
            at, _ = when(record["created_at"])
            assert at < arrived
            stated = when(record["edited_at"])[0] if "edited_at" in record else at
            assert at <= stated <= arrived
            identity, text = str(record.get("id_str") or record["id"]), record.get("full_text", record.get("text"))
            copy = ((stated, arrived, file.name, place), line, (text, record["label"], at))
            won = winners.setdefault(identity, copy)
            if won is not copy:
                rejected["duplicate" if won[1] == line else "superseded"] += 1
                winners[identity] = max(won, copy)
    return lines, dict(rejected), {identity: copy[2] for identity, copy in winners.items()}


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32), count=st.integers(FEWEST, 700), files=st.integers(2, 25))
def test_independent_reader_finds_the_expected_result(seed, count, files):
    with tempfile.TemporaryDirectory() as folder:
        expected = write(Path(folder), seed=seed, count=count, files=files)
        found = read(Path(folder))
    assert found == (expected.lines, expected.rejected, expected.truth)
    assert expected.lines == count == expected.silver + sum(expected.rejected.values())
    assert expected.silver == len(expected.truth)
    assert expected.corrupt == expected.rejected.get("not json", 0)


def test_shares_of_faults_are_exact(tmp_path):
    expected = write(tmp_path, count=4000)
    assert expected.rejected == {
        "duplicate": 200,
        "not json": 80,
        "superseded": 40,
        "no text": 10,
        "no id": 15,
        "blank text": 15,
        "created_at unreadable": 2,
        "created_at before 1970": 1,
        "created_at in the future": 1,
        "text too long": 1,
        "null bytes": 1,
    }
    assert set(expected.rejected) == {*REASONS.values(), "duplicate", "superseded"}
    assert read(tmp_path)[1] == expected.rejected
    assert {label for _, label, _ in expected.truth.values()} == set(LABELS)


def records(folder):
    """Yield the file number and the record of each line that is a record."""
    for number, file in enumerate(sorted(folder.iterdir())):
        for line in file.read_bytes().split(b"\n"):
            try:
                record = json.loads(line)
            except ValueError:
                continue
            if isinstance(record, dict):
                yield number, record


def test_every_shape_of_a_tweet_occurs(tmp_path):
    write(tmp_path, count=2000)
    found = [record for _, record in records(tmp_path)]
    formats = Counter(when(record["created_at"])[1] for record in found if "created_at" in record)
    wanted = {"twitter", "iso", "seconds, int", "seconds, str", "milliseconds, int", "milliseconds, str"}
    assert {name for name, times in formats.items() if times > 100} == wanted
    texts = Counter(("full_text" in record, "text" in record) for record in found)
    assert min(texts[True, False], texts[False, True]) > 800 and texts[True, True] > 10
    assert all(record["text"].endswith("…") for record in found if "text" in record and "full_text" in record)
    assert {("id" in record, "id_str" in record) for record in found} == {(a, b) for a in (0, 1) for b in (0, 1)}


def test_new_field_appears_half_way(tmp_path):
    write(tmp_path, count=2000, files=9)
    having = Counter(number for number, record in records(tmp_path) if "place" in record)
    assert set(having) == set(range(4, 9)) and min(having.values()) > 50


def test_corrections_come_in_another_file_and_some_before_the_corrected_tweet(tmp_path):
    expected = write(tmp_path, count=4000)
    copies = {}
    for number, record in records(tmp_path):
        if "label" in record:
            copies.setdefault(record.get("id_str") or record.get("id"), {})[record.get("full_text", record.get("text"))] = (
                number,
                record,
            )
    corrected = [list(copy.values()) for copy in copies.values() if len(copy) == 2]
    overtaken = 0
    for first, second in corrected:
        assert first[0] < second[0] and first[1]["label"] != second[1]["label"]
        overtaken += "edited_at" in first[1]
    edited = sum("edited_at" in copy[1] for pair in corrected for copy in pair)
    assert (len(corrected), edited, overtaken) == (expected.rejected["superseded"], 20, 5)


def test_files_arrive_a_minute_apart_and_some_tweets_are_late(tmp_path):
    write(tmp_path, count=1000, files=5)
    files = sorted(tmp_path.iterdir())
    assert [file.name for file in files] == [f"tweets-{number:04}.jsonl" for number in range(5)]
    arrived = [datetime.fromtimestamp(file.stat().st_mtime, UTC) for file in files]
    assert arrived == [START + SPAN - BETWEEN_FILES * left for left in (4, 3, 2, 1, 0)]
    times = [at for _, _, at in read(tmp_path)[2].values()]
    assert sum(START <= at <= START + SPAN for at in times) > 0.98 * len(times)
    assert min(times) < START - timedelta(minutes=5)


def test_same_seed_gives_the_same_bytes(tmp_path):
    def all_bytes(folder):
        return {file.name: (file.read_bytes(), file.stat().st_mtime) for file in folder.iterdir()}

    first, again, other = (write(tmp_path / name, count=300, seed=seed) for name, seed in (("a", 1), ("b", 1), ("c", 2)))
    assert first == again != other
    assert all_bytes(tmp_path / "a") == all_bytes(tmp_path / "b") != all_bytes(tmp_path / "c")


def test_masks_become_names_and_cleaned_texts_stay_equal(tmp_path):
    masked = [(f"@user and @user@user, me@user.org {n}", "neutral") for n in range(200)]
    found = {text for text, _, _ in write_raw_tweets(tmp_path, masked, count=250).truth.values()}
    assert all(text.count("@reader") == 1 and "@user@user" in text for text in found), "what @ follows is no mention"
    cleaned = {clean(text) for text, _ in masked}
    assert sum(clean(text) in cleaned for text in found) > 0.5 * len(found)


def test_hashtag_swings_from_positive_to_negative_tweets(tmp_path):
    truth = write(tmp_path, count=8000).truth
    tagged = [(at, label) for text, label, at in truth.values() if "#delay" in text]
    turn = START + SPAN * 2 / 3
    early, late = ([label == "negative" for at, label in tagged if (at > turn) == after] for after in (False, True))
    assert sum(early) / len(early) < 0.4 and sum(late) / len(late) > 0.6


@pytest.mark.parametrize("change", [{"count": FEWEST - 1}, {"files": 1}, {"texts": [(" \u200b", "neutral"), ("\0", "neutral")]}])
def test_invalid_arguments_fail_before_any_file_is_written(tmp_path, change):
    with pytest.raises(MalformedData, match="cannot be written"):
        write_raw_tweets(tmp_path / "new", **({"texts": TEXTS} | change))
    assert not (tmp_path / "new").exists()
