"""Migrations of the warehouse on chDB: up, down, cut off anywhere, and with rows of the first schema."""

import pytest

from data.errors import WarehouseError
from serving.warehouse import migrate as migrations
from serving.warehouse.connect import hold
from serving.warehouse.migrate import migrate, pending, roll_back
from tests.serving.warehouse_rows import LABELS, ROLLUPS, empty_database, row, write

ALL = [
    "0001_predictions",
    "0002_stream",
    "0003_rollups",
    "0004_alerts_and_topics",
    "0005_times",
    "0006_alert_life",
    "0007_forgotten",
    "0008_shares",
    "0009_points",
    "0010_domains",
]

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    var = tmp_path_factory.mktemp("var")
    with hold(var) as client:
        yield client, var


@pytest.fixture
def empty(first):
    with empty_database(*first) as database:
        yield database


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
    # More days, each a partition, than ClickHouse accepts in one block: 100 by default, here 10, which takes a tenth of the time.
    _upgrade_from_the_first(empty, monkeypatch, days=11)
    empty.command("SET max_partitions_per_insert_block = 10")
    with pytest.raises(Exception, match="Too many partitions"):
        empty.command(
            "CREATE TABLE days ENGINE = MergeTree ORDER BY number PARTITION BY number AS SELECT number FROM numbers(11)"
        )
    empty.command("DROP TABLE IF EXISTS days")
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


def test_a_warehouse_of_a_later_version_is_refused(empty):
    migrate(empty)
    empty.command("INSERT INTO migrations VALUES ('0099_from_the_future', now())")
    with pytest.raises(WarehouseError, match=r"(?s)later version.*0099_from_the_future.*Update"):
        migrate(empty)
