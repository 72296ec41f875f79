"""Each query compared with a count in Python, over rows with duplicates and later predictions."""

import json
import random
from collections import Counter, defaultdict
from datetime import UTC, datetime, timedelta, timezone
from statistics import fmean

import pytest

from data.errors import WarehouseError
from serving.questions import half_life_s, rollup_of
from serving.warehouse.blocks import write_block
from serving.warehouse.connect import hold
from serving.warehouse.forget import forget_topic
from serving.warehouse.questions import FOLDER, QUESTIONS, ask
from tests.serving.alert_rows import insert_alert

LABELS = ("negative", "neutral", "positive")
NOW = datetime.now(UTC).replace(microsecond=0)
BEGIN = NOW - timedelta(hours=5)
"""First arrival; the arrivals cover three hours."""
WINDOWS = [
    (NOW - timedelta(hours=9), None),
    (BEGIN + timedelta(minutes=31, seconds=7), BEGIN + timedelta(minutes=97, seconds=20)),
    (BEGIN + timedelta(minutes=60, milliseconds=500), BEGIN + timedelta(minutes=62)),
]
STEP_S = {"second": 1, "minute": 60, "hour": 3600}

pytestmark = pytest.mark.integration


def _rows() -> list[dict]:
    rng = random.Random(5)
    rows = []
    for n in range(3000):
        arrived = BEGIN + timedelta(milliseconds=n * 3600)
        created = None if n % 11 == 0 else arrived - timedelta(milliseconds=round(rng.expovariate(1 / 20_000)))
        shares = [rng.random() for _ in LABELS]
        shares = [round(share / sum(shares), 4) for share in shares]
        rows.append(
            {
                "topic": "asked",
                "partition": n % 3,
                "offset": 8000 + n // 3,
                "id": f"m{n}",
                "text": f"text {n}",
                "source": rng.choice(["shop", "shop", "news", 'mail\'s \\ "own"']),
                "created_at": created,
                "produced_at": arrived,
                "predicted_at": arrived + timedelta(seconds=1),
                "written_at": arrived + timedelta(milliseconds=rng.randrange(2000)),
                "label": LABELS[shares.index(max(shares))],
                "confidence": max(shares),
                "probabilities": shares,
                "sarcasm": None if n % 7 == 0 else n % 100 / 100,
                "domain": "finance" if n % 3 == 1 else "general",
                "tier": "base",
                "model_version": "old" if n < 2000 else "new",
            }
        )
    for row in rng.sample(rows, 400):  # classified again
        rows.append(
            row
            | {
                "predicted_at": row["predicted_at"] + timedelta(minutes=1),
                "label": "positive",
                "confidence": 0.9,
                "probabilities": [0.05, 0.05, 0.9],
                "model_version": "new",
            }
        )
    return rows + rng.sample(rows[:3000], 500)  # delivered again unchanged: they do not count


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory):
    rows = _rows()
    with hold(tmp_path_factory.mktemp("var")) as client:
        for begin in range(0, len(rows), 700):
            part = rows[begin : begin + 700]
            write_block(client, "asked", [json.dumps(row, default=datetime.isoformat).encode() for row in part], _spans(part))
        yield client, _last(rows)


def _spans(rows):
    spans = {}
    for row in rows:
        first, last = spans.get(row["partition"], (row["offset"], row["offset"]))
        spans[row["partition"]] = min(first, row["offset"]), max(last, row["offset"])
    return spans


def _last(rows):
    """Return the last prediction for each message."""
    last: dict = {}
    for row in rows:
        key = row["partition"], row["offset"]
        if key not in last or row["predicted_at"] >= last[key]["predicted_at"]:
            last[key] = row
    for row in last.values():
        row["event_at"] = row["created_at"] or row["produced_at"]
    return list(last.values())


