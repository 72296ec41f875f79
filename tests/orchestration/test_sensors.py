"""Sensors and schedules through Dagster's own evaluation, and once with the daemon really running."""

import json
import os
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import dagster as dg
import pytest
from dagster._core.events import DagsterEvent, DagsterEventType
from dagster._core.test_utils import create_run_for_test

from data.artifacts import write_json
from data.feedback import FeedbackLabel, open_feedback
from orchestration.definitions import defs
from orchestration.jobs import RETRAIN
from orchestration.layout import Layout
from orchestration.schedules import schedules
from orchestration.sensors import CAUSE_TAG, REASON_TAG, TEXT_TAG, new_labels, production_quality
from orchestration.steps.data import build_splits, fetch_datasets, training_rows
from orchestration.steps.retraining_state import TRAINED_FILE, labeled, read_state
from serving.ledger import append_move
from serving.webhook import notify
from tests.make import rows, write_dataset
from tests.waiting import until

ROOT = Path(__file__).parents[2]
FEEDBACK = {"domain": "support", "license": "ours", "feedback": True, "train": True}


def tick(sensor, *, instance=None):
    if instance is None:
        with dg.DagsterInstance.ephemeral() as own:
            return tick(sensor, instance=own)
    return sensor.evaluate_tick(dg.build_sensor_context(instance=instance, definitions=defs, sensor_name=sensor.name))


def trained_on(layout, *, fewer):
    """The last training used all but `fewer` of the training rows there are now (those of the project's own sample)."""
    build_splits(layout, fetch_datasets(layout))
    trained = labeled(layout)
    name = next(iter(trained["training_rows"]))
    trained["training_rows"][name] -= fewer
    trained["sources"][name] = "another file"
    write_json(layout.gate / TRAINED_FILE, trained)


def end_run(instance, request, status):
    """Create a run that the sensor requested, ended with this status."""
    run = create_run_for_test(instance, job_name=RETRAIN, tags=request.tags, status=dg.DagsterRunStatus.STARTED)
    event = {"succeeded": DagsterEventType.RUN_SUCCESS, "failed": DagsterEventType.RUN_FAILURE}.get(status)
    if event:
        instance.report_dagster_event(DagsterEvent(event_type_value=event.value, job_name=RETRAIN), run_id=run.run_id)


def test_new_rows_request_one_run_for_each_state_of_the_data(monkeypatch):
    layout = Layout.load()
    monkeypatch.setenv("GROUNDSWELL_RETRAINING__MIN_NEW_ROWS", "20")
    assert "Nothing has been trained yet" in str(tick(new_labels).skip_message)
    trained_on(layout, fewer=19)
    assert "at most 19 new labeled rows for training, minimum 20" in str(tick(new_labels).skip_message)
    trained_on(layout, fewer=20)
    one, again = tick(new_labels).run_requests, tick(new_labels).run_requests
    assert len(one) == 1 and one[0].run_key == again[0].run_key, "the same state, the same key, cursor or no cursor"
    assert one[0].tags[REASON_TAG] == "new_labels" and "20 new labeled rows" in one[0].tags[TEXT_TAG]


def test_a_running_retraining_is_waited_for_and_a_failed_one_is_tried_again_after_a_pause(monkeypatch):
    layout = Layout.load()
    monkeypatch.setenv("GROUNDSWELL_RETRAINING__MIN_NEW_ROWS", "20")
    trained_on(layout, fewer=30)
    with dg.DagsterInstance.ephemeral() as instance:
        first = tick(new_labels, instance=instance).run_requests[0]
        end_run(instance, first, "running")
        assert "A retraining is running" in str(tick(new_labels, instance=instance).skip_message)
    with dg.DagsterInstance.ephemeral() as instance:
        end_run(instance, first, "failed")
        assert "1 failed in a row; the next attempt is due at" in str(tick(new_labels, instance=instance).skip_message)
        monkeypatch.setenv("GROUNDSWELL_RETRAINING__RETRY_AFTER_MINUTES", "1e-9")
        second = tick(new_labels, instance=instance).run_requests[0]
        assert second.run_key != first.run_key and second.tags[CAUSE_TAG] == first.tags[CAUSE_TAG]
        end_run(instance, second, "failed")
        end_run(instance, second, "failed")
        assert "has failed 3 times" in str(tick(new_labels, instance=instance).skip_message)
    with dg.DagsterInstance.ephemeral() as instance:
        end_run(instance, first, "succeeded")
        assert "retrained for this cause already" in str(tick(new_labels, instance=instance).skip_message)


