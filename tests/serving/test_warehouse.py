"""Blocks, rollups and migrations on chDB: a message counts once, by its last prediction, however often it is written."""

import json
from collections import defaultdict
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data.errors import StreamError, WarehouseError
from serving.settings import StreamSettings
from serving.streaming.worker import identity
from serving.warehouse import migrate as migrations
from serving.warehouse.blocks import _REFRESH, CHUNK, UnreadableRows, _ranges, write_block
from serving.warehouse.connect import hold
from serving.warehouse.forget import forget_topic
from serving.warehouse.migrate import migrate, pending, roll_back

LABELS = ("negative", "neutral", "positive")
ROLLUPS = {"second": 1, "minute": 60, "hour": 3600}
NOW = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1)
ALL = [
    "0001_predictions",
    "0002_stream",
    "0003_rollups",
    "0004_alerts_and_topics",
    "0005_times",
    "0006_alert_life",
    "0007_forgotten",
    "0008_shares",
]

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def var(tmp_path_factory):
    return tmp_path_factory.mktemp("var")


@pytest.fixture(scope="module")
def client(var):
    with hold(var) as client:
        yield client


@pytest.fixture
def empty(client, var):
    """A database without a schema; a process has only one chDB, so it is a second database in it."""
    import clickhouse_connect

    client.command("CREATE DATABASE empty")
    other = clickhouse_connect.get_client(interface="chdb", path=str(var / "warehouse"), database="empty")
    yield other
    other.close()
    client.command("DROP DATABASE empty SYNC")


@pytest.fixture
def large(empty):
    """A database for many rows, dropped after the test."""
    migrate(empty)
    return empty


@pytest.fixture
def topic(request):
    return request.node.name


def row(topic, partition, offset, **changes):
    return {
        "topic": topic,
        "partition": partition,
        "offset": offset,
        "id": f"{partition}-{offset}",
        "source": "shop",
        "text": "x",
        "created_at": None,
        "produced_at": NOW,
        "predicted_at": NOW,
        "label": "negative",
        "confidence": 0.7,
        "probabilities": [0.7, 0.2, 0.1],
        "sarcasm": None,
        "tier": "model",
        "model_version": "v",
        "is_share": False,
        **changes,
    }


def write(client, topic, rows):
    offsets = {}
    for each in rows:
        first, last = offsets.get(each["partition"], (each["offset"],) * 2)
        offsets[each["partition"]] = min(first, each["offset"]), max(last, each["offset"])
    write_block(client, topic, [json.dumps(each, default=datetime.isoformat).encode() for each in rows], offsets)


def counted(rows, step_s):
    """Return the expected rollup: by bucket and source, from the last prediction for each message."""
    last = {}
    for each in rows:
        key = each["partition"], each["offset"]
        if key not in last or each["predicted_at"] >= last[key]["predicted_at"]:
            last[key] = each
    sums = defaultdict(lambda: [0, 0, 0, 0, 0, 0.0, 0.0])
    for each in last.values():
        begins = int((each["created_at"] or each["produced_at"]).timestamp()) // step_s * step_s
        row_sums = sums[begins, each["source"]]
        score = each["probabilities"][2] - each["probabilities"][0]
        opinion = ((LABELS.index(each["label"]), 1), (3, 1), (5, score), (6, score * score))
        for place, value in ((4, 1),) if each["is_share"] else opinion:
            row_sums[place] += value
    return dict(sums)


def in_rollup(client, topic, name):
    rows = client.query(
        "SELECT toUnixTimestamp(bucket), source, sum(negative), sum(neutral), sum(positive), sum(messages), sum(shares), "
        f"sum(score), sum(score_squared) FROM rollup_{name} FINAL WHERE topic = {{topic:String}} GROUP BY bucket, source",
        parameters={"topic": topic},
    ).result_rows
    return {tuple(each[:2]): list(each[2:]) for each in rows}


def in_messages(client, topic, step_s):
    rows = client.query(
        f"SELECT intDiv(toUnixTimestamp(event_at), {step_s}) * {step_s} AS begins, source, "
        "countIf(label = 'negative' AND NOT is_share), countIf(label = 'neutral' AND NOT is_share), "
        "countIf(label = 'positive' AND NOT is_share), countIf(NOT is_share), countIf(is_share), "
        "sumIf(p.score, NOT is_share), sumIf(p.score * p.score, NOT is_share) "
        "FROM predictions AS p FINAL WHERE topic = {topic:String} GROUP BY begins, source",
        parameters={"topic": topic},
    ).result_rows
    return {tuple(each[:2]): list(each[2:]) for each in rows}