def _floor(time, every):
    return datetime.fromtimestamp(time.timestamp() // STEP_S[every] * STEP_S[every], UTC)


def _inside(rows, since, until, every=None, of="event_at"):
    first = _floor(since, every) if every else since
    begins = (lambda row: _floor(row[of], every)) if every else (lambda row: row[of])
    return [row for row in rows if begins(row) >= first and (until is None or begins(row) < until)]


def _counts(rows):
    labels = Counter(row["label"] for row in rows)
    score = fmean(row["probabilities"][2] - row["probabilities"][0] for row in rows) if rows else 0.0
    return {**{label: labels[label] for label in LABELS}, "messages": len(rows)}, 50 + 50 * score


def _same(found, rows):
    counts, points = _counts(rows)
    assert {name: found[name] for name in counts} == counts
    assert found["points"] == pytest.approx(points, abs=0.006)


def _grouped(rows, key):
    groups = defaultdict(list)
    for row in rows:
        groups[key(row)].append(row)
    return groups


@pytest.mark.parametrize("every", ["second", "minute", "hour"])
@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("source", ["", "shop", 'mail\'s \\ "own"'])
def test_rollup_results_equal_a_count(warehouse, every, window, source):
    client, rows = warehouse
    since, until = window
    rows = [row for row in _inside(rows, since, until, every) if source in ("", row["source"])]
    assert rows
    given = {"since": since, "until": until, "source": source, "every": every}
    _same(ask(client, "distribution", **given)[0], rows)

    for by in ("", "source"):
        trend = _grouped(rows, lambda row: (_floor(row["event_at"], every), row["source"] if by else ""))  # noqa: B023
        found = ask(client, "trend", by=by, **given)
        assert [(row["bucket"], row["source"]) for row in found] == sorted(trend)
        for row in found:
            _same(row, trend[row["bucket"], row["source"]])

    volume = Counter(_floor(row["event_at"], every) for row in rows)
    assert {row["bucket"]: row["messages"] for row in ask(client, "volume", **given)} == volume

    sources = _grouped(rows, lambda row: row["source"])
    found = ask(client, "sources", **given)
    assert [row["source"] for row in found] == sorted(sources, key=lambda name: (-len(sources[name]), name))
    for row in found:
        _same(row, sources[row["source"]])


@pytest.mark.parametrize("window", WINDOWS)
def test_message_results_equal_a_count(warehouse, window):
    client, rows = warehouse
    since, until = window
    inside = _inside(rows, since, until)
    half_life = half_life_s(since, until or datetime.now(UTC))

    def weight(row):
        return round(row["confidence"] * 2 ** ((row["event_at"] - since).total_seconds() / half_life), 6)

    negative = sorted((row for row in inside if row["label"] == "negative"), key=lambda row: -weight(row))
    found = ask(client, "top_negative", since=since, until=until, limit=7)
    assert [row["id"] for row in found] == [row["id"] for row in negative[:7]]
    texts = {row["id"]: row["text"] for row in negative}
    assert all(texts[row["id"]] == row["text"] for row in found)

    for label, source in (("", ""), ("positive", ""), ("neutral", "shop")):
        newest = [row for row in inside if label in ("", row["label"]) and source in ("", row["source"])]
        newest.sort(key=lambda row: (row["event_at"], -row["partition"], row["offset"]), reverse=True)
        found = ask(client, "messages", since=since, until=until, label=label, source=source, limit=9)
        assert [row["id"] for row in found] == [row["id"] for row in newest[:9]]
        assert [row["event_at"] for row in found] == [row["event_at"] for row in newest[:9]]

    for given, kept in (
        ({"domain": "finance"}, lambda row: row["domain"] == "finance"),
        ({"sarcastic": True}, lambda row: (row["sarcasm"] or 0) >= 0.5),
        ({"domain": "general", "sarcastic": True}, lambda row: row["domain"] == "general" and (row["sarcasm"] or 0) >= 0.5),
    ):
        newest = [row for row in inside if kept(row)]
        newest.sort(key=lambda row: (row["event_at"], -row["partition"], row["offset"]), reverse=True)
        found = ask(client, "messages", since=since, until=until, limit=9, **given)
        assert [(row["id"], row["domain"]) for row in found] == [(row["id"], row["domain"]) for row in newest[:9]]
        assert all(kept(row) for row in found)

    versions = Counter(row["model_version"] for row in inside)
    found = ask(client, "versions", since=since, until=until)
    assert {row["model_version"]: row["messages"] for row in found} == versions
    for row in found:
        times = [each["predicted_at"] for each in inside if each["model_version"] == row["model_version"]]
        assert (row["first_at"], row["last_at"]) == (min(times), max(times))

    found = ask(client, "tiers", since=since, until=until, every="minute")
    assert {row["tier"] for row in found} == {"base"} and len({row["bucket"] for row in found}) == len(found)
    minutes = Counter(row["event_at"].replace(second=0, microsecond=0) for row in inside)
    counted = {row["bucket"]: row["messages"] for row in found}
    whole = [
        minute for minute in minutes if since <= minute and minute + timedelta(minutes=1) <= (until or NOW + timedelta(days=1))
    ]
    assert {minute: counted[minute] for minute in whole} == {minute: minutes[minute] for minute in whole}


def test_most_negative_are_recent_and_each_text_once(warehouse):
    """One hour: old messages with higher confidence, and a crisis in the last minute that repeats five texts."""
    client, _ = warehouse
    rows = []
    for n in range(200):
        crisis = n >= 150
        at = NOW - timedelta(seconds=200 - n) if crisis else NOW - timedelta(minutes=55, seconds=-n)
        sure = 0.8 if crisis else 0.99
        text = f"the outage {n % 5}" if crisis else f"old {n}"
        row = {
            "topic": "crisis",
            "partition": 0,
            "offset": n,
            "id": f"m{n}",
            "source": "crisis",
            "text": text,
            "label": "negative",
        }
        row |= dict.fromkeys(("created_at", "produced_at", "predicted_at", "written_at"), at)
        row |= {
            "confidence": sure,
            "probabilities": [sure, 1 - sure, 0],
            "sarcasm": None,
            "tier": "base",
            "model_version": "new",
        }
        rows.append(row)
    try:
        write_block(client, "crisis", [json.dumps(row, default=datetime.isoformat).encode() for row in rows], _spans(rows))
        found = ask(client, "top_negative", since=NOW - timedelta(hours=1), source="crisis", limit=8)
    finally:
        forget_topic(client, "crisis")
    assert [row["text"] for row in found[:5]] == [f"the outage {n % 5}" for n in range(199, 194, -1)]
    assert [row["text"] for row in found[5:]] == [f"old {n}" for n in range(149, 146, -1)]


@pytest.mark.parametrize("window", WINDOWS)
def test_latency_and_lag_percentiles(warehouse, window):
    client, rows = warehouse
    since, until = window
    inside = _inside(rows, since, until, of="produced_at")

    def quantile(share, rows, begin):
        waits = sorted((row["written_at"] - row[begin]).total_seconds() for row in rows)
        place = share * (len(waits) - 1)
        below = waits[int(place)]
        return below + (waits[min(int(place) + 1, len(waits) - 1)] - below) * (place % 1)

    (found,) = ask(client, "latency", since=since, until=until)
    assert (found["topic"], found["messages"]) == ("asked", len(inside))
    for name, share in (("p50_s", 0.5), ("p95_s", 0.95), ("p99_s", 0.99)):
        assert found[name] == pytest.approx(quantile(share, inside, "produced_at"), abs=0.002)
    newest = max(row["produced_at"] for row in inside)
    assert found["newest_s"] == pytest.approx((datetime.now(UTC) - newest).total_seconds(), abs=30)

    found = ask(client, "lag", since=since, until=until)
    partitions = _grouped(inside, lambda row: row["partition"])
    assert [row["partition"] for row in found] == sorted(partitions)
    for row in found:
        mine = partitions[row["partition"]]
        assert (row["messages"], row["last_offset"]) == (len(mine), max(each["offset"] for each in mine))
        assert row["p50_s"] == pytest.approx(quantile(0.5, mine, "event_at"), abs=0.002)
        assert row["p99_s"] == pytest.approx(quantile(0.99, mine, "event_at"), abs=0.002)


def test_alerts_in_their_last_revision_newest_first(warehouse):
    client, _ = warehouse
    insert_alert(client, "a", BEGIN + timedelta(minutes=1))
    insert_alert(client, "b", BEGIN + timedelta(minutes=2))
    insert_alert(client, "a", BEGIN + timedelta(minutes=1), closed_at=NOW, revision=2)
    found = ask(client, "alerts", since=BEGIN)
    assert [(row["id"], row["closed_at"]) for row in found] == [("b", None), ("a", NOW)]
    assert ask(client, "alerts", since=BEGIN, source="news") == []
    assert [row["id"] for row in ask(client, "alerts", since=NOW)] == ["b"], "an open alert is returned at any age"
    assert [row["id"] for row in ask(client, "alerts", since=BEGIN, limit=1)] == ["b"]


def test_old_alert_has_no_words_and_a_handled_alert_names_the_person(warehouse):
    client, _ = warehouse
    (old,) = ask(client, "alerts", since=BEGIN, id="a")
    assert (old["words"], old["usual_volume"], old["muted"]) == ([], None, False)
    assert (old["acknowledged_by"], old["acknowledged_at"], old["muted_until"], old["muted_by"]) == (None, None, None, None)
    soon = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=1)
    client.insert(
        "alert_acknowledgements", [["a", "desk 4", NOW]], column_names=["alert_id", "acknowledged_by", "acknowledged_at"]
    )
    mutes = ["source", "muted_until", "muted_by", "muted_at"]
    client.insert("alert_mutes", [["shop", soon, "desk 5", NOW]], column_names=mutes)
    (found,) = ask(client, "alerts", since=BEGIN, id="a")
    assert (found["acknowledged_by"], found["acknowledged_at"]) == ("desk 4", NOW)
    assert (found["muted_until"], found["muted_by"]) == (soon, "desk 5")
    client.insert("alert_mutes", [["shop", NOW - timedelta(seconds=9), "desk 5", NOW + timedelta(seconds=1)]], column_names=mutes)
    assert {row["muted_until"] for row in ask(client, "alerts", since=BEGIN)} == {None}
    assert ask(client, "alerts", since=BEGIN, id="c") == []


