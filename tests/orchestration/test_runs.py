"""A command's run in the web UI: of the code location, with its own error, and ended whatever happens to the process."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from orchestration import keys
from orchestration.instance import dagster_instance, end_dead_runs, job_in_code_location, process_tag
from orchestration.jobs import TARGETS

ROOT = Path(__file__).parents[2]


def start(*arguments, **settings):
    return subprocess.Popen(
        [sys.executable, "-m", "orchestration.cli", *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONUNBUFFERED": "1", **settings},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def wait_for(process, line):
    assert process.stdout is not None and process.stderr is not None
    if not any(printed.startswith(line) for printed in process.stdout):
        pytest.fail(f"{line!r} was not printed: {process.stderr.read()[-2000:]}")


@pytest.mark.integration
def test_a_commands_run_belongs_to_its_job_in_the_code_location_and_shows_what_was_skipped():
    done = start("data")
    _, errors = done.communicate(timeout=600)
    assert done.returncode == 0, errors[-2000:]
    with dagster_instance() as instance:
        [run] = instance.get_runs()
        label = {".dagster/repository": "__repository__@orchestration.definitions"}  # what timeline and job pages filter by
        assert [found.run_id for found in instance.get_runs(dg.RunsFilter(job_name="prepare_data", tags=label))] == [run.run_id]
        assert run.status == dg.DagsterRunStatus.SUCCESS and run.job_code_origin is not None and run.run_config == {}
        materialized = {key for key in instance.all_asset_keys() if instance.get_latest_materialization_event(key)}
        samples = ("sample_tweets", "sample_reviews", "sample_support", "sample_finance", "sample_news")
        assert materialized == {keys.SPLITS, keys.ORIGIN, *map(keys.dataset, samples)}, "what is not enabled is not materialized"
        metadata = instance.get_latest_materialization_event(keys.SPLITS).asset_materialization.metadata
        assert metadata["dagster/row_count"].value == metadata["rows"].value > 100
        assert isinstance(metadata["rows"], dg.FloatMetadataValue), "Dagster plots numbers over time"


@pytest.mark.integration
def test_error_of_a_step_reaches_the_terminal_and_the_run():
    done = start("data", GROUNDSWELL_DATA__DATASETS='["airline"]')
    _, errors = done.communicate(timeout=600)
    assert done.returncode == 1 and errors.startswith("SourceUnavailable: "), errors
    with dagster_instance() as instance:
        [run] = instance.get_runs()
        assert run.status == dg.DagsterRunStatus.FAILURE
        failed = instance.all_logs(run.run_id, of_type=dg.DagsterEventType.STEP_FAILURE)
        assert [event.dagster_event.step_key for event in failed] == ["data__origin"]


@pytest.mark.integration
@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, dg.DagsterRunStatus.CANCELED), (signal.SIGKILL, dg.DagsterRunStatus.FAILURE)]
)
def test_an_interrupted_run_ends(number, status):
    process = start("data")
    wait_for(process, "… Fetch")
    os.killpg(process.pid, number)
    process.communicate(timeout=600)
    with dagster_instance() as instance:
        [run] = instance.get_runs()
        if number == signal.SIGKILL:
            assert run.status == dg.DagsterRunStatus.STARTED
            end_dead_runs(instance)  # as the next command does
            [run] = instance.get_runs()
        assert run.status == status


def test_only_runs_whose_process_is_gone_are_ended():
    job, origin = job_in_code_location(TARGETS["data"].job)
    gone = process_tag("gone")[".groundswell/process"].replace("gone ", "")
    with dg.DagsterInstance.ephemeral() as instance:
        definition = job.get_definition()

        def run(tags=None, origin=origin):
            made = instance.create_run_for_job(definition, tags=tags, remote_job_origin=origin)
            return made.run_id

        mine, dead, of_the_ui, of_old = run(), run(), run(), run(origin=None)
        again = run({".groundswell/process": f"{dead} 1@1.0"})
        instance.add_run_tags(mine, process_tag(mine))
        instance.add_run_tags(dead, {".groundswell/process": f"{dead} {gone.partition('@')[0]}@1.00"})
        end_dead_runs(instance)
        ended = {run.run_id for run in instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE]))}
        assert ended == {dead, of_old} and not {mine, of_the_ui, again} & ended


@pytest.mark.integration
def test_a_run_leaves_the_handlers_of_its_caller():
    code = """
import signal
from orchestration.runs import run_assets
mine = lambda *_: None
signal.signal(signal.SIGTERM, mine)
run_assets("data")
assert signal.getsignal(signal.SIGTERM) is mine and signal.getsignal(signal.SIGINT) is signal.default_int_handler
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr[-2000:]
