"""The stream's history: read for any span, in bounded files, and merged without losing a peak or a count."""

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.streaming.supervisor import history
from serving.streaming.supervisor.history import MINUTES, SECONDS, History, merged, read_history

BEGIN = 1_795_000_020.0


def row(at, **changes):
    return {
        "at": at,
        "lag": 5,
        "rate": 10.0,
        "arriving": 12.0,
        "workers": 1,
        "target": 1,
        "cpu": {"w1": 0.5},
        "rss_bytes": {"w1": 1000},
        "dead_letters": 0,
        "restarts": 0,
        **changes,
    }


def written(folder, count, **changes):
    keeper = History(folder)
    for n in range(count):
        keeper.add(row(BEGIN + n, **changes))
    return keeper


def test_short_span_is_read_by_the_second(tmp_path):
    written(tmp_path, 500)
    rows, step_s = read_history(tmp_path, BEGIN + 100, BEGIN + 200)
    assert step_s == 1 and [each["at"] for each in rows] == [BEGIN + n for n in range(100, 200)]


def test_long_span_is_read_by_the_minute_and_ends_with_the_newest_seconds(tmp_path):
    written(tmp_path, 8000)
    rows, step_s = read_history(tmp_path, BEGIN, BEGIN + 8000)
    assert step_s == 30 and rows[0]["at"] <= BEGIN and rows[-1]["at"] + step_s >= BEGIN + 8000
    assert len(rows) <= 300 and max(b["at"] - a["at"] for a, b in pairwise(rows)) <= 60


def test_span_older_than_the_seconds_is_read_from_the_minutes(tmp_path, monkeypatch):
    monkeypatch.setattr(history, "SECONDS_BYTES", 20_000)
    written(tmp_path, 3000)
    rows, _ = read_history(tmp_path, BEGIN, BEGIN + 600)
    assert len(rows) == 10 and all(each["rate"] == 10.0 for each in rows)


def test_lag_peak_and_sums_survive_merging(tmp_path):
    keeper = written(tmp_path, 100)
    keeper.add(row(BEGIN + 100, lag=9000, dead_letters=3, restarts=1, rss_bytes={"w1": 7000, "alerts": 1}))
    for n in range(101, 4000):
        keeper.add(row(BEGIN + n))
    rows, _ = read_history(tmp_path, BEGIN, BEGIN + 4000, most=10)
    assert len(rows) <= 10 and max(each["lag"] for each in rows) == 9000
    assert sum(each["dead_letters"] for each in rows) == 3 and sum(each["restarts"] for each in rows) == 1
    assert max(each["rss_bytes"]["w1"] for each in rows) == 7000 and any("alerts" in each["rss_bytes"] for each in rows)


def test_time_without_a_supervisor_has_no_rows(tmp_path):
    keeper = written(tmp_path, 60)
    keeper.add(row(BEGIN + 300))
    rows, _ = read_history(tmp_path, BEGIN, BEGIN + 301)
    assert not [each for each in rows if BEGIN + 61 < each["at"] < BEGIN + 299]


def test_files_are_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(history, "SECONDS_BYTES", 2000)
    monkeypatch.setattr(history, "MINUTES_BYTES", 1000)
    written(tmp_path, 3000)
    sizes = {path.name: path.stat().st_size for path in tmp_path.iterdir()}
    assert sizes.keys() == {SECONDS, "history.1.jsonl", MINUTES, "history-minutes.1.jsonl"}
    assert all(size <= 2400 for size in sizes.values()) and sizes[MINUTES] <= 1400


def test_torn_and_foreign_lines_are_skipped(tmp_path):
    written(tmp_path, 10)
    with (tmp_path / SECONDS).open("a") as file:
        file.write('{"lag": 3}\n[]\n"x"\n\n' + json.dumps({"at": BEGIN + 10, "lag": 4}) + "\n" + '{"at": 1795')
    rows, _ = read_history(tmp_path, BEGIN, BEGIN + 60)
    assert len(rows) == 11 and rows[-1]["lag"] == 4 and rows[-1]["rate"] is None and rows[-1]["cpu"] == {}


def test_no_history_gives_no_rows(tmp_path):
    assert read_history(tmp_path, BEGIN, BEGIN + 60) == ([], 1)


@pytest.mark.parametrize("block", [40, 100, 1000])
@given(since=st.integers(0, 130), length=st.integers(1, 140))
def test_any_span_gives_its_rows_at_any_block_size(tmp_path_factory, block, since, length):
    folder = tmp_path_factory.getbasetemp() / f"history-{block}"
    if not folder.exists():
        written(folder, 120)
    before, history._BLOCK = history._BLOCK, block
    try:
        rows, _ = read_history(folder, BEGIN + since, BEGIN + since + length)
    finally:
        history._BLOCK = before
    wanted = [BEGIN + n for n in range(since, min(120, since + length))]
    assert [each["at"] for each in rows] == wanted


@given(st.lists(st.one_of(st.none(), st.integers(0, 10**9)), min_size=1, max_size=20))
def test_merged_lag_is_the_highest_known(lags):
    known = [lag for lag in lags if lag is not None]
    assert merged([row(BEGIN, lag=lag) for lag in lags], BEGIN)["lag"] == (max(known) if known else None)