def test_trend_of_one_source_has_the_band_of_its_time_and_for_its_messages(warehouse):
    client, _ = warehouse
    minute = BEGIN.replace(second=0) + timedelta(minutes=60 - BEGIN.minute % 10)  # so that five minutes are in one hour
    columns = ["source", "bucket", "mean", "variance", "drift", "threshold"]
    normal = [["shop", minute + timedelta(minutes=n), 0.1 + n / 10, 0.25, 0.0001, 5.0] for n in range(3)]
    client.insert(
        "normal_minute", [["shop", minute, 0.9, 0.2, 0.1, 5.0], ["news", minute, 0.5, 0.2, 0.1, 5.0]], column_names=columns
    )
    client.insert("normal_minute", normal, column_names=columns)  # the later row of a minute counts
    span = {"since": minute, "until": minute + timedelta(minutes=4)}
    rows = ask(client, "trend", **span, source="shop", every="minute")
    for row, (_, bucket, mean, variance, drift, threshold) in zip(rows, normal, strict=False):
        assert row["bucket"] == bucket
        reach = threshold * (variance / row["messages"] + drift) ** 0.5
        assert row["normal_low"] == pytest.approx(max(0, 50 + 50 * (mean - reach)), abs=0.01)
        assert row["normal_high"] == pytest.approx(min(100, 50 + 50 * (mean + reach)), abs=0.01)
    assert (rows[3]["normal_low"], rows[3]["normal_high"]) == (None, None), "not known for that minute"
    seconds = ask(client, "trend", **span, source="shop", every="second")
    assert {row["bucket"].replace(second=0) for row in seconds if row["normal_low"] is not None} == {row[1] for row in normal}
    (hour,) = [row for row in ask(client, "trend", **span, source="shop", every="hour") if row["normal_low"] is not None]
    assert hour["normal_low"] == pytest.approx(50 + 50 * (0.3 - 5 * (0.25 / hour["messages"] + 0.0001) ** 0.5), abs=0.01)
    assert {row["normal_low"] for row in ask(client, "trend", **span, every="minute")} == {None}, "of several sources none"
    assert {row["normal_low"] for row in ask(client, "trend", **span, by="source", every="minute")} == {None}


