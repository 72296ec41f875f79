"""The views of Gold and the comparison of versions on real Spark, checked against counts in Python; and their output."""

import random
from collections import Counter, defaultdict
from datetime import UTC, datetime, timedelta
from statistics import fmean
from typing import get_args

import pytest
from rich.console import Console

from data.errors import LakehouseError
from data.labels import LABELS
from orchestration.terminal.lakehouse_plots import plot_views
from orchestration.terminal.lakehouse_tables import collect_views, show_comparison, show_views
from serving.lakehouse.compare import compare, summarize
from serving.lakehouse.views import (
    TRENDING_FROM,
    Every,
    by_language,
    most_sarcastic,
    sentiment_over,
    top_mentions,
    trending_hashtags,
    volume,
)
from tests.serving.lakehouse_harness import session

GOLD = (
    "id string, is_share boolean, text string, source string, created_at timestamp, event_at timestamp, event_date date, "
    "lang string, user_id string, mentions array<string>, hashtags array<string>, true_label string, "
    "copy struct<stated_at timestamp, arrived_at timestamp, origin string, block long, line long>, "
    "label string, confidence double, negative double, neutral double, positive double, sarcasm double, model_version string, "
    "predicted_at timestamp, answers map<string, struct<"
    "label string, confidence double, negative double, neutral double, positive double, sarcasm double, "
    "predicted_at timestamp>>"
)
BEGIN = datetime(2026, 2, 28, 22, 40, 30, tzinfo=UTC)
"""The events span four hours, across the end of a month."""
PEOPLE = ["ada", "bo", "cy", "dee", "日本航空", "cash$"]
TAGS = ["rain", "goal", "launch$", "日本", "[bold]"]
WINDOW = timedelta(hours=1)

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def spark():
    with session() as opened:
        yield opened


def _row(n, at, label, *, lang: str | None = "en", mentions=(), hashtags=(), version="v1", others=None, score=None):
    """A row of Gold with the columns that views read; without a label the model failed on it."""
    prediction = _prediction(label, at, score)
    return {
        "id": f"m{n:04}",
        "is_share": None,
        "text": f"text\n{n} \x1b[31m[bold]",
        "event_at": at,
        "event_date": at.date(),
        "lang": lang,
        "mentions": list(mentions),
        "hashtags": list(hashtags),
        **prediction,
        "model_version": version if label else None,
        "answers": {version: prediction, **(others or {})} if label else others,
    }


def _prediction(label, at, score=None):
    """Probabilities with the label's as the greatest; `score` is the label's probability."""
    if label is None:
        return {**dict.fromkeys(("label", "confidence", *LABELS)), "predicted_at": at}
    most = 0.6 if score is None else score
    shares = {name: round((1 - most) / 2, 4) for name in LABELS} | {label: most}
    return {"label": label, "confidence": most, **shares, "predicted_at": at}


def _rows():
    rng = random.Random(7)
    rows = []
    for n in range(300):
        at = BEGIN + timedelta(seconds=round(4 * 3600 * n / 299))
        mentions, hashtags = rng.choices(PEOPLE, k=rng.choice([0, 0, 1, 2, 3])), rng.choices(TAGS, k=rng.choice([0, 1, 1, 2]))
        if n > 230:
            hashtags.append("new")
        label, score = rng.choice(LABELS), round(rng.uniform(0.4, 1), 4)
        later = _prediction(rng.choice([label, label, rng.choice(LABELS)]), at, round(rng.uniform(0.4, 1), 4))
        others = {} if n % 10 == 0 else {"v2": later}
        version = "v0" if n % 25 == 1 else "v1"
        rows.append(
            _row(
                n,
                at,
                None if n == 77 else label,
                lang=rng.choice(["en", "en", "es", "ja", None, "und"]),
                mentions=mentions,
                hashtags=hashtags,
                version=version,
                others=others,
                score=score,
            )
        )
        rows[-1]["is_share"] = n % 9 == 0
    rows[5]["mentions"] = rows[5]["hashtags"] = None
    return rows