def test_low_quality_and_age_request_a_run_with_the_reason(monkeypatch):
    layout = Layout.load()
    assert "No model is in production yet" in str(tick(production_quality).skip_message)
    move = {"alias": "production", "to": "1", "bundle": "bundles/m-1", "at": datetime.now(UTC).isoformat()}
    append_move(layout.var, move)
    assert "not measured yet" in str(tick(production_quality).skip_message)
    write_json(layout.quality, {"version": "m-1", "skipped": "12 rows have been labeled since the model was promoted"})
    assert "12 rows have been labeled" in str(tick(production_quality).skip_message)
    measured = {"version": "m-1", "rows": 300, "macro_recall": {"value": 0.55, "low": 0.5, "high": 0.59}}
    write_json(layout.quality, measured)
    request = tick(production_quality).run_requests[0]
    assert "macro-recall 0.5500 [0.5000, 0.5900] on 300 rows, floor 0.6000" in request.tags[TEXT_TAG]
    write_json(layout.quality, measured | {"version": "m-0"})
    assert "macro-recall of m-1 not measured yet" in str(tick(production_quality).skip_message)
    append_move(layout.var, move | {"at": (datetime.now(UTC) - timedelta(days=60)).isoformat()})
    stale = tick(production_quality).run_requests[0]
    assert "60 days" in stale.tags[TEXT_TAG] and stale.run_key != request.run_key


@pytest.mark.integration
def test_a_tick_fetches_and_writes_nothing(place, monkeypatch):
    """Not with new feedback, not with a changed file, and not for a dataset that is only on the hub."""
    on_hub = {"domain": "tweets", "license": "ours", "train": True, "hub": {"id": "who/texts", "revision": "a" * 40}}
    place.catalog(feedback=FEEDBACK, only_on_the_hub=on_hub)
    build_splits(place.layout, fetch_datasets(place.layout))
    write_json(place.layout.gate / TRAINED_FILE, labeled(place.layout))
    open_feedback(place.layout.var).add(FeedbackLabel("a flight of its own", "negative", "ann"))
    place.write(rows(110))

    def files():
        return {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in place.root.rglob("*")}

    before = files()
    for enough in (1, 10_000):
        monkeypatch.setenv("GROUNDSWELL_RETRAINING__MIN_NEW_ROWS", str(enough))
        for sensor in (new_labels, production_quality):
            result = tick(sensor)
            assert result.run_requests or result.skip_message
    assert files() == before


@pytest.mark.integration
@pytest.mark.parametrize(
    ("labels", "new"),
    [
        ([], 0),
        ([("a flight of its own", "negative")], 1),
        ([("a flight of its own", "negative"), ("A flight of its own!", "negative")], 1),  # a duplicate
        ([(rows(100)[0]["text"], "negative")], 0),  # a training row already
        ([(next(row["text"] for row in rows(100) if row["split"] == "test"), "neutral")], 0),  # of the test split
        ([(f"complaint about seat {n} and meal {n * 7}", "negative") for n in range(40)], 40),
        ([("\u200b", "negative"), ("much too long " * 1000, "negative")], 0),
    ],
)
def test_the_count_of_new_rows_is_that_of_the_splits(place, labels, new):
    place.catalog(feedback=FEEDBACK)
    before = build_splits(place.layout, fetch_datasets(place.layout))
    write_json(place.layout.gate / TRAINED_FILE, labeled(place.layout))
    for text, label in labels:
        open_feedback(place.layout.var).add(FeedbackLabel(text, label, "ann"))
    assert read_state(place.layout, enough=1).new_rows == new
    at_most = read_state(place.layout, enough=10_000).new_rows
    assert at_most is not None and new <= at_most <= len(labels)
    after = build_splits(place.layout, fetch_datasets(place.layout))
    assert sum(training_rows(after.rows).values()) - sum(training_rows(before.rows).values()) == new