def test_normal_of_the_busiest_sources_minute_by_minute(warehouse):
    client, _ = warehouse
    at = datetime.now(UTC).replace(second=0, microsecond=0)
    columns = ["source", "bucket", "mean", "variance", "drift", "threshold"]
    client.insert("normal_minute", [["silent", at, 0.5, 0.2, 0.1, 5.0]], column_names=columns)
    client.insert(
        "normal_minute", [["busy", at - timedelta(minutes=n), 0.5, 0.2, 0.1, 5.0] for n in range(3)], column_names=columns
    )
    rollup = [
        "bucket",
        "source",
        "topic",
        "partition",
        "chunk",
        "negative",
        "neutral",
        "positive",
        "messages",
        "score",
        "score_squared",
    ]
    client.insert("rollup_minute", [[at, "busy", "other", 0, 0, 1, 0, 0, 1, -1.0, 1.0]], column_names=rollup)
    found = ask(client, "normal", since=at - timedelta(minutes=1))
    assert [(row["source"], row["at"]) for row in found] == [("busy", at.timestamp() - 60), ("busy", at.timestamp())]
    client.command("ALTER TABLE rollup_minute DELETE WHERE topic = 'other' SETTINGS mutations_sync = 1")


def test_times_in_any_zone_and_without_one_are_the_same(warehouse):
    client, _ = warehouse
    since, until = WINDOWS[1]
    assert until is not None
    east = timezone(timedelta(hours=5, minutes=30))
    expected = ask(client, "trend", since=since, until=until)
    assert expected and ask(client, "trend", since=since.astimezone(east), until=until.astimezone(east)) == expected
    assert ask(client, "trend", since=since.replace(tzinfo=None), until=until.replace(tzinfo=None)) == expected


