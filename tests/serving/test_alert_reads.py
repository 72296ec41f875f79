"""Reads of the alerts from the warehouse: only the seconds that changed."""

import json
import time
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from serving.streaming.alerts.reads import Changes, first_changed, newest_seconds, read_seconds
from serving.warehouse.blocks import write_block
from serving.warehouse.migrate import migrate
from tests.serving.fake_warehouse import FakeWarehouse

NOW = int(time.time()) // 60 * 60


@pytest.fixture(scope="module")
def chdb(tmp_path_factory):
    import clickhouse_connect

    client = clickhouse_connect.get_client(interface="chdb", path=str(tmp_path_factory.mktemp("warehouse")))
    migrate(client)
    yield client
    client.close()


@pytest.fixture
def client(chdb):
    for table in ("rollup_second", "predictions"):
        chdb.command(f"TRUNCATE TABLE {table}")
    return chdb


def write(client, messages, *, written=None, predicted=None):
    """Write messages (second, source, partition, offset, score) like a worker, perhaps with an old time."""
    rows, spans = [], {}
    for second, source, partition, offset, score in messages:
        at = datetime.fromtimestamp(second, UTC)
        row = {
            "topic": "t",
            "partition": partition,
            "offset": offset,
            "id": f"{partition}-{offset}",
            "source": source,
            "text": "x",
            "created_at": at,
            "produced_at": at,
            "predicted_at": predicted or at,
            "label": "neutral",
            "confidence": 0.5,
            "probabilities": [max(0.0, -score), 0.0, max(0.0, score)],
            "sarcasm": None,
            "tier": "base",
            "model_version": "v",
        }
        rows.append(json.dumps(row | ({"written_at": written} if written else {}), default=datetime.isoformat).encode())
        first, last = spans.get(partition, (offset, offset))
        spans[partition] = min(first, offset), max(last, offset)
    write_block(client, "t", rows, spans)


def past(count=600, *, partition=0, source="s", first=NOW - 900):
    return [(first + n, source, partition, n, 0.5) for n in range(count)]


LONG_AGO = datetime.fromtimestamp(NOW, UTC) - timedelta(minutes=20)


def test_read_returns_the_seconds_that_a_block_changed_and_not_its_whole_chunk(client):
    write(client, past(), written=LONG_AGO)
    changes = Changes(int(time.time() * 1000))
    assert changes.read(client, NOW) == {}
    write(client, [(NOW - 850, "s", 0, 7_000, -0.5), (NOW - 10, "s", 1, 1, 0.25), (NOW - 10, "other", 1, 2, 0.75)])
    tables = changes.read(client, NOW + 1)
    assert {name: table.tolist() for name, table in tables.items()} == {
        "s": [[NOW - 850, 2, 0, 0.5], [NOW - 10, 1, 0.25, 0.0625]],
        "other": [[NOW - 10, 1, 0.75, 0.5625]],
    }
    assert first_changed(client, NOW, changes.mark) == {"s": NOW - 850, "other": NOW - 10}


def test_a_message_classified_again_changes_its_second(client):
    write(client, past(), written=LONG_AGO)
    changes = Changes(int(time.time() * 1000))
    write(client, [(NOW - 880, "s", 0, 20, -0.75)], predicted=datetime.fromtimestamp(NOW, UTC))
    assert changes.read(client, NOW)["s"].tolist() == [[NOW - 880, 1, -0.75, 0.5625]]


def test_unconfirmed_read_is_repeated(client):
    write(client, past(3), written=datetime.now(UTC) - timedelta(seconds=30))
    changes = Changes(0)
    changes.seen()
    first = changes.read(client, NOW)
    assert changes.mark == 0 and len(changes.read(client, NOW)["s"]) == len(first["s"]) == 3
    changes.seen()
    assert changes.mark > 0


def test_warehouse_clock_that_is_set_back_hides_no_change(client):
    write(client, past(3), written=datetime.now(UTC) + timedelta(hours=1))
    changes = Changes(newest_seconds(client, NOW)[1])
    changes.read(client, NOW)
    changes.seen()
    write(client, [(NOW - 5, "s", 0, 50, 0.5)])
    assert NOW - 5 in changes.read(client, NOW + 1)["s"][:, 0]


def test_rows_older_than_the_column_have_an_old_time(client):
    columns = "bucket, source, topic, partition, chunk, negative, neutral, positive, messages, score, score_squared"
    client.command("ALTER TABLE rollup_second DROP INDEX changed_range")
    client.command("ALTER TABLE rollup_second DROP COLUMN changed_at")
    client.command(f"INSERT INTO rollup_second ({columns}) VALUES ({NOW - 60}, 's', 't', 0, 0, 0, 1, 0, 1, 0.5, 0.25)")
    client.command("DELETE FROM migrations WHERE name = '0006_alert_life'")
    migrate(client)
    assert newest_seconds(client, NOW) == ({"s": NOW - 60}, 0)
    assert Changes(int(time.time() * 1000)).read(client, NOW) == {}
    assert read_seconds(client, {"s": (NOW - 100, NOW)})["s"].tolist() == [[NOW - 60, 1, 0.5, 0.25]]
    client.command(f"INSERT INTO rollup_second ({columns}) VALUES ({NOW - 50}, 's', 't', 0, 1, 0, 1, 0, 1, 0.5, 0.25)")
    assert Changes(int(time.time() * 1000)).read(client, NOW)["s"].tolist() == [[NOW - 50, 1, 0.5, 0.25]]


def test_each_source_is_read_from_its_own_first_second(client):
    old = NOW - 86_400
    write(client, past(), written=LONG_AGO)
    write(client, past(partition=1, source="old", first=old), written=LONG_AGO)
    write(client, past(partition=2, source="third"), written=LONG_AGO)
    tables = read_seconds(
        client, {"s": (NOW - 400, NOW), "old": (old + 590, NOW), "third": (NOW - 500, NOW - 450), "none": (0, 9)}
    )
    assert [int(tables[name][0, 0]) for name in ("s", "old", "third")] == [NOW - 400, old + 590, NOW - 500]
    assert [len(tables[name]) for name in ("s", "old", "third", "none")] == [100, 10, 51, 0]
    assert (np.diff(tables["s"][:, 0]) == 1).all()


def test_fake_warehouse_returns_the_same_results_as_chdb(client):
    chance = np.random.default_rng(3)
    fake = FakeWarehouse(time.time)
    messages = [
        (NOW - int(chance.integers(1, 300)), str(chance.choice(["a", "b"])), n % 2, n * 40, round(float(chance.normal()) / 4, 3))
        for n in range(400)
    ]
    for block in (messages[:250], messages[200:300], messages[:10], messages[300:]):
        write(client, block)
        fake.write(block)
    wanted = {"a": (NOW - 200, NOW), "b": (NOW - 400, NOW - 20)}
    for read in (
        lambda one: newest_seconds(one, NOW)[0],
        lambda one: first_changed(one, NOW, int(time.time() * 1000)),
        lambda one: {name: np.round(table, 4).tolist() for name, table in read_seconds(one, wanted).items()},
        lambda one: {name: np.round(table, 4).tolist() for name, table in Changes(0).read(one, NOW).items()},
    ):
        mine, other = read(client), read(fake)
        for name in other:
            assert np.allclose(mine[name], other[name], atol=2e-4), name
        assert mine.keys() == other.keys()
