"""How steps run: after skipped ones, again after errors that may pass, one at a time on every core."""

import subprocess
import sys
import threading

import dagster as dg
import pytest

from orchestration.assets.stepping import RETRIES, asset_after, every_core, step
from orchestration.layout import Layout
from orchestration.progress import listening

KEYS = [dg.AssetKey(["data", name, "validated"]) for name in ("one", "two", "three")]
END = dg.AssetKey(["data", "splits"])


def optional(key, made):
    @dg.asset(key=key, output_required=False)
    def asset():
        if made:
            yield dg.MaterializeResult()

    return asset


def run(*assets):
    defs = dg.Definitions(assets=assets, jobs=[dg.define_asset_job("all")], executor=dg.in_process_executor)
    quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
    with dg.DagsterInstance.ephemeral() as instance:
        result = defs.resolve_job_def("all").execute_in_process(instance=instance, raise_on_error=False, run_config=quiet)
        made = {event.asset_key for event in result.get_asset_materialization_events()}
        return result, made, instance.get_runs()[0].status


@pytest.mark.parametrize("made", [[True, True, True], [True, False, False], [False, False, False]])
def test_asset_after_runs_whatever_of_its_dependencies_was_skipped(made):
    @asset_after(key=END, deps=KEYS, group_name="data", description="The end.")
    def gather(context):
        yield dg.Output(None, metadata={"rows": 3.0}, data_version=dg.DataVersion("v"))

    @dg.asset(deps=[END])
    def later():
        return dg.MaterializeResult()

    _, found, _ = run(*map(optional, KEYS, made), gather, later)
    assert found == {key for key, one in zip(KEYS, made, strict=True) if one} | {END, dg.AssetKey("later")}


def test_asset_after_does_not_run_when_a_dependency_failed():
    @dg.asset(key=KEYS[0])
    def broken():
        raise RuntimeError("broken")

    @asset_after(key=END, deps=KEYS[:2])
    def gather(context):
        yield dg.Output(None)

    result, found, _ = run(broken, optional(KEYS[1], True), gather)
    assert not result.success and found == {KEYS[1]}


def test_asset_after_keeps_lineage_and_points_to_its_own_code():
    @asset_after(key=END, deps=KEYS, metadata={"a": 1})
    def gather(context):
        yield dg.Output(None)

    spec = gather.specs_by_key[END]
    assert {dep.asset_key for dep in spec.deps} == set(KEYS) and spec.metadata["a"] == 1
    [reference] = spec.metadata["dagster/code_references"].code_references
    assert reference.file_path == __file__ and reference.label == "gather"


def test_step_interrupted_by_ctrl_c_ends_the_run_as_canceled():
    @dg.asset
    def long(context):
        with step(context, "Long"):
            raise KeyboardInterrupt

    defs = dg.Definitions(assets=[long], jobs=[dg.define_asset_job("all")], executor=dg.in_process_executor)
    with dg.DagsterInstance.ephemeral() as instance:
        defs.resolve_job_def("all").execute_in_process(instance=instance, raise_on_error=False)
        assert instance.get_runs()[0].status == dg.DagsterRunStatus.CANCELED


@pytest.mark.parametrize(("passes", "calls"), [(True, RETRIES + 1), (False, 1)])
def test_step_is_retried_only_after_errors_that_may_pass(passes, calls):
    seen = []

    @dg.asset
    def flaky(context):
        with step(context, "Flaky", retry=lambda error: passes and isinstance(error, OSError)):
            seen.append(context.retry_number)
            raise OSError("no route")

    result, *_ = run(flaky)
    assert not result.success and seen == list(range(calls))
    failure = next(event for event in result.all_events if event.is_step_failure)
    assert "no route" in str(failure.step_failure_data.error)


class Notes:
    """Records that a note was reported."""

    def __init__(self):
        self.noted = threading.Event()

    def begin(self, title): ...

    def __call__(self, message, fraction): ...

    def note(self, text, *, warning=True):
        self.noted.set()

    def ended(self, state, why): ...


def test_every_core_admits_one_step_at_a_time_and_a_killed_one_holds_nothing():
    layout = Layout.load()
    code = "from orchestration.assets.stepping import *\nimport sys\n"
    code += "with every_core(Layout.load()):\n    print('held', flush=True)\n    sys.stdin.read()"
    other = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert other.stdout is not None and other.stdout.readline() == "held\n"
    notes, entered = Notes(), threading.Event()

    def wait():
        with every_core(layout):
            entered.set()

    with listening(notes):
        waiting = threading.Thread(target=wait)
        waiting.start()
        assert notes.noted.wait(600) and not entered.is_set(), "it waits, and reports that"
        other.kill()
        assert entered.wait(600)
        waiting.join()
    other.communicate()
