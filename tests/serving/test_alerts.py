"""The alerts on a real warehouse, and a webhook that fails."""

import logging
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from datetime import timedelta

import numpy as np
import pytest

from data.artifacts import read_json, write_json
from data.contracts import Alert
from data.errors import StreamError
from serving.settings import AlertSettings, StreamSettings
from serving.streaming.alerts.calibration import (
    calibrate_from_warehouse,
    calibration_file,
    default_threshold,
    read_calibration,
    threshold_of,
)
from serving.streaming.alerts.detector import KEEP_S
from serving.streaming.alerts.drivers import moving_texts
from serving.streaming.alerts.process import run_alerts
from serving.streaming.alerts.rows import read_alerts, shift_of, slack_message, write_alerts
from serving.streaming.alerts.service import Alerts
from serving.warehouse.migrate import migrate
from tests.serving.alert_rows import alert_row
from tests.serving.webhooks import receiving

NOW = int(time.time()) // 30 * 30
"""Older rows would be deleted by the tables' time to live."""
START = NOW - 2000
COLUMNS = [
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


class Clock:
    """Time that stands until it is set."""

    def __init__(self, now=NOW):
        self.now = float(now)

    def __call__(self):
        return self.now


@pytest.fixture(scope="module")
def chdb(tmp_path_factory):
    import clickhouse_connect

    client = clickhouse_connect.get_client(interface="chdb", path=str(tmp_path_factory.mktemp("warehouse")))
    migrate(client)
    yield client
    client.close()


@pytest.fixture
def client(chdb):
    for table in ("rollup_second", "alerts", "predictions", "alert_mutes", "normal_minute"):
        chdb.command(f"TRUNCATE TABLE {table}")
    return chdb


@pytest.fixture
def webhook():
    with receiving() as receiver:
        yield receiver


def rows(first, stop, *, source="reviews", mean=0.0, rate=100, seed=0, partition=0):
    chance = np.random.default_rng([seed, first])
    out = []
    for second in range(first, stop):
        count = int(chance.poisson(rate))
        total = count * mean + np.sqrt(count) * 0.6 * chance.standard_normal()
        out.append([second, source, "t", partition, second // 80, 0, 0, 0, count, total, count * 0.36])
    return out


def put(client, *parts):
    client.insert("rollup_second", [row for part in parts for row in part], column_names=COLUMNS)


def watching(var, clock, published=None, **settings):
    return Alerts(var, AlertSettings(**settings), (published if published is not None else []).append, clock)


def play(client, alerts, clock, upto, step=5):
    """Poll until a time. Rows more than a minute ahead of the clock are not read yet, so the clock decides what is read."""
    while clock.now < upto:
        clock.now = min(clock.now + step, upto)
        alerts.poll(client)


def fill(client, alerts, clock, parts, step=5):
    every = sorted(row for part in parts for row in part)
    while every:
        clock.now += step
        ready = [row for row in every if row[0] < clock.now]
        every = every[len(ready) :]
        if ready:
            put(client, ready)
        alerts.poll(client)


def test_shift_is_published_once_when_it_opens_and_once_when_it_closes(client, tmp_path):
    put(client, rows(START, NOW))
    published, clock = [], Clock()
    alerts = watching(tmp_path, clock, published)
    alerts.poll(client)
    assert published == []
    fill(client, alerts, clock, [rows(NOW, NOW + 60, mean=-0.3), rows(NOW + 60, NOW + 200)], step=2)
    opened, closed = published
    assert (opened.direction, opened.source, opened.revision, closed.revision) == ("down", "reviews", 1, 2)
    assert opened.id == closed.id and opened.closed_at is None
    assert abs(opened.started_at.timestamp() - NOW) <= 3 and opened.detected_at.timestamp() - NOW <= 6
    assert closed.closed_at is not None and NOW + 90 <= closed.closed_at.timestamp() <= NOW + 150
    assert [alert.model_dump() for alert in read_alerts(client, opened.started_at)] == [closed.model_dump()]
    assert shift_of(closed).closed == closed.closed_at.timestamp()


@pytest.mark.slow
@pytest.mark.parametrize("cut", [3, 40, 95])
def test_kill_in_the_middle_of_a_shift_changes_no_alert(client, tmp_path, cut):
    put(client, rows(START, NOW))
    published, clock = [], Clock()
    watching(tmp_path, clock, published).poll(client)
    shift = [*rows(NOW, NOW + 60, mean=-0.3), *rows(NOW + 60, NOW + 200)]
    first = watching(tmp_path, clock, published)
    fill(client, first, clock, [shift[:cut]], step=1)  # and is killed: nothing is saved on the way out
    put(client, shift[cut : cut + 20])
    clock.now += 20
    second = watching(tmp_path, clock, published)
    second.poll(client)
    fill(client, second, clock, [shift[cut + 20 :]], step=3)
    assert [(alert.id, alert.revision) for alert in published] == [(published[0].id, 1), (published[0].id, 2)]
    assert abs(published[0].started_at.timestamp() - NOW) <= 3 and published[0].detected_at.timestamp() - NOW <= 6


def test_alert_that_was_written_but_not_published_is_published_after_a_restart(client, tmp_path):
    put(client, rows(START, NOW))
    clock = Clock()
    first = watching(tmp_path, clock)
    first.poll(client)
    fill(client, first, clock, [rows(NOW, NOW + 10, mean=-0.4)], step=1)
    state = tmp_path / "stream" / "alerts-state.json"
    write_json(state, {**read_json(state), "told": {}})
    published = []
    watching(tmp_path, clock, published).poll(client)
    assert [alert.revision for alert in published] == [1]


def test_duplicates_and_usual_late_rows_raise_no_alert(client, tmp_path):
    put(client, rows(START, NOW))
    published, clock = [], Clock()
    alerts = watching(tmp_path, clock, published)
    alerts.poll(client)
    quiet = rows(NOW, NOW + 60)
    fill(client, alerts, clock, [quiet], step=5)
    put(client, quiet, quiet, rows(NOW + 20, NOW + 40), rows(NOW - 300, NOW - 200, seed=3, partition=5))
    play(client, alerts, clock, clock.now + 10)
    fill(client, alerts, clock, [rows(NOW + 160, NOW + 200)], step=5)
    assert published == []


def test_shift_that_arrives_late_is_a_late_alert(client, tmp_path):
    put(client, rows(START, NOW))
    published, clock = [], Clock()
    alerts = watching(tmp_path, clock, published)
    alerts.poll(client)
    fill(client, alerts, clock, [rows(NOW, NOW + 400)], step=5)
    put(client, rows(NOW + 100, NOW + 130, mean=-0.9, partition=5))  # of a partition that was stuck
    play(client, alerts, clock, clock.now + 5, step=1)
    assert [(alert.direction, alert.revision) for alert in published] == [("down", 1), ("down", 2)]
    assert abs(published[0].started_at.timestamp() - NOW - 100) <= 3 and published[0].detected_at.timestamp() - NOW - 100 <= 6


def test_rows_older_than_any_baseline_are_ignored(client, tmp_path):
    put(client, rows(NOW - 13_000, NOW - 10_000), rows(NOW - 3_000, NOW))
    published, clock = [], Clock()
    write_json(tmp_path / "stream" / "alerts-state.json", {"judged": {"reviews": NOW - 9}, "told": {}})
    alerts = watching(tmp_path, clock, published)
    alerts.poll(client)
    watch = alerts._sources["reviews"].watch
    before = watch.seconds.count.copy()
    put(client, rows(NOW - KEEP_S - 600, NOW - KEEP_S - 100, mean=-0.9, partition=5))
    play(client, alerts, clock, clock.now + 5, step=1)
    assert published == [] and watch.seconds.count.tolist() == before.tolist()


def test_source_with_a_clock_ahead_does_not_affect_another(client, tmp_path):
    put(client, rows(START, NOW), rows(START + 45, NOW + 45, source="ahead"), rows(NOW + 100_000, NOW + 100_010, source="ahead"))
    published, clock = [], Clock()
    alerts = watching(tmp_path, clock, published)
    alerts.poll(client)
    fill(client, alerts, clock, [rows(NOW, NOW + 20, mean=0.4)], step=1)
    assert [(alert.source, alert.direction) for alert in published] == [("reviews", "up")]


def test_the_alert_of_a_source_that_fell_silent_is_closed(client, tmp_path):
    put(client, rows(START, NOW))
    published, clock = [], Clock()
    alerts = watching(tmp_path, clock, published)
    alerts.poll(client)
    fill(client, alerts, clock, [rows(NOW, NOW + 20, mean=-0.4)], step=1)
    play(client, alerts, clock, NOW + 130)
    assert [alert.revision for alert in published] == [1]
    play(client, alerts, clock, NOW + 150)
    assert [alert.revision for alert in published] == [1, 2]
    assert published[1].closed_at.timestamp() == NOW + 20


def test_silent_source_is_dropped_from_memory_and_watched_again_when_it_returns(client, tmp_path):
    put(client, rows(START, NOW), rows(START, NOW, source="silent"))
    published, clock = [], Clock()
    alerts = watching(tmp_path, clock, published)
    alerts.poll(client)
    for _ in range(10):
        put(client, rows(int(clock.now), int(clock.now) + 1))
        clock.now += 400
        alerts._polled_at = clock.now  # it polls twice a second; the test does not
        alerts.poll(client)
    assert set(alerts._sources) == {"reviews"}
    back = int(clock.now)
    put(client, rows(back - 900, back, source="silent"), rows(back, back + 20, source="silent", mean=-0.4))
    play(client, alerts, clock, back + 24, step=1)
    assert [(alert.source, alert.direction) for alert in published] == [("silent", "down")]


def test_new_source_and_a_source_of_last_week_are_watched(client, tmp_path):
    put(client, rows(START, NOW))
    published, clock = [], Clock()
    alerts = watching(tmp_path, clock, published)
    alerts.poll(client)
    old = NOW - 5 * 86_400
    play(client, alerts, clock, NOW + 121, step=30)  # what comes later is no history
    put(client, rows(NOW, NOW + 5), rows(old, old + 900, source="old"))
    play(client, alerts, clock, NOW + 132)
    put(client, rows(old + 900, old + 930, source="old", mean=-0.5))
    play(client, alerts, clock, NOW + 142)
    assert [(alert.source, alert.direction) for alert in published] == [("old", "down")]


def test_a_source_that_catches_up_is_evaluated_on_all_of_its_messages(client, tmp_path):
    put(client, rows(START, NOW), rows(START, NOW - 900, source="slow"))
    published, clock = [], Clock()
    alerts = watching(tmp_path, clock, published)
    alerts.poll(client)
    late = rows(NOW - 900, NOW, source="slow", seed=5)
    for part in (late[:200], late[200:]):
        put(client, part, rows(int(clock.now), int(clock.now) + 2))
        clock.now += 2
        alerts.poll(client)
    play(client, alerts, clock, clock.now + 5, step=1)
    slow = alerts._sources["slow"].watch
    assert slow.seconds.count[-900:].tolist() == [row[8] for row in late] and slow.evaluated_to == NOW - 2 and published == []


def test_history_before_the_first_start_raises_no_alert(client, tmp_path):
    put(client, rows(START, NOW - 300), rows(NOW - 300, NOW - 200, mean=-0.4), rows(NOW - 200, NOW))
    published, clock = [], Clock()
    alerts = watching(tmp_path, clock, published)
    alerts.poll(client)
    fill(client, alerts, clock, [rows(NOW, NOW + 30)])
    assert published == []


class Unavailable:
    """A client whose warehouse fails for some calls while `fail` is set."""

    def __init__(self, client, what):
        self.client, self.what = client, what
        self.fail = False

    def __getattr__(self, name):
        if self.fail and name in self.what:
            raise ConnectionError("down")
        return getattr(self.client, name)


def test_an_alert_that_could_not_be_written_is_written_when_the_warehouse_is_back(client, tmp_path):
    put(client, rows(START, NOW))
    published, clock, flaky = [], Clock(), Unavailable(client, {"insert"})
    alerts = watching(tmp_path, clock, published)
    alerts.poll(flaky)
    put(client, rows(NOW, NOW + 9, mean=-0.4))
    clock.now += 9
    flaky.fail = True
    for _ in range(2):
        with pytest.raises(ConnectionError):
            alerts.poll(flaky)
        alerts.save()
    assert published == [] and read_alerts(client, read_time(START)) == []
    flaky.fail = False
    alerts.poll(flaky)
    assert [alert.revision for alert in published] == [1] and len(read_alerts(client, read_time(START))) == 1


def read_time(second):
    from datetime import UTC, datetime

    return datetime.fromtimestamp(second, UTC)


def test_alert_holds_the_texts_that_moved_it_most(client, tmp_path):
    put(client, rows(START, NOW))
    published, clock = [], Clock()
    alerts = watching(tmp_path, clock, published)
    alerts.poll(client)
    texts = [
        [
            "t",
            0,
            offset,
            str(offset),
            source,
            text,
            read_time(at),
            read_time(at),
            read_time(at),
            label,
            0.9,
            probabilities,
            "m",
            "v",
        ]
        for offset, (at, source, text, label, probabilities) in enumerate(
            [
                (NOW, "reviews", "awful", "negative", [0.9, 0.1, 0.0]),
                (NOW, "reviews", "awful", "negative", [0.9, 0.1, 0.0]),
                (NOW, "reviews", "bad <b> & so on", "negative", [0.8, 0.1, 0.1]),
                (NOW, "reviews", "lovely", "positive", [0.0, 0.1, 0.9]),
                (NOW, "other", "worse than awful", "negative", [1.0, 0.0, 0.0]),
                (NOW - 500, "reviews", "before", "negative", [1.0, 0.0, 0.0]),
            ]
        )
    ]
    names = [
        "topic",
        "partition",
        "offset",
        "id",
        "source",
        "text",
        "created_at",
        "produced_at",
        "predicted_at",
        "label",
        "confidence",
        "probabilities",
        "tier",
        "model_version",
    ]
    client.insert("predictions", texts + texts[:1], column_names=names)
    fill(client, alerts, clock, [rows(NOW, NOW + 20, mean=-0.4)], step=1)
    assert published[0].texts == ("awful", "bad <b> & so on", "lovely")
    assert moving_texts(client, "reviews", shift_of(published[0]), limit=1) == ["awful"]
    line, blocks = slack_message(published[0])
    assert "reviews went down by" in line and "points" in line and "bad &lt;b&gt; &amp; so on" in blocks[1]["text"]["text"]


def test_only_the_alert_of_a_muted_source_is_recorded_as_muted(client, tmp_path):
    put(client, rows(START, NOW), rows(START, NOW, source="other"))
    columns = ["source", "muted_until", "muted_by", "muted_at"]
    client.insert("alert_mutes", [["reviews", read_time(NOW + 600), "desk", read_time(NOW)]], column_names=columns)
    published, clock = [], Clock()
    alerts = watching(tmp_path, clock, published)
    alerts.poll(client)
    shift = [rows(NOW, NOW + 20, mean=-0.4, source=source) for source in ("reviews", "other")]
    fill(client, alerts, clock, shift, step=1)
    assert {alert.source: alert.muted for alert in published} == {"reviews": True, "other": False}
    assert {alert.source: alert.muted for alert in read_alerts(client, read_time(START))} == {"reviews": True, "other": False}


NOON = read_time(NOW // 86_400 * 86_400 + 43_200)
ALERT = Alert.model_validate(alert_row("a", NOON, source="reviews"))


def test_writing_an_alert_twice_leaves_one(client):
    write_alerts(client, [ALERT, ALERT])
    write_alerts(client, [ALERT.model_copy(update={"revision": 2, "closed_at": NOON + timedelta(seconds=60)})])
    write_alerts(client, [ALERT])
    (found,) = read_alerts(client, NOON)
    assert found.revision == 2 and found.closed_at == NOON + timedelta(seconds=60)


def test_calibration_leaves_out_alerts_and_is_used_at_once(client, tmp_path):
    settings = AlertSettings(alarms_per_week=2.0)
    assert threshold_of(tmp_path, settings, "reviews") == default_threshold(2.0)
    end = int(time.time()) // 30 * 30
    put(
        client,
        rows(end - 3 * 3600, end),
        rows(end - 7200, end - 6000, mean=-0.5, partition=1),
        rows(end - 600, end, source="new"),
    )
    before = calibrate_from_warehouse(client, tmp_path, settings)[1]
    shift = {
        "started_at": read_time(end - 7200),
        "detected_at": read_time(end - 7197),
        "closed_at": read_time(end - 5900),
        "revision": 2,
    }
    write_alerts(client, [ALERT.model_copy(update={**shift, "revision": 2})])
    new, reviews = calibrate_from_warehouse(client, tmp_path, settings)
    assert (new.source, new.weeks, new.threshold) == ("new", 0.0, round(default_threshold(2.0), 3))
    assert reviews.weeks > 0 and reviews.history_s < before.history_s and reviews.threshold < before.threshold
    assert reviews.threshold == pytest.approx(default_threshold(2.0), abs=0.6)
    assert read_calibration(tmp_path)["reviews"] == reviews and threshold_of(tmp_path, settings, "reviews") == reviews.threshold
    assert threshold_of(tmp_path, AlertSettings(alarms_per_week=3.0), "reviews") == default_threshold(3.0)
    assert threshold_of(tmp_path, AlertSettings(threshold=7.0), "reviews") == 7.0
    calibration_file(tmp_path).write_text("{")
    assert threshold_of(tmp_path, settings, "reviews") == default_threshold(2.0)


_SERVER = """
import sys
from pathlib import Path
from serving.warehouse.server import serve_warehouse
serve_warehouse(Path(sys.argv[1]), 0, ready=lambda port: print(port, flush=True))
"""


@pytest.fixture
def warehouse_server(tmp_path):
    """A warehouse server in a process of its own: chDB opens one folder a process."""
    with subprocess.Popen([sys.executable, "-c", _SERVER, str(tmp_path)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.readline()
        yield
        process.kill()


@pytest.mark.integration
def test_alerts_work_the_same_through_the_warehouse_server(warehouse_server, tmp_path):
    from serving.warehouse.connect import connect

    published, clock = [], Clock()
    with connect(tmp_path, own=False) as client:
        put(client, rows(START, NOW))
        alerts = watching(tmp_path, clock, published)
        alerts.poll(client)
        fill(client, alerts, clock, [rows(NOW, NOW + 20, mean=-0.4)], step=2)
        assert [alert.revision for alert in published] == [1]
        assert read_alerts(client, read_time(START)) == published
        assert moving_texts(client, "reviews", shift_of(published[0])) == []
        assert [row.source for row in calibrate_from_warehouse(client, tmp_path, AlertSettings())] == ["reviews"]


@pytest.mark.integration
def test_loop_survives_an_unavailable_warehouse_and_publishes_to_topic_and_webhook(client, tmp_path, webhook, caplog):
    from confluent_kafka import Consumer

    from serving.streaming.broker import ALERTS, QUIET, in_process_broker

    caplog.set_level(logging.INFO)
    end = int(time.time())
    put(client, rows(end - 2000, end - 30), rows(end - 30, end, mean=-0.4))
    write_json(tmp_path / "stream" / "alerts-state.json", {"judged": {"reviews": end - 60}, "told": {}})
    tries, stop, published = [], threading.Event(), []

    @contextmanager
    def connect():
        tries.append(1)
        if len(tries) < 2:
            raise ConnectionError("connection refused")
        yield client

    webhook.statuses = [500, 500]
    with in_process_broker() as bootstrap:
        consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "g", "auto.offset.reset": "earliest", **QUIET})
        consumer.subscribe([ALERTS])
        settings = AlertSettings.model_validate({"webhook": f"http://127.0.0.1:{webhook.server_port}/secret-token"})
        stream = StreamSettings(bootstrap=bootstrap)

        def on_published(alert):
            published.append(alert)
            stop.set()

        thread = threading.Thread(
            target=run_alerts,
            kwargs={
                "var": tmp_path,
                "stop": stop,
                "settings": settings,
                "stream": stream,
                "connect": connect,
                "published": on_published,
            },
        )
        thread.start()
        assert stop.wait(150)
        thread.join(100)
        message = None
        for _ in range(100):
            message = consumer.poll(0.2)
            if message is not None and message.error() is None:
                break
        consumer.close()
    assert not thread.is_alive()
    assert Alert.model_validate_json(message.value()) == published[0] and message.key() == published[0].id.encode()
    assert [body["text"] for body in webhook.got] == [slack_message(published[0])[0]] * 3
    assert "Alerts wait for the warehouse: connection refused" in caplog.text and "responds again" in caplog.text
    assert "secret-token" not in caplog.text


def test_second_alerts_process_in_a_folder_is_refused(tmp_path):
    from filelock import FileLock

    (tmp_path / "stream").mkdir()
    with FileLock(tmp_path / "stream" / "alerts.lock"), pytest.raises(StreamError, match="already watched"):
        run_alerts(tmp_path, stop=threading.Event(), settings=AlertSettings(), stream=StreamSettings())


def test_seconds_waiting_for_reevaluation_are_evaluated_after_a_restart(client, tmp_path):
    put(client, rows(START, NOW))
    published, clock = [], Clock()
    first = watching(tmp_path, clock, published)
    first.poll(client)
    fill(client, first, clock, [rows(NOW, NOW + 200)], step=5)
    put(client, rows(NOW + 100, NOW + 120, mean=-0.9, partition=5))
    clock.now += 1
    first.poll(client)  # most of it is late: it waits
    first.save()
    assert published == []
    client.command("ALTER TABLE rollup_second UPDATE changed_at = now64(3) - INTERVAL 1 HOUR WHERE 1 SETTINGS mutations_sync = 1")
    second = watching(tmp_path, clock, published)
    second.poll(client)
    play(client, second, clock, clock.now + 5, step=1)
    assert [(alert.direction, alert.revision) for alert in published] == [("down", 1), ("down", 2)]
