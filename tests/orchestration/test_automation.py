"""`groundswell automation`: the state is Dagster's own, with or without a running daemon."""

import json
import os
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.scheduler.instigation import TickData, TickStatus
from dagster._daemon.types import DaemonHeartbeat
from dagster_shared.error import SerializableErrorInfo

from data.errors import GroundswellError
from orchestration.automation import DAEMON_SILENT_AFTER, _remotes, daemon_runs, daemon_seen_at, read_automations, switch
from orchestration.runs import dagster_instance
from tests.waiting import until

ROOT = Path(__file__).parents[2]
NAMES = {
    "daily_quality",
    "weekly_retraining",
    "hourly_lakehouse",
    "daily_lakehouse_reports",
    "weekly_lakehouse_maintenance",
    "new_labels",
    "production_quality",
    "run_failed",
}


@pytest.fixture
def instance():
    with dagster_instance() as opened:
        yield opened


def by_name(instance):
    return {one.name: one for one in read_automations(instance)}


def test_everything_is_off_until_it_is_turned_on_and_stays_as_it_was_turned(instance):
    assert {name: one.on for name, one in by_name(instance).items()} == dict.fromkeys(NAMES, False)
    for name, kind in (("new_labels", "sensor"), ("weekly_retraining", "schedule")):
        for _ in range(2):
            assert switch(instance, name, on=True).on
        assert by_name(instance)[name].kind == kind
    with dagster_instance() as again:
        assert {name for name, one in by_name(again).items() if one.on} == {"new_labels", "weekly_retraining"}
        for name in ("new_labels", "weekly_retraining", "hourly_lakehouse"):
            for _ in range(2):
                assert not switch(again, name, on=False).on
    assert not any(one.on for one in read_automations(instance))


def test_the_next_tick_of_a_schedule_is_its_own(instance):
    monday = switch(instance, "weekly_retraining", on=True).next_at
    assert monday is not None and monday > datetime.now(UTC) and (monday.weekday(), monday.hour, monday.minute) == (0, 3, 0)
    assert by_name(instance)["daily_quality"].next_at is None


def tick(instance, name, status, **more):
    remote = _remotes(instance)[name]
    kind = InstigatorType.SENSOR if name == "new_labels" else InstigatorType.SCHEDULE
    at = datetime.now(UTC).timestamp()
    instance.create_tick(TickData(remote.get_remote_origin_id(), name, kind, status, at, selector_id=remote.selector_id, **more))


def test_last_tick_has_its_result(instance):
    switch(instance, "new_labels", on=True)
    tick(instance, "new_labels", TickStatus.SKIPPED, skip_reason="12 new labeled rows")
    found = by_name(instance)["new_labels"]
    assert found.last == "nothing to do: 12 new labeled rows" and found.last_at is not None
    assert found.next_at == found.last_at + timedelta(seconds=300)
    tick(instance, "new_labels", TickStatus.SUCCESS, run_ids=["abc"])
    assert by_name(instance)["new_labels"].last == "requested 1 run: abc"
    tick(
        instance, "new_labels", TickStatus.FAILURE, error=SerializableErrorInfo("data.errors.SourceUnavailable: gone\n", [], "X")
    )
    assert by_name(instance)["new_labels"].last == "failed: data.errors.SourceUnavailable: gone"


def test_a_daemon_runs_while_its_heartbeat_is_fresh(instance):
    assert daemon_seen_at(instance) is None and not daemon_runs(None)
    for ago, runs in ((timedelta(0), True), (DAEMON_SILENT_AFTER * 2, False)):
        at = datetime.now(UTC) - ago
        for kind in ("SCHEDULER", "SENSOR"):
            instance.add_daemon_heartbeat(DaemonHeartbeat(at.timestamp(), kind, "x"))
        seen = daemon_seen_at(instance)
        assert seen is not None and daemon_runs(seen) is runs


def test_unknown_name_raises_with_the_nearest_name(instance):
    with pytest.raises(GroundswellError, match="Unknown schedule or sensor 'new_label'") as caught:
        switch(instance, "new_label", on=True)
    assert caught.value.remedy == "Did you mean 'new_labels'?"


def automation(*arguments, **environment):
    return subprocess.run(
        [sys.executable, "-m", "orchestration.cli", "automation", *arguments],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


@pytest.mark.integration
def test_the_commands():
    shown = automation("status")
    assert shown.returncode == 0 and all(name in shown.stdout for name in NAMES)
    assert "No Dagster daemon is running: nothing ticks. `make dagster` starts one" in " ".join(shown.stdout.split())
    turned = automation("on", "daily_quality")
    assert turned.returncode == 0 and "schedule daily_quality is on." in turned.stdout and "No Dagster daemon" in turned.stdout
    found = json.loads(automation("status", "--json").stdout)
    assert found["daemon_runs"] is False
    assert [one["name"] for one in found["automations"] if one["on"]] == ["daily_quality"]
    assert "schedule daily_quality is off." in automation("off", "daily_quality").stdout
    wrong = automation("on", "daily")
    assert wrong.returncode == 1 and "daily_quality" in wrong.stderr and "Traceback" not in wrong.stderr


@pytest.mark.integration
def test_running_daemon_evaluates_a_sensor_that_is_on_and_status_shows_the_result(tmp_path):
    home = tmp_path / "dagster"
    home.mkdir()
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    assert "is on" in automation("on", "new_labels", DAGSTER_HOME=str(home)).stdout
    with (tmp_path / "daemon.log").open("wb") as log:
        daemon = subprocess.Popen(
            [sys.executable, "-m", "dagster._daemon", "run", "-w", "workspace.yaml"],
            cwd=ROOT,
            stdout=log,
            stderr=log,
            env=os.environ | {"DAGSTER_HOME": str(home)},
            start_new_session=True,
        )
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("DAGSTER_HOME", str(home))
            with dagster_instance() as instance:
                # A tick is stored as started first, then with its reason.
                until(lambda: "Nothing has been trained yet" in (by_name(instance)["new_labels"].last or ""), every_s=2)
                assert daemon_runs(daemon_seen_at(instance))
    finally:
        os.killpg(daemon.pid, signal.SIGTERM)
        daemon.wait(150)