def same(client, topic, rows):
    for name, step_s in ROLLUPS.items():
        expected = counted(rows, step_s)
        for found in (in_rollup(client, topic, name), in_messages(client, topic, step_s)):
            assert found.keys() == expected.keys()
            for key, sums in expected.items():
                assert found[key][:5] == sums[:5], (name, key)
                assert found[key][5:] == pytest.approx(sums[5:], abs=1e-4), (name, key)


# Offsets on both sides of the borders of chunks.
_OFFSETS = st.one_of(
    st.integers(0, 20), st.builds(lambda chunk, near: chunk * CHUNK + near, st.sampled_from([1, 2, 5]), st.integers(-4, 4))
)
_PROBABILITIES = st.sampled_from([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.05, 0.05, 0.9], [0.34, 0.33, 0.33], [0.5, 0.0, 0.5]])


@st.composite
def _messages(draw):
    """Distinct messages, with the fields that never change: offset, times, source, and whether it is a share."""
    places = draw(st.lists(st.tuples(st.integers(0, 3), _OFFSETS), min_size=1, max_size=40, unique=True))
    return [
        {
            "partition": partition,
            "offset": offset,
            "source": draw(st.sampled_from(["shop", "news", "ü 'quoted\\'"])),
            "is_share": draw(st.booleans()),
            "produced_at": NOW + timedelta(milliseconds=draw(st.integers(0, 90_000))),
            "created_at": draw(
                st.one_of(
                    st.none(),
                    st.integers(0, 100_000).map(lambda ms: NOW - timedelta(milliseconds=ms)),
                    st.integers(0, 4).map(lambda days: NOW - timedelta(days=days, milliseconds=1)),  # late by days
                )
            ),
        }
        for partition, offset in places
    ]


@st.composite
def _blocks(draw):
    """Blocks with each message at least once, in any order, with any borders, some classified again."""
    messages = draw(_messages())
    times = draw(st.permutations([*range(len(messages)), *draw(st.lists(st.integers(0, len(messages) - 1), max_size=40))]))
    predicted = [
        {
            **messages[n],
            "predicted_at": NOW + timedelta(seconds=draw(st.integers(0, 3))),
            "probabilities": (shares := draw(_PROBABILITIES)),
            "label": LABELS[shares.index(max(shares))],
        }
        for n in times
    ]
    borders = sorted(draw(st.sets(st.integers(1, max(1, len(predicted) - 1)), max_size=5)))
    return [predicted[begin:end] for begin, end in zip([0, *borders], [*borders, len(predicted)], strict=True)]


_count = iter(range(1_000_000))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
@given(blocks=_blocks())
def test_each_message_counts_once_by_its_last_prediction_for_any_blocks(client, blocks):
    topic = f"any-{next(_count)}"
    written = []
    for block in blocks:
        rows = [row(topic, **each) for each in block]
        if rows:
            write(client, topic, rows)
        written += rows
    same(client, topic, written)
    for begin in range(0, len(written), 13):  # all of it again, in other blocks: nothing changes
        write(client, topic, written[begin : begin + 13])
    same(client, topic, written + written)


def test_redelivery_repairs_a_crash_between_rows_and_rollups(client, topic, monkeypatch):
    first = [row(topic, 0, n) for n in range(5)]
    second = [row(topic, 0, n, label="positive", probabilities=[0.1, 0.1, 0.8]) for n in range(5, 9)]
    write(client, topic, first)

    def crash(*_, **__):
        raise RuntimeError("Code: 210. connection lost\nstack")

    with monkeypatch.context() as patch, pytest.raises(WarehouseError, match="connection lost") as caught:
        patch.setattr(client, "command", crash)
        write(client, topic, second)
    assert "stack" not in str(caught.value) and not isinstance(caught.value, UnreadableRows)
    assert sum(sums[3] for sums in in_rollup(client, topic, "hour").values()) == 5
    write(client, topic, second)
    same(client, topic, first + second)