@pytest.fixture(scope="module")
def rows():
    return _rows()


@pytest.fixture(scope="module")
def gold(spark, rows):
    return _gold(spark, rows).cache()


@pytest.fixture(scope="module")
def empty(spark):
    return _gold(spark, [])


def _gold(spark, rows):
    return spark.createDataFrame(rows, GOLD)


def _opinions(rows):
    return [row for row in rows if row["label"] and not row["is_share"]]


def _collected(view):
    """Rows as dicts with times in UTC: Spark returns them in the time zone of this process."""
    rows = [row.asDict() for row in view.collect()]
    return [{key: value.astimezone(UTC) if isinstance(value, datetime) else value for key, value in row.items()} for row in rows]


def _points(rows):
    return 50 + 50 * fmean(row["positive"] - row["negative"] for row in rows)


def _same(found, rows):
    labels = Counter(row["label"] for row in rows)
    assert {label: found[label] for label in LABELS} == {label: labels[label] for label in LABELS}
    assert found["messages"] == len(rows)
    assert found["points"] == pytest.approx(_points(rows), abs=0.006)


def _grouped(rows, keys):
    groups = defaultdict(list)
    for row in rows:
        for key in set(keys(row) or ()):
            groups[key].append(row)
    return groups


def _floor(time, every):
    return time.replace(
        second=0, microsecond=0, **({"minute": 0} if every != "minute" else {}), **({"hour": 0} if every == "day" else {})
    )


@pytest.mark.parametrize("every", get_args(Every))
def test_sentiment_and_volume_over_time(gold, rows, every):
    groups = _grouped(_opinions(rows), lambda row: [_floor(row["event_at"], every)])
    found = _collected(sentiment_over(gold, every))
    assert [row["bucket"] for row in found] == sorted(groups)
    for row in found:
        _same(row, groups[row["bucket"]])
    counts = Counter(_floor(row["event_at"], every) for row in rows)  # includes the row that the model failed on
    shares = Counter(_floor(row["event_at"], every) for row in rows if row["is_share"])
    expected = [(bucket, count, shares[bucket]) for bucket, count in sorted(counts.items())]
    assert shares and [tuple(row.values()) for row in _collected(volume(gold, every))] == expected


def test_by_language(gold, rows):
    groups = _grouped(_opinions(rows), lambda row: [row["lang"] or "und"])
    found = _collected(by_language(gold))
    assert [row["lang"] for row in found] == sorted(groups, key=lambda lang: (-len(groups[lang]), lang))
    for row in found:
        _same(row, groups[row["lang"]])


@pytest.mark.parametrize("label", ["positive", "negative"])
def test_mentions(gold, rows, label):
    assert any(len(row["mentions"] or ()) > len(set(row["mentions"] or ())) for row in rows), (
        "one name is mentioned twice in a message"
    )
    groups = _grouped(_opinions(rows), lambda row: row["mentions"])
    expected = []
    for name, mentioned in groups.items():
        of_label = sum(row["label"] == label for row in mentioned)
        if of_label:
            expected.append((name, of_label, len(mentioned), of_label / len(mentioned), _points(mentioned)))
    expected.sort(key=lambda row: (-row[1], row[2], row[0]))
    found = [tuple(row.values()) for row in _collected(top_mentions(gold, label))]
    assert [row[:3] for row in found] == [row[:3] for row in expected]
    assert [row[3:] for row in found] == [pytest.approx(row[3:], abs=0.006) for row in expected]
    assert [row["mention"] for row in _collected(top_mentions(gold, label, limit=2))] == [row[0] for row in expected[:2]]


