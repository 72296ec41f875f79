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
from tenacity import Retrying, retry_if_result, stop_after_delay, wait_fixed

from data.artifacts import write_json
from orchestration.definitions import defs
from orchestration.jobs import RETRAIN
from orchestration.layout import Layout
from orchestration.schedules import weekly_retraining
from orchestration.sensors import new_labels, production_quality
from orchestration.steps.world import TRAINED_FILE, labelled
from serving.webhook import notify
from training.registry import append_ledger

ROOT = Path(__file__).parents[2]


def tick(sensor):
    with dg.DagsterInstance.ephemeral() as instance:
        return sensor.evaluate_tick(dg.build_sensor_context(instance=instance, definitions=defs, sensor_name=sensor.name))


def trained_on(layout, *, fewer):
    """The last training saw all but `fewer` of the rows there are now (those of the project's own sample)."""
    now = labelled(layout)
    write_json(layout.gate / TRAINED_FILE, {"fingerprint": "before", "rows": now["rows"] - fewer})


def test_new_rows_ask_once_for_each_state_of_the_data(monkeypatch):
    layout = Layout.load()
    monkeypatch.setenv("GROUNDSWELL_RETRAINING__MIN_NEW_ROWS", "100")
    assert "240 labelled rows" in str(tick(new_labels).skip_message)
    trained_on(layout, fewer=99)
    assert tick(new_labels).run_requests == []
    trained_on(layout, fewer=100)
    one, again = tick(new_labels).run_requests, tick(new_labels).run_requests
    assert len(one) == 1 and one[0].run_key == again[0].run_key, "the same world, the same key, cursor or no cursor"
    assert one[0].tags["groundswell/reason"] == "new_labels"


def test_bad_quality_and_age_ask_and_say_why(monkeypatch):
    layout = Layout.load()
    assert "not measured" in str(tick(production_quality).skip_message)
    write_json(layout.quality, {"macro_recall": 0.55})
    request = tick(production_quality).run_requests[0]
    assert "0.5500 is under the floor 0.6000" in request.tags["groundswell/why"]
    write_json(layout.quality, {"macro_recall": 0.7})
    move = {"alias": "production", "to": "1", "bundle": "b", "at": (datetime.now(UTC) - timedelta(days=60)).isoformat()}
    append_ledger(layout.var, move)
    stale = tick(production_quality).run_requests[0]
    assert "60 days" in stale.tags["groundswell/why"] and stale.run_key != request.run_key


def test_the_weekly_schedule_asks_on_mondays():
    schedule = weekly_retraining()
    context = dg.build_schedule_context(scheduled_execution_time=datetime(2026, 3, 2, 3, tzinfo=UTC))
    found = schedule.evaluate_tick(context)
    assert len(found.run_requests or []) == 1
    assert schedule.cron_schedule == "0 3 * * 1" and schedule.job_name == RETRAIN


class _Hook(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.got.append(json.loads(body))
        self.send_response(self.server.answers.pop(0) if self.server.answers else 200)
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture
def webhook():
    server = HTTPServer(("127.0.0.1", 0), _Hook)
    server.got, server.answers = [], []
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


def test_a_webhook_is_told_again_when_it_fails_and_its_address_is_not_logged(webhook, caplog):
    url = f"http://127.0.0.1:{webhook.server_port}/secret-token"
    webhook.answers = [500]
    assert notify(url, "it failed")
    assert webhook.got == [{"text": "it failed"}] * 2
    webhook.answers = [500] * 3
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
    trained_on(layout, fewer=100)
    (tmp_path / "location.py").write_text(_LOCATION)
    home = tmp_path / "dagster"
    home.mkdir()
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    environment = {
        **os.environ, "DAGSTER_HOME": str(home), "GROUNDSWELL_RETRAINING__MIN_NEW_ROWS": "100", "PYTHONPATH": str(ROOT),
        "GROUNDSWELL_RETRAINING__WEBHOOK_URL": f"http://127.0.0.1:{webhook.server_port}/",
    }  # fmt: skip
    dagster = [sys.executable, "-m", "dagster"]
    where = ["-f", str(tmp_path / "location.py")]
    for sensor in ("new_labels", "run_failed"):
        subprocess.run(
            [*dagster, "sensor", "start", sensor, *where], env=environment, check=True, capture_output=True, cwd=tmp_path
        )
    with (tmp_path / "daemon.log").open("wb") as log:
        daemon = subprocess.Popen(
            [sys.executable, "-m", "dagster._daemon", "run", *where], env=environment, cwd=tmp_path, stdout=log, stderr=log,
            start_new_session=True,
        )  # fmt: skip
    try:
        Retrying(retry=retry_if_result(lambda got: not got), stop=stop_after_delay(150), wait=wait_fixed(0.5))(
            lambda: list(webhook.got)
        )
    finally:
        os.killpg(daemon.pid, signal.SIGTERM)
        daemon.wait(30)
    assert "retrain failed" in webhook.got[0]["text"]
    with dg.DagsterInstance.from_config(str(home)) as instance:
        runs = instance.get_runs()
        assert len(runs) == 1, "ticks go on, the run key holds"
        assert runs[0].tags["groundswell/reason"] == "new_labels"