@pytest.mark.parametrize(
    "broken",
    [
        b'{"partition": "zero"}',
        b"no json",
        b'{"label": "furious"}',
        b'{"predicted_at": "soon"}',
        b'{"probabilities": "all"}',
        b'{"offset": 1.5}',
    ],
)
def test_unreadable_row_differs_from_an_unavailable_warehouse(client, broken):
    topic = f"broken-{next(_count)}"
    good = [json.dumps(row(topic, 0, n), default=datetime.isoformat).encode() for n in range(3)]
    with pytest.raises(UnreadableRows) as caught:
        write_block(client, topic, [*good, broken], {0: (0, 3)})
    assert "\n" not in str(caught.value.found)
    write_block(client, topic, good, {0: (0, 2)})
    assert sum(sums[3] for sums in in_rollup(client, topic, "hour").values()) == 3


def test_empty_block_writes_nothing(client, topic):
    write_block(client, topic, [], {})
    assert in_messages(client, topic, 1) == {}


def test_a_block_with_dates_of_150_days(large, topic):
    rows = [
        row(topic, 0, n, created_at=NOW - timedelta(days=n), produced_at=NOW - timedelta(days=n), source="archive")
        for n in range(150)
    ]
    write(large, topic, rows)
    # Seconds are kept for 7 days, minutes for 90, so only the hours have to be there whatever was merged meanwhile.
    assert {key: sums[:4] for key, sums in in_rollup(large, topic, "hour").items()} == {
        key: sums[:4] for key, sums in counted(rows, 3600).items()
    }
    assert sum(sums[3] for sums in in_rollup(large, topic, "second").values()) >= 7