def test_query_without_messages_has_an_empty_result(warehouse):
    client, _ = warehouse
    none = {"since": NOW - timedelta(hours=1), "source": "unknown"}
    assert ask(client, "distribution", **none) == [{"negative": 0, "neutral": 0, "positive": 0, "messages": 0, "points": 50}]
    assert all(ask(client, question, **none) == [] for question in QUESTIONS if question != "distribution")


def test_a_source_is_a_value_and_never_sql(warehouse):
    client, rows = warehouse
    for source in ("' OR 1 = 1 --", "{limit:UInt32}", "shop'; DROP TABLE predictions; --", "\\", "\t\n"):
        assert ask(client, "sources", since=BEGIN, source=source) == []
    assert ask(client, "distribution", since=NOW - timedelta(hours=9))[0]["messages"] == len(rows)


def test_unknown_question_names_the_nearest(warehouse):
    with pytest.raises(WarehouseError, match=r"(?s)Unknown question 'trends'.*Did you mean 'trend'\?"):
        ask(warehouse[0], "trends")


def test_refusal_of_the_warehouse_is_an_error(warehouse):
    class Refusing:
        def query(self, *_, **__):
            raise RuntimeError("Code: 241. Memory limit exceeded\n0. stack")

    with pytest.raises(WarehouseError, match=r"(?s)The query 'trend' failed.*Memory limit") as caught:
        ask(Refusing(), "trend")
    assert "stack" not in str(caught.value)


@pytest.mark.parametrize("question", QUESTIONS)
def test_every_query_file_has_a_comment_and_reads_with_final(warehouse, question):
    sql = (FOLDER / f"{question}.sql").read_text(encoding="utf-8")
    assert sql.startswith("-- ") and "FINAL" in sql
    assert isinstance(ask(warehouse[0], question, since=BEGIN, limit=1), list)
    assert {"distribution", "trend", "volume", "sources", "top_negative", "lag", "latency", "versions", "alerts"} <= set(
        QUESTIONS
    )


def test_the_rollup_follows_the_window():
    def chosen(span, age=None):
        since = NOW - (age or span)
        return rollup_of(since, since + span, NOW)

    minute, hour, day = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
    assert [chosen(span) for span in (minute, 10 * minute, 11 * minute, hour, day, 2 * day, 3 * day, 100 * day)] == [
        "second",
        "second",
        "minute",
        "minute",
        "minute",
        "minute",
        "hour",
        "hour",
    ]
    assert chosen(minute, 8 * day) == "minute" and chosen(minute, 91 * day) == "hour"
