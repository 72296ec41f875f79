"""Queries on Gold and on the warehouse return the same rows for the same messages; errors if there is no Gold."""

import json
import random
import shutil
import socket
from datetime import UTC, datetime, timedelta, timezone
from functools import cache

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake
from tenacity import Retrying, stop_after_attempt
from websockets.sync.client import connect as dial

from data.errors import WarehouseError
from serving.lakehouse import questions as gold_questions
from serving.lakehouse.questions import FOLDER, QUESTIONS, Gold, ask
from serving.service import build
from serving.service.panels.routes import QUESTIONS as PANELS
from serving.service.panels.schemas import LiveFrame
from serving.tiers import model_key
from serving.warehouse.blocks import write_block
from serving.warehouse.connect import hold
from serving.warehouse.questions import ask as ask_warehouse
from tests.models import tiny_bundle
from tests.serving.running import serving

LABELS = ("negative", "neutral", "positive")
NOW = datetime.now(UTC).replace(microsecond=0)
BEGIN = NOW - timedelta(hours=50)
"""First arrival; the arrivals continue until now, across two midnights."""
SPANS = [
    (None, None),
    (NOW - timedelta(days=9), None),
    (BEGIN + timedelta(hours=20, minutes=31, seconds=7), BEGIN + timedelta(hours=31, minutes=2, seconds=20)),
    (BEGIN + timedelta(hours=30, milliseconds=500), BEGIN + timedelta(hours=30, minutes=7, milliseconds=500)),
    (BEGIN + timedelta(hours=11, microseconds=1_999), BEGIN + timedelta(hours=12, microseconds=70_001)),
    (NOW + timedelta(days=1), None),
]
ODD = 'a source of more than thirty-two characters, "quoted", the émigré\'s \\ 😀'
SOURCES = ["shop", "shop", "shop", "news", "news", "blog", "forum", "mail's", ODD]

_TIME = pa.timestamp("us", "UTC")
_COPY = pa.struct({"stated_at": _TIME, "arrived_at": _TIME, "origin": pa.string(), "block": pa.int64(), "line": pa.int64()})
_PREDICTION = {"label": pa.string(), "confidence": pa.float64(), **dict.fromkeys((*LABELS, "sarcasm"), pa.float64())}
_SCHEMA = pa.schema(
    {
        "id": pa.string(),
        "text": pa.string(),
        "source": pa.string(),
        "created_at": _TIME,
        "event_at": _TIME,
        "event_date": pa.date32(),
        "lang": pa.string(),
        "user_id": pa.string(),
        "mentions": pa.list_(pa.string()),
        "hashtags": pa.list_(pa.string()),
        "true_label": pa.string(),
        "is_share": pa.bool_(),
        "copy": _COPY,
        **_PREDICTION,
        "model_version": pa.string(),
        "predicted_at": _TIME,
        "answers": pa.map_(pa.string(), pa.struct({**_PREDICTION, "predicted_at": _TIME})),
    }
)