def test_hashtags(gold, rows):
    newest = max(row["event_at"] for row in rows)
    groups = _grouped(_opinions(rows), lambda row: row["hashtags"])
    expected = {}
    for name, tagged in groups.items():
        now = [row for row in tagged if row["event_at"] > newest - WINDOW]
        before = [row for row in tagged if newest - 2 * WINDOW < row["event_at"] <= newest - WINDOW]
        if len(now) >= TRENDING_FROM:
            points = _points(now), _points(before) if before else None
            expected[name] = len(now), len(before), (len(now) + 1) / (len(before) + 1), *points
    assert expected["new"][1] == 0 and len(expected) > 3
    found = _collected(trending_hashtags(gold, window=WINDOW))
    assert [row["hashtag"] for row in found] == sorted(expected, key=lambda name: (-expected[name][2], -expected[name][0], name))
    for row in found:
        now, before, growth, points_now, points_before = expected[row["hashtag"]]
        assert (row["now"], row["before"]) == (now, before)
        assert row["growth"] == pytest.approx(growth, abs=0.0001)
        assert row["points_now"] == pytest.approx(points_now, abs=0.006)
        if points_before is None:
            assert row["points_before"] is None and row["swing"] is None
        else:
            assert row["points_before"] == pytest.approx(points_before, abs=0.006)
            assert row["swing"] == pytest.approx(points_now - points_before, abs=0.011)


def test_window_edges_and_ties(spark):
    newest = BEGIN + timedelta(hours=3)
    ages = {"b": 0, "a": 0, "early": 60, "old": 120, "few": 0}
    rows = []
    for name, minutes in ages.items():
        for n in range(TRENDING_FROM - (name == "few")):
            at = newest - timedelta(minutes=minutes) - timedelta(seconds=n * (minutes == 0))
            rows.append(_row(len(rows), at, "neutral", hashtags=[name, name], mentions=["b", "a"]))
    # More messages of these hashtags in the last window, so that they are listed.
    for name in ("early", "old"):
        rows += [_row(len(rows) + n, newest, "positive", hashtags=[name]) for n in range(TRENDING_FROM)]
    found = {row["hashtag"]: row for row in _collected(trending_hashtags(_gold(spark, rows), window=WINDOW))}
    assert list(found) == ["a", "b", "old", "early"], "ties are ordered by name; 'few' has too few messages"
    assert found["early"]["before"] == TRENDING_FROM, "an event exactly as old as the window belongs to the window before"
    assert found["old"]["before"] == 0 and found["old"]["swing"] is None, "an event twice as old belongs to no window"
    mentions = _collected(top_mentions(_gold(spark, rows[:5]), "positive"))
    assert mentions == [], "a name only in neutral messages is in neither list"


def test_most_sarcastic(spark, tmp_path):
    rows = [_row(n, BEGIN + timedelta(seconds=n), "negative") | {"source": "shop"} for n in range(6)]
    for row, probability in zip(rows, (0.2, 0.9, None, 0.9, 0.5, 0.99), strict=True):
        row["sarcasm"] = probability
    rows[5]["is_share"] = True
    gold = _gold(spark, rows)
    found = _collected(most_sarcastic(gold))
    assert [(row["text"][5], row["sarcasm"]) for row in found] == [("3", 0.9), ("1", 0.9), ("4", 0.5), ("0", 0.2)]
    assert len(_collected(most_sarcastic(gold, limit=1))) == 1
    console = Console(record=True, width=80, file=(tmp_path / "out").open("w"))
    show_views(console, collect_views(gold, ["most_sarcastic"]))
    shown = console.export_text()
    assert "90%" in shown and "negative" in shown and "[bold]" in shown and "\x1b" not in shown


def test_empty_gold(empty, tmp_path):
    views = collect_views(empty)
    assert all(rows == [] for rows in views.values())
    console = Console(record=True, width=80, file=(tmp_path / "out").open("w"))
    show_views(console, views)
    assert console.export_text().count("no rows yet") == len(views) == 6
    assert plot_views(views, tmp_path / "plots") == []
    with pytest.raises(LakehouseError, match="no predictions at all"):
        compare(empty, "v1", "v2")


