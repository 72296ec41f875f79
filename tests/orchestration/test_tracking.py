"""A benchmark in MLflow, on a real SQLite store: named, complete, logged once, and ended whatever happens to the process."""

import json
import os
import re
import signal

import pytest

from orchestration.layout import Layout
from orchestration.steps.tracking import open_tracking, parent_of
from tests.make import rows
from tests.mlflow_store import copy_store
from tests.orchestration.test_runs import start, wait_for
from training.tracking import PARENT_TAG, Tracking

pytestmark = pytest.mark.integration


def all_runs(layout):
    tracking = Tracking(layout.var)
    found = tracking.client.search_runs([tracking.experiment_id])
    nested = {run.info.run_name: run for run in found if "mlflow.parentRunId" in run.data.tags}
    parents = [run for run in found if PARENT_TAG in run.data.tags]
    assert len(parents) + len(nested) == len(found)
    return tracking, parents, nested


def test_a_benchmark_is_one_parent_run_with_the_winners_numbers_and_a_complete_run_per_candidate(released):
    place, _ = released
    tracking, [parent], nested = all_runs(place.layout)
    assert re.fullmatch(r"benchmark \d{4}-\d\d-\d\d \d\d:\d\d, 300 rows", parent.info.run_name)
    [bundle] = [nested.pop(name) for name in list(nested) if name.startswith("bundle ")]
    assert set(nested) == {"minilm"} and {run.info.status for run in (parent, *nested.values())} == {"FINISHED"}
    candidate = nested["minilm"]
    wanted = {"macro_recall", "accuracy", "macro_f1", "ece", "cpu_us_per_text"}
    assert wanted <= set(candidate.data.metrics) and {name: candidate.data.metrics[name] for name in wanted} == {
        name: parent.data.metrics[name] for name in wanted
    }
    assert {"training/loss", "validation/macro_recall", "val_macro_recall"} <= set(candidate.data.metrics)
    params = candidate.data.params
    assert (params["rows_used"], params["epochs"], params["learning_rate"], params["seed"]) == ("210", "14", "0.003", "7")
    inputs = {
        one.tags[0].value: (one.dataset.name, json.loads(one.dataset.profile)["num_rows"], one.dataset.digest)
        for one in candidate.inputs.dataset_inputs
    }
    assert {context: found[:2] for context, found in inputs.items()} == {
        "training": ("mine", 210),
        "validation": ("mine", 30),
        "test": ("mine", 60),
    }
    assert len({digest for *_, digest in inputs.values()}) == 3
    artifacts = {file.path for file in tracking.client.list_artifacts(candidate.info.run_id)}
    assert {"slices.json", "images"} <= artifacts
    assert {"leaderboard.json", "leaderboard"} <= {file.path for file in tracking.client.list_artifacts(parent.info.run_id)}

    # The bundle comes under the benchmark that chose it, with numbers of its own.
    assert bundle.data.tags["mlflow.parentRunId"] == parent.info.run_id and "macro_recall" in bundle.data.metrics
    [version] = tracking.client.search_model_versions("name = 'sentiment'")
    model = tracking.client.get_logged_model(version.source.removeprefix("models:/"))
    assert {metric.key for metric in model.metrics or []} >= {"macro_recall", "cpu_us_per_text"}

    for job in ("benchmark_candidates", "register_winner"):
        assert place.run(job).success
    _, parents, repeated = all_runs(place.layout)
    assert [run.info.run_id for run in parents] == [parent.info.run_id]
    assert {run.info.run_id for run in repeated.values()} == {candidate.info.run_id, bundle.info.run_id}, (
        "no run for the same again"
    )


def test_a_changed_candidate_makes_a_new_parent_with_all_its_candidates(released):
    place, _ = released
    place.write(rows(110))
    assert place.run("benchmark_candidates").success
    tracking = Tracking(place.layout.var)
    found = tracking.client.search_runs([tracking.experiment_id], order_by=["attributes.start_time"])
    parents = [run for run in found if PARENT_TAG in run.data.tags]
    assert [run.info.run_name.split(", ")[1] for run in parents] == ["300 rows", "330 rows"]
    for parent in parents:
        below = [run for run in found if run.data.tags.get("mlflow.parentRunId") == parent.info.run_id]
        [candidate] = [run for run in below if not run.info.run_name.startswith("bundle ")]
        assert candidate.info.run_name == "minilm" and candidate.data.params["rows_used"]


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, "KILLED"), (signal.SIGKILL, "FAILED")])
def test_an_interrupted_training_ends_in_mlflow_too(number, status, empty_store):
    copy_store(empty_store, Layout.load().var)
    process = start("train", "--only", GROUNDSWELL_TRAINING__EPOCHS="40", GROUNDSWELL_TRAINING__BF16="false")
    wait_for(process, "  step ")
    layout = Layout.load()
    _, [parent], nested = all_runs(layout)
    assert parent.info.status == "RUNNING" and [run.info.status for run in nested.values()] == ["RUNNING"]
    assert (
        parent.info.run_name.startswith("training 2")
        and not open_tracking(layout).client.get_run(parent.info.run_id).info.end_time
    )
    os.killpg(process.pid, number)
    process.communicate(timeout=600)
    open_tracking(layout)  # as the next command does
    _, [parent], nested = all_runs(layout)
    assert parent.info.status == status
    assert {run.info.status for run in nested.values()} <= {"KILLED", "FAILED"}


def test_runs_that_an_older_version_left_running_are_ended_and_those_of_other_machines_are_not(place):
    assert place.run("prepare_data").success
    tracking = Tracking(place.layout.var)
    complete, cut = (tracking.parent_run(name) for name in ("complete", "cut"))
    with tracking.nested_run(complete, "minilm"):
        pass
    elsewhere = tracking.parent_run("elsewhere", tags={"groundswell.process": "another-machine 1@1.0"})
    here = parent_of(place.layout, tracking, "here", "training")
    open_tracking(place.layout)
    found = {
        name: tracking.client.get_run(run).info.status
        for name, run in {"complete": complete, "cut": cut, "elsewhere": elsewhere, "here": here}.items()
    }
    assert found == {"complete": "FINISHED", "cut": "FAILED", "elsewhere": "RUNNING", "here": "RUNNING"}


def test_mlflow_opens_on_the_view_for_models():
    layout = Layout.load()
    tracking = Tracking(layout.var)
    tags = tracking.client.get_experiment(tracking.experiment_id).tags
    assert tags["mlflow.experimentKind"] == "custom_model_development"
    assert tracking.page() == f"http://127.0.0.1:5000/#/experiments/{tracking.experiment_id}/runs?workflowType=machine_learning"