def messages(count, begin=BEGIN, until=NOW, seed=5):
    """Rows of the table of predictions; several share a time, some have no created_at."""
    rng, rows = random.Random(seed), []
    for n in range(count):
        arrived = begin + (until - begin) * ((n // 3 * 3) / count)
        arrived = arrived.replace(microsecond=arrived.microsecond // 1000 * 1000)
        created = None if n % 11 == 0 else arrived - timedelta(milliseconds=n // 3 % 7 * 1371)
        low, high = sorted(rng.sample(range(1, 1024), 2))
        shares = [low / 1024, (high - low) / 1024, (1024 - high) / 1024]  # exactly representable in the warehouse's 32 bits
        predicted = arrived + timedelta(milliseconds=rng.randrange(5000))
        rows.append(
            {
                "topic": "asked" if n % 4 else "other",
                "partition": n % 3,
                "offset": n // 3,
                "id": f"m{n}",
                "text": f"{n} 😀",
                "source": rng.choice(SOURCES),
                "created_at": created,
                "produced_at": arrived,
                "predicted_at": predicted,
                "written_at": predicted,
                "label": LABELS[shares.index(max(shares))],
                "confidence": max(shares),
                "probabilities": shares,
                "sarcasm": None,
                "tier": "small" if n % 5 == 0 else "base",
                "is_share": n % 100 == 99,
                "model_version": "old" if n < count / 3 else "new",
            }
        )
    return rows


def in_gold(rows):
    """The same messages as rows of Gold."""
    table = []
    for row in rows:
        prediction = {
            "label": row["label"],
            "confidence": row["confidence"],
            **dict(zip(LABELS, row["probabilities"], strict=True)),
        }
        event_at = row["created_at"] or row["produced_at"]
        table.append(
            {
                **{name: row[name] for name in ("id", "text", "source", "created_at", "predicted_at")},
                "model_version": model_key(row["model_version"], row["tier"]),
                "is_share": row["is_share"] or None,  # null in rows of before: no share
                **prediction,
                "event_at": event_at,
                "event_date": event_at.date(),
                "lang": None,
                "user_id": None,
                "mentions": ["a", "b"],
                "hashtags": [],
                "true_label": None,
                "copy": {
                    "stated_at": row["created_at"],
                    "arrived_at": row["produced_at"],
                    "origin": row["topic"],
                    "block": row["partition"],
                    "line": row["offset"],
                },
                "answers": [
                    ("older", {**prediction, "label": "neutral"}),
                    (model_key(row["model_version"], row["tier"]), prediction),
                ],
            }
        )
    return pa.Table.from_pylist(table, schema=_SCHEMA)


def write_gold(root, rows, **options):
    write_deltalake(root / "gold", in_gold(rows), partition_by=["event_date"], **{"mode": "append", **options})


@cache
def last_hour():
    """Begin and end of the last 50 minutes, computed at the first call: this file may have been imported an hour earlier."""
    now = datetime.now(UTC).replace(microsecond=0)
    return now - timedelta(minutes=50), now


def everything():
    """Two days, and an hour with more sources than `live` lists by name."""
    hour = messages(400, *last_hour(), seed=7)
    return messages(3000, until=last_hour()[1]) + [
        row | {"topic": "hour", "source": f"s{min(n % 23, n % 31)}"} for n, row in enumerate(hour)
    ]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Gold in several commits and many files."""
    root, rows = tmp_path_factory.mktemp("lakehouse"), everything()
    for begin in range(0, len(rows), 500):
        write_gold(root, rows[begin : begin + 500])
    return root


@pytest.fixture(scope="module")
def gold(root):
    return Gold(str(root))


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory):
    with hold(tmp_path_factory.mktemp("var")) as client:
        for topic in ("asked", "other", "hour"):
            mine = [row for row in everything() if row["topic"] == topic]
            block = [json.dumps(row, default=datetime.isoformat).encode() for row in mine]
            write_block(client, topic, block, dict.fromkeys(range(3), (0, 1000)))
        yield client


def same(found, wanted):
    """Assert that two results have equal rows; the warehouse stores a confidence in 32 bits."""
    assert len(found) == len(wanted)
    near = {"confidence": 1e-6, "newest_s": 20}
    for mine, other in zip(found, wanted, strict=True):
        assert list(mine) == list(other)
        for name, value in other.items():
            assert type(mine[name]) is type(value), name
            assert mine[name] == (pytest.approx(value, abs=near[name]) if name in near else value), name


def assert_equal_results(gold, warehouse, question, **given):
    """Assert equal results. For the last hour a row may leave the range between the two queries, so they are retried."""
    moves = given["since"] is None
    for attempt in Retrying(stop=stop_after_attempt(3 if moves else 1), reraise=True):
        with attempt:
            same(ask(gold, question, **given), ask_warehouse(warehouse, question, **given))


@pytest.mark.integration
@pytest.mark.parametrize("every", ["second", "minute", "hour"])
@pytest.mark.parametrize("span", SPANS)
@pytest.mark.parametrize("source", ["", "shop", ODD])
def test_counts_in_buckets_equal_the_warehouse(gold, warehouse, span, source, every):
    given = {"since": span[0], "until": span[1], "source": source, "every": every}
    for question, more in (
        ("distribution", {}),
        ("volume", {}),
        ("tiers", {}),
        ("sources", {}),
        ("sources", {"limit": 2}),
        ("trend", {}),
        ("trend", {"by": "source"}),
    ):
        assert_equal_results(gold, warehouse, question, **given, **more)
    assert source or span == SPANS[-1] or ask(gold, "sources", **given), "there is something to compare"


@pytest.mark.integration
@pytest.mark.parametrize("span", SPANS)
@pytest.mark.parametrize("source", ["", "shop", ODD])
def test_lists_equal_the_warehouse(gold, warehouse, span, source):
    given = {"since": span[0], "until": span[1], "source": source}
    asked = [("messages", {"label": label, "limit": 7}) for label in LABELS] + [("messages", {"limit": 1000}), ("trend", {})]
    for question, more in [
        *asked,
        ("top_negative", {"limit": 20}),
        ("versions", {}),
        ("versions", {"limit": 1}),
        ("latency", {}),
        ("latency", {"limit": 1}),
        ("alerts", {}),
    ]:
        assert_equal_results(gold, warehouse, question, **given, **more)


@pytest.mark.integration
def test_live_seconds_equal_the_warehouse(gold, warehouse):
    begin, end = last_hour()
    for since, until in (
        (end - timedelta(minutes=45, milliseconds=700), end - timedelta(seconds=200)),
        (end - timedelta(minutes=30), end - timedelta(minutes=20, milliseconds=300)),
        (begin, None),
    ):
        found = ask(gold, "live", since=since, until=until)
        same(found, ask_warehouse(warehouse, "live", since=since, until=until))
        sources = {row["source"] for row in found}
        assert {"", "s1", "shop"} <= sources and len(sources) == 21, "the busiest twenty, and the others together"


def test_times_in_any_zone_and_without_zone_give_the_same_rows(gold):
    since, until = SPANS[2]
    assert since is not None and until is not None
    east = timezone(timedelta(hours=5, minutes=30))
    expected = ask(gold, "trend", since=since, until=until)
    assert expected and ask(gold, "trend", since=since.astimezone(east), until=until.astimezone(east)) == expected
    assert ask(gold, "trend", since=since.replace(tzinfo=None), until=until.replace(tzinfo=None)) == expected


@pytest.mark.parametrize("source", ["' OR 1 = 1 --", "$limit", "shop'; DROP TABLE gold; --", "\\", "\t\n"])
def test_source_is_a_value_and_never_sql(gold, source):
    for question in set(QUESTIONS) - {"distribution", "live"}:
        assert ask(gold, question, since=BEGIN, source=source) == []
    assert ask(gold, "distribution", since=BEGIN, source=source)[0]["messages"] == 0


def test_every_question_of_the_panels_and_of_live_returns_rows(gold):
    assert {*PANELS, "live", "normal"} == set(QUESTIONS)
    for name, (panel, _) in PANELS.items():
        rows = ask(gold, name, since=BEGIN)
        panel.model_validate({"since": BEGIN, "until": None, "every": "hour", "rows": rows})
    cells = [tuple(row.values()) for row in ask(gold, "live", since=BEGIN)]
    assert cells
    LiveFrame(type="snapshot", at=0, since=0, away=None, cells=cells, messages=None, alerts=[], normal=None)
    assert all(
        (FOLDER / f"{name}.sql").read_text(encoding="utf-8").startswith("-- ") for name in set(QUESTIONS) - {"alerts", "normal"}
    )


def test_each_query_sees_the_newest_version(tmp_path):
    rows = messages(40)
    write_gold(tmp_path, rows[:20])
    gold = Gold(str(tmp_path))

    def count():
        return ask(gold, "distribution", since=BEGIN)[0]["messages"]

    assert count() == 20
    write_gold(tmp_path, rows[20:])
    assert count() == 40
    write_gold(tmp_path, [row | {"label": "positive", "model_version": "newest"} for row in rows], mode="overwrite")
    assert [row["model_version"] for row in ask(gold, "versions", since=BEGIN)] == ["newest"] * 2
    assert len(ask(gold, "messages", since=BEGIN, label="positive")) == 40
    write_gold(tmp_path, rows[:3], mode="overwrite")
    DeltaTable(tmp_path / "gold").vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False)
    assert count() == 3


def test_recreated_table_is_reopened(tmp_path, monkeypatch):
    """Its versions start at zero, so an incremental update never sees a newer one."""
    for row in messages(5):
        write_gold(tmp_path, [row])
    gold = Gold(str(tmp_path))
    assert ask(gold, "distribution", since=BEGIN)[0]["messages"] == 5
    shutil.rmtree(tmp_path / "gold")
    write_gold(tmp_path, messages(2))
    monkeypatch.setattr(gold_questions, "REOPEN_AFTER_S", 0)
    assert ask(gold, "distribution", since=BEGIN)[0]["messages"] == 2


def test_files_of_other_days_are_not_read(tmp_path):
    write_gold(tmp_path, messages(60))
    for folder in (tmp_path / "gold").glob(f"event_date={BEGIN.date()}"):
        shutil.rmtree(folder)
    since = datetime.combine(BEGIN.date() + timedelta(days=1), datetime.min.time(), UTC)
    for question in QUESTIONS:
        ask(str(tmp_path), question, since=since)
    with pytest.raises(WarehouseError, match="The query 'trend' on Gold failed"):
        ask(str(tmp_path), "trend", since=BEGIN - timedelta(days=1))


def test_errors_name_the_problem_and_the_fix(tmp_path, gold, monkeypatch):
    with pytest.raises(WarehouseError, match=r"(?s)There is no Gold at .*groundswell lakehouse run --once"):
        ask(str(tmp_path), "trend")
    assert ask(str(tmp_path), "alerts") == []
    with pytest.raises(WarehouseError, match=r"(?s)Unknown question 'trends'.*Did you mean 'trend'\?"):
        ask(gold, "trends")
    monkeypatch.setitem(__import__("sys").modules, "duckdb", None)
    with pytest.raises(WarehouseError, match=r"(?s)not installed.*extra `lakehouse`"):
        ask(gold, "trend")


def test_slow_query_times_out(root, monkeypatch):
    monkeypatch.setenv("GROUNDSWELL_WAREHOUSE__TIMEOUT_S", "0.3")
    gold = Gold(str(root))
    with pytest.raises(TimeoutError, match=r"longer than 0\.3 s"):
        gold.rows("SELECT count(*) FROM range(1_000_000_000) AS a, gold AS g WHERE hash(a.range, g.id) = 1", {}, "true")
    assert ask(gold, "distribution", since=BEGIN)[0]["messages"] == 3400 - 34, "the next query succeeds; shares are no opinions"


def test_unreachable_bucket_times_out(monkeypatch):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{probe.getsockname()[1]}")
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION"):
            monkeypatch.setenv(name, "eu-west-1")
        monkeypatch.setenv("GROUNDSWELL_WAREHOUSE__TIMEOUT_S", "1")
        with pytest.raises(WarehouseError, match="The query 'trend' on Gold failed"):
            ask("s3a://bucket/lakehouse", "trend")


@pytest.mark.integration
def test_gold_in_a_bucket_is_readable(monkeypatch):
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", port=0)
    server.start()
    try:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://{}:{}".format(*server.get_host_and_port()))
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.setenv(name, "test")
        monkeypatch.setenv("AWS_REGION", "us-east-1")
        import boto3

        boto3.client("s3").create_bucket(Bucket="lake")
        write_deltalake(
            "s3://lake/house/gold",
            in_gold(messages(30)),
            partition_by=["event_date"],
            storage_options=gold_questions.storage_options("s3://lake") | {"AWS_S3_ALLOW_UNSAFE_RENAME": "true"},
        )
        assert ask("s3a://lake/house", "distribution", since=BEGIN)[0]["messages"] == 30
        with pytest.raises(WarehouseError, match="There is no Gold at s3a://lake/nothing/gold"):
            ask("s3a://lake/nothing", "distribution")
    finally:
        server.stop()


@pytest.mark.integration
def test_service_shows_gold(tmp_path, monkeypatch):
    """Without ClickHouse. It reports missing Gold, and shows the rows once Gold exists."""
    monkeypatch.setenv("GROUNDSWELL_WAREHOUSE__READER", "lakehouse")
    with (
        serving(tiny_bundle(tmp_path / "tiny"), tmp_path) as (client, _),
        dial(f"ws://{client.base_url.host}:{client.base_url.port}/v1/live", open_timeout=20) as viewer,
    ):
        away = client.get("/v1/panels/trend")
        assert away.status_code == 503 and "groundswell lakehouse run --once" in away.json()["detail"]
        assert "There is no Gold" in json.loads(viewer.recv(timeout=100))["away"]

        now = datetime.now(UTC)
        write_gold(tmp_path / "var" / "lakehouse", messages(60, now - timedelta(minutes=4), now))
        for name in PANELS:
            found = client.get(f"/v1/panels/{name}")
            assert found.status_code == 200, found.text
            assert found.json()["rows"] or name == "alerts"
        rows = client.get("/v1/panels/trend", params={"every": "second"}).json()["rows"]
        assert sum(row["messages"] for row in rows) == 60

        cells, newest = {}, []
        while sum(cells.values()) < 60 or not newest:
            frame = json.loads(viewer.recv(timeout=100))
            cells |= {(second, source): sum(counts) for second, source, *counts, _ in frame["cells"]}
            newest = frame["messages"] or newest
        assert len(newest) == 30 and frame["away"] is None


def test_bento_for_gold_contains_its_packages_and_queries(monkeypatch):
    assert {"serving/lakehouse/questions/trend.sql", "serving/lakehouse/questions.py"} <= {str(file) for file in build._code()}
    assert build._digest([], []) != build._digest([], build.GOLD_PACKAGES)
    assert "duckdb==" in build._bentofile(build.PACKAGES + build.GOLD_PACKAGES) and "duckdb" not in build._bentofile(
        build.PACKAGES
    )