def test_a_refresh_of_more_than_a_million_seconds_is_one_block_for_the_views(large, topic):
    count = 1_100_000  # ClickHouse cuts at 1,048,449 rows
    large.command(
        "INSERT INTO predictions (topic, partition, offset, id, source, text, produced_at, event_at, predicted_at, label, "
        "confidence, probabilities, tier, model_version) SELECT {topic:String}, number % 200, intDiv(number, 200), '', "
        "toString(number % 200), '', {at:DateTime('UTC')}, {at:DateTime('UTC')} - intDiv(number, 200), {at:DateTime('UTC')}, "
        f"'neutral', 1, [0, 1, 0], '', '' FROM numbers({count})",
        parameters={"topic": topic, "at": NOW},
    )
    ranges = _ranges(dict.fromkeys(range(200), (0, count // 200)))
    large.command(_REFRESH.replace("RANGES", ranges), parameters={"topic": topic})
    for name in ROLLUPS:
        assert sum(sums[3] for sums in in_rollup(large, topic, name).values()) == count, name


def test_forget_topic_deletes_all_of_it_and_nothing_else(client, topic):
    other = topic + "-kept"
    for name in (topic, other):
        write(client, name, [row(name, n % 3, n) for n in range(30)] + [row(name, 0, 0)])
        client.insert("topics", [[name, "id", 3]], column_names=["topic", "topic_id", "partitions"])
    assert forget_topic(client, topic) == 30
    for table in ("predictions", "rollup_second", "rollup_minute", "rollup_hour", "topics"):
        count = f"SELECT countIf(topic = {{gone:String}}), countIf(topic = {{kept:String}}) > 0 FROM {table}"
        assert client.query(count, parameters={"gone": topic, "kept": other}).result_rows == [(0, True)], table
    assert forget_topic(client, topic) == 0
    rows = [row(topic, 0, n) for n in range(3)]
    write(client, topic, rows)  # a topic of that name may be used again
    same(client, topic, rows)


def test_old_rows_expire(client):
    kept = {"predictions": 90, "rollup_second": 7, "rollup_minute": 90, "rollup_hour": 730}
    tables = dict(
        client.query("SELECT name, create_table_query FROM system.tables WHERE database = currentDatabase()").result_rows
    )
    for table, days in kept.items():
        assert f"TTL {'toDateTime(written_at)' if table == 'predictions' else 'bucket'} + toIntervalDay({days})" in tables[table]
    assert "PARTITION BY toYYYYMMDD(produced_at)" in tables["predictions"]


def _index(client, sql, **parameters):
    """Granules read and there, and the names of the indices in use."""
    lines = [line[0].strip() for line in client.query("EXPLAIN indexes = 1 " + sql, parameters=parameters).result_rows]
    granules = [line.split()[-1].split("/") for line in lines if line.startswith("Granules: ") and "/" in line]
    return int(granules[-1][0]), int(granules[0][1]), " ".join(lines)


def test_reads_of_two_million_rows_skip_what_they_do_not_need(large, topic):
    large.command(
        "INSERT INTO predictions (topic, partition, offset, id, source, text, produced_at, predicted_at, label, confidence, "
        "probabilities, tier, model_version) SELECT {topic:String}, number % 6, intDiv(number, 6), '', 's', '', "
        "{at:DateTime('UTC')} + number / 1000, {at:DateTime('UTC')}, 'neutral', 1, [0, 1, 0], '', '' FROM numbers(2000000)",
        parameters={"topic": topic, "at": NOW},
    )
    refresh = _REFRESH[_REFRESH.index("SELECT") : _REFRESH.index("SETTINGS")]
    ranges = _ranges({partition: (200_000 + partition, 200_900) for partition in range(6)})
    read, there, _ = _index(large, refresh.replace("RANGES", ranges), topic=topic)
    assert there >= 1900 and read < 0.08 * there  # 6 of the 246 chunks, where parts overlap some more


# Migrations


def _old_rows(client, days, count=1000):
    """Rows in the table as it was before the stream, some of them twice."""
    old = (
        client.query(
            "SELECT 1 FROM system.columns WHERE database = currentDatabase() AND table = 'predictions' AND name = 'text'"
        ).result_rows
        == []
    )
    assert old
    for predicted in ("negative", "positive"):
        client.command(
            "INSERT INTO predictions SELECT 'old', number % 4, number, 'm' || toString(number), 'archive', "
            f"if(number % 2, now64(3) - number % 6000, NULL), now64(3) - toIntervalDay(number % {days}) + "
            f"{LABELS.index(predicted)}, '{predicted}', 0.9, "
            f"{'[0.9, 0.1, 0]' if predicted == 'negative' else '[0, 0.1, 0.9]'}, NULL, 'model', 'v1' FROM numbers({count}) "
            f"WHERE '{predicted}' = 'negative' OR number % 3 = 0 SETTINGS max_partitions_per_insert_block = 0"
        )


def _run(client, name):
    migrations._run(client, migrations._FOLDER / f"{name}.sql")


def _totals(client, table):
    return client.query(
        f"SELECT sum(negative), sum(positive), sum(messages), round(sum(score), 2) FROM {table} FINAL"
    ).result_rows[0]


def _message_totals(client):
    return client.query(
        "SELECT countIf(label = 'negative'), countIf(label = 'positive'), count(), "
        "round(sum(probabilities[3] - probabilities[1]), 2) FROM predictions FINAL"
    ).result_rows[0]


def _check_old(client):
    assert _message_totals(client) == (666, 334, 1000, pytest.approx(-0.9 * 666 + 0.9 * 334, abs=0.1))
    assert client.query(
        "SELECT max(n) FROM (SELECT count() AS n FROM predictions FINAL GROUP BY topic, partition, offset)"
    ).result_rows == [(1,)]
    assert client.query("SELECT DISTINCT source, model_version FROM predictions").result_rows == [("archive", "v1")]


def test_every_migration_goes_up_down_and_up_again(empty):
    assert [path.stem for path in pending(empty)] == ALL
    assert migrate(empty) == ALL and migrate(empty) == []
    tables = _tables(empty)
    for name in reversed(ALL):
        assert roll_back(empty) == name
    assert roll_back(empty) is None and _tables(empty) == {"migrations"}
    assert migrate(empty) == ALL and _tables(empty) == tables
    for name in reversed(ALL):
        while _newest(empty) >= name:
            roll_back(empty)
        assert migrate(empty) == ALL[ALL.index(name) :] and _tables(empty) == tables


def _tables(client):
    return {row[0] for row in client.query("SHOW TABLES").result_rows}


def _upgrade_from_the_first(client, monkeypatch, days):
    with monkeypatch.context() as patch:
        patch.setattr(migrations, "pending", lambda client: pending(client)[:1])
        assert migrate(client) == ALL[:1]
    _old_rows(client, days)


def test_rows_of_the_first_schema_are_migrated_and_counted(empty, monkeypatch):
    # More days, each a partition, than ClickHouse accepts in one block by default.
    _upgrade_from_the_first(empty, monkeypatch, days=101)
    assert migrate(empty) == ALL[1:]
    _check_old(empty)
    assert _totals(empty, "rollup_hour") == _message_totals(empty)
    assert empty.query("SELECT countIf(event_at = ifNull(created_at, produced_at)) FROM predictions FINAL").result_rows == [
        (1000,)
    ]
    more = [row("old", 0, n) for n in range(100_000, 100_010)]
    write(empty, "old", more)
    assert _totals(empty, "rollup_hour")[2] == 1010
    for name in reversed(ALL[1:]):
        assert roll_back(empty) == name
    assert _message_totals(empty)[2] == 1010  # all of them, without what the old table has no column for
    assert migrate(empty) == ALL[1:]
    assert _totals(empty, "rollup_hour") == _message_totals(empty) and _message_totals(empty)[2] == 1010


class _Cut(Exception):
    pass


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("way", ["up", "down"])
def test_a_migration_cut_off_anywhere_can_be_repeated(empty, monkeypatch, name, way):
    """Cut off before and after each statement in turn, then once more to the end: no row is lost or counted twice."""
    _upgrade_from_the_first(empty, monkeypatch, days=5)  # an index is built part by part, some tenth of a second each
    if way == "down":
        while _newest(empty) != name:
            roll_back(empty) if _newest(empty) > name else _next(empty, monkeypatch)
        step = lambda: roll_back(empty)  # noqa: E731
    else:
        while pending(empty) and pending(empty)[0].stem < name:
            _next(empty, monkeypatch)
        if name == ALL[0]:
            empty.command("TRUNCATE TABLE migrations")  # it was cut off before it was recorded
        step = lambda: _next(empty, monkeypatch)  # noqa: E731
    command, cuts = empty.command, 0
    for cut in range(40):
        calls = iter(range(100))

        def cutting(*given, calls=calls, cut=cut, **named):
            if next(calls) == cut:
                raise _Cut
            return command(*given, **named)

        monkeypatch.setattr(empty, "command", cutting)
        try:
            step()
            break
        except _Cut:
            cuts += 1
    monkeypatch.setattr(empty, "command", command)
    assert cuts >= 2
    if way == "down" and name == ALL[0]:
        assert _tables(empty) == {"migrations"}
        return
    migrate(empty)
    _check_old(empty)
    assert _totals(empty, "rollup_hour") == _message_totals(empty)
    assert _tables(empty) == {
        "alerts",
        "alert_acknowledgements",
        "alert_mutes",
        "forgotten",
        "migrations",
        "normal_minute",
        "notices",
        "predictions",
        "topics",
        *(f"rollup_{name}" for name in ROLLUPS),
        "rollup_minute_view",
        "rollup_hour_view",
    }


def _newest(client):
    return client.query("SELECT max(name) FROM migrations").result_rows[0][0]


def _next(client, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(migrations, "pending", lambda client: pending(client)[:1])
        migrate(client)


def test_a_warehouse_of_a_later_version_is_refused(large):
    large.command("INSERT INTO migrations VALUES ('0099_from_the_future', now())")
    with pytest.raises(WarehouseError, match=r"(?s)later version.*0099_from_the_future.*Update"):
        migrate(large)


# Whether a topic is the one that the warehouse knows


@pytest.fixture
def same_topic(client, monkeypatch, tmp_path, topic):
    from contextlib import contextmanager

    @contextmanager
    def connect(var, *, own):
        assert not own
        yield client

    monkeypatch.setattr(identity, "connect", connect)

    def check(topic_id, partitions):
        monkeypatch.setattr(identity, "_topic_id", lambda settings: topic_id)
        identity.require_same_topic(StreamSettings(topic=topic), tmp_path, partitions)

    return check


def test_recreated_topic_is_refused(same_topic, client, topic):
    same_topic("first", 6)
    same_topic("first", 6)
    with pytest.raises(StreamError, match=rf"(?s)not the one.*id second.*id first.*warehouse forget {topic}"):
        same_topic("second", 6)
    forget_topic(client, topic)
    same_topic("second", 6)


def test_a_topic_may_grow_but_not_shrink(same_topic):
    same_topic("id", 3)
    same_topic("id", 6)
    with pytest.raises(StreamError, match=r"(?s)found: 5 partitions.*expected: 6 partitions"):
        same_topic("id", 5)
