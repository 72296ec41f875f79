"""Blocks and rollups on chDB: a message counts once, by its last prediction, however often it is written."""

import json
from datetime import datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data.errors import StreamError, WarehouseError
from serving.settings import StreamSettings
from serving.streaming.worker import identity
from serving.warehouse.blocks import _REFRESH, CHUNK, UnreadableRows, _ranges, write_block
from serving.warehouse.connect import hold
from serving.warehouse.forget import forget_topic
from serving.warehouse.migrate import migrate
from tests.serving.warehouse_rows import LABELS, NOW, ROLLUPS, counted, empty_database, in_messages, in_rollup, row, write

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def var(tmp_path_factory):
    return tmp_path_factory.mktemp("var")


@pytest.fixture(scope="module")
def client(var):
    with hold(var) as client:
        yield client


@pytest.fixture
def large(client, var):
    """A database for many rows, dropped after the test."""
    with empty_database(client, var) as database:
        migrate(database)
        yield database


@pytest.fixture
def topic(request):
    return request.node.name


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