@pytest.mark.integration
def test_rows_that_are_for_evaluation_only_or_for_other_splits_are_not_new_labels(place):
    other = {"domain": "tweets", "license": "ours", "local": "other"}
    place.catalog(other=other)
    write_dataset(place.root / "texts", rows(30), "other")
    build_splits(place.layout, fetch_datasets(place.layout))
    write_json(place.layout.gate / TRAINED_FILE, labeled(place.layout))
    write_dataset(place.root / "texts", rows(100), "other")
    assert read_state(place.layout, enough=1).new_rows == 0, "models do not learn from it"
    place.write(rows(100) + [row | {"id": f"x-{row['id']}", "text": f"new {row['text']}", "split": "test"} for row in rows(20)])
    assert read_state(place.layout, enough=1).new_rows == 0, "the test split grew"
    place.write(rows(110))
    assert read_state(place.layout, enough=1).new_rows == 21


def test_weekly_schedule_requests_a_run_on_mondays():
    (schedule,) = (each for each in schedules() if each.name == "weekly_retraining")
    context = dg.build_schedule_context(scheduled_execution_time=datetime(2026, 3, 2, 3, tzinfo=UTC))
    found = schedule.evaluate_tick(context)
    assert len(found.run_requests or []) == 1
    assert schedule.cron_schedule == "0 3 * * 1" and schedule.job_name == RETRAIN


class _Hook(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.got.append(json.loads(body))
        self.send_response(self.server.statuses.pop(0) if self.server.statuses else 200)
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture
def webhook():
    server = HTTPServer(("127.0.0.1", 0), _Hook)
    server.got, server.statuses = [], []
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


def test_failed_webhook_is_retried_and_its_address_is_not_logged(webhook, caplog):
    url = f"http://127.0.0.1:{webhook.server_port}/secret-token"
    webhook.statuses = [500]
    assert notify(url, "it failed")
    assert webhook.got == [{"text": "it failed"}] * 2
    webhook.statuses = [500] * 3
    assert not notify(url, "again")
    assert "HTTPStatusError" in caplog.text and "secret-token" not in caplog.text


_LOCATION = """
import dagster as dg
from orchestration.sensors import new_labels, run_failed

@dg.op
def fail(): raise RuntimeError("on purpose")

@dg.job
def retrain(): fail()

defs = dg.Definitions(jobs=[retrain], sensors=[new_labels, run_failed])
"""


@pytest.mark.integration
def test_with_the_daemon_running_new_rows_start_one_run_and_its_failure_reaches_the_webhook(webhook, tmp_path, monkeypatch):
    """The project's own sensors, started by Dagster's daemon; the job they start fails on purpose, so that both are seen."""
    layout = Layout.load()
    trained_on(layout, fewer=20)
    (tmp_path / "location.py").write_text(_LOCATION)
    home = tmp_path / "dagster"
    home.mkdir()
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    environment = {
        **os.environ,
        "DAGSTER_HOME": str(home),
        "GROUNDSWELL_RETRAINING__MIN_NEW_ROWS": "20",
        "PYTHONPATH": str(ROOT),
        "GROUNDSWELL_RETRAINING__WEBHOOK_URL": f"http://127.0.0.1:{webhook.server_port}/",
    }
    dagster = [sys.executable, "-m", "dagster"]
    where = ["-f", str(tmp_path / "location.py")]
    for sensor in ("new_labels", "run_failed"):
        subprocess.run(
            [*dagster, "sensor", "start", sensor, *where], env=environment, check=True, capture_output=True, cwd=tmp_path
        )
    with (tmp_path / "daemon.log").open("wb") as log:
        daemon = subprocess.Popen(
            [sys.executable, "-m", "dagster._daemon", "run", *where],
            env=environment,
            cwd=tmp_path,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        until(lambda: webhook.got, every_s=0.5)
    finally:
        os.killpg(daemon.pid, signal.SIGTERM)
        daemon.wait(150)
    assert "retrain failed" in webhook.got[0]["text"]
    with dg.DagsterInstance.from_config(str(home)) as instance:
        runs = instance.get_runs()
        assert len(runs) == 1, "ticks continue, and the run key is launched once"
        assert runs[0].tags[REASON_TAG] == "new_labels"