def test_comparison_of_two_versions(gold, rows):
    both = {
        row["id"]: (row, row["answers"]["v1"], row["answers"]["v2"]) for row in rows if {"v1", "v2"} <= set(row["answers"] or ())
    }
    moved = {key: abs(_score(b) - _score(a)) for key, (_, a, b) in both.items()}
    compared = compare(gold, "v1", "v2")
    assert compared.columns == ["id", "event_at", "text", "label_a", "label_b", "confidence_a", "confidence_b", "moved"]
    found = _collected(compared)
    assert {row["id"] for row in found} == set(both)
    for row in found:
        whole, a, b = both[row["id"]]
        assert (row["event_at"], row["text"]) == (whole["event_at"], whole["text"])
        assert (row["label_a"], row["label_b"]) == (a["label"], b["label"])
        assert (row["confidence_a"], row["confidence_b"]) == (a["confidence"], b["confidence"])
        assert row["moved"] == pytest.approx(moved[row["id"]], abs=0.0001)

    summary = summarize(gold, "v1", "v2", largest=5)
    pairs = Counter((a["label"], b["label"]) for _, a, b in both.values())
    assert summary.both == len(both) and summary.changed == sum(count for (was, now), count in pairs.items() if was != now) > 0
    assert summary.matrix == tuple(tuple(pairs[was, now] for now in LABELS) for was in LABELS)
    assert summary.only_a == sum("v1" in (row["answers"] or ()) and "v2" not in row["answers"] for row in rows) > 0
    assert summary.only_b == sum("v2" in (row["answers"] or ()) and "v1" not in row["answers"] for row in rows) > 0
    assert summary.score_a == pytest.approx(fmean(_score(a) for _, a, _ in both.values()), abs=1e-6)
    assert summary.score_b == pytest.approx(fmean(_score(b) for _, _, b in both.values()), abs=1e-6)
    assert [row["id"] for row in summary.largest] == sorted(moved, key=lambda key: (-round(moved[key], 4), key))[:5]


def _score(prediction):
    return prediction["positive"] - prediction["negative"]


def test_comparison_of_versions_without_common_rows_and_of_unknown_versions(gold, tmp_path):
    summary = summarize(gold, "v0", "v1")
    assert (summary.both, summary.changed, summary.score_a, summary.largest) == (0, 0, None, ())
    assert summary.only_a == 12 and summary.only_b > 200
    console = Console(record=True, width=80, file=(tmp_path / "out").open("w"))
    show_comparison(console, summary)
    assert "12 by v0" in console.export_text()
    with pytest.raises(LakehouseError, match="'v11'") as raised:
        summarize(gold, "v2", "v11")
    assert "v0, v1, v2" in str(raised.value) and "Did you mean 'v1'?" in str(raised.value)


def test_terminal_output_and_plots(gold, rows, tmp_path):
    views = collect_views(gold)
    assert list(views) == [
        "sentiment_per_hour",
        "volume_per_hour",
        "languages",
        "positive_mentions",
        "negative_mentions",
        "hashtags_last_hour",
    ]
    console = Console(record=True, width=80, file=(tmp_path / "out").open("w"))
    show_views(console, views)
    show_comparison(console, summarize(gold, "v1", "v2"))
    shown = console.export_text()
    assert "2026-03-01 02:00" in shown and "300 in total" in shown, "in UTC, regardless of this machine's time zone"
    for name in ("@日本航空", "@cash$", "#[bold]", "#new", "v1 down, v2 across"):
        assert name in shown
    assert "\x1b" not in shown and "[bold]" in shown, "control characters and markup in texts have no effect"
    paths = plot_views(views, tmp_path / "plots")
    assert [path.stem for path in paths] == ["sentiment_per_hour", "languages", "hashtags_last_hour", "mentions"]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in paths)


def test_unknown_view_suggests_a_name(gold, rows):
    with pytest.raises(LakehouseError, match="Did you mean 'languages'"):
        collect_views(gold, ["langauges"])
    minutes = {row["event_at"].replace(second=0, microsecond=0) for row in _opinions(rows)}
    found = collect_views(gold, ["sentiment_per_minute"])["sentiment_per_minute"]
    assert len(found) == min(240, len(minutes)) > 200, "a bucket without an opinion has no row"
