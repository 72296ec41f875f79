"""Dagster's store and code location for a command: the same ones that the web UI uses."""

import os
from typing import TYPE_CHECKING

from data.errors import GroundswellError
from data.settings import project_root
from orchestration.layout import Layout
from serving.processes import mark_lives, process_mark

if TYPE_CHECKING:
    import dagster as dg
    from dagster._core.definitions.reconstruct import ReconstructableJob
    from dagster._core.remote_origin import RemoteJobOrigin

_PROCESS_TAG = ".groundswell/process"  # the dot hides it in the UI
_MODULE, _ATTRIBUTE, _REPOSITORY = "orchestration.definitions", "defs", "__repository__"
_STORAGE = "dagster._core.storage"


def dagster_instance(*, capture_output: bool = False) -> "dg.DagsterInstance":
    """Open the store that `groundswell dagster` and a plain `dagster dev` at the root use too; `DAGSTER_HOME` names another.

    Args:
        capture_output: Store what steps print. A command prints to the terminal instead; storing it costs two processes a step.

    Raises:
        GroundswellError: The folder cannot be written.
    """
    import dagster as dg
    from dagster._core.instance.ref import InstanceRef

    if os.environ.get("DAGSTER_HOME"):
        return dg.DagsterInstance.get()
    folder = Layout.load().dagster
    try:
        (folder / "storage").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise GroundswellError(
            f"{folder} cannot be written.", found=error, remedy="Fix its permissions, or set GROUNDSWELL_PATHS__VAR_DIR."
        ) from error
    overrides = {  # dagster.yaml names these folders relative to the root; a command may run from anywhere
        "storage": {"sqlite": {"base_dir": str(folder / "storage")}},
        "local_artifact_storage": _component("root", "LocalArtifactStorage", base_dir=str(folder)),
        "compute_logs": _component("local_compute_log_manager", "LocalComputeLogManager", base_dir=str(folder / "compute_logs"))
        if capture_output
        else _component("noop_compute_log_manager", "NoOpComputeLogManager"),
    }
    return dg.DagsterInstance.from_ref(InstanceRef.from_dir(str(folder), config_dir=str(project_root()), overrides=overrides))


def _component(module: str, name: str, **config: str) -> dict[str, object]:
    return {"module": f"{_STORAGE}.{module}", "class": name, "config": config}


def job_in_code_location(name: str) -> "tuple[ReconstructableJob, RemoteJobOrigin]":
    """Return a job of workspace.yaml's code location, and the origin by which the web UI finds that job again.

    A run without the origin is missing from the timeline and the job's history, and cannot be executed again.
    """
    from dagster._core.definitions.reconstruct import ReconstructableRepository
    from dagster._core.remote_origin import RemoteJobOrigin, RemoteRepositoryOrigin
    from dagster._core.workspace.load_target import WorkspaceFileTarget

    root = project_root()
    [location] = WorkspaceFileTarget([str(root / "workspace.yaml")]).create_origins()
    repository = ReconstructableRepository.for_module(_MODULE, _ATTRIBUTE, working_directory=str(root))
    return repository.get_reconstructable_job(name), RemoteJobOrigin(RemoteRepositoryOrigin(location, _REPOSITORY), name)


def process_tag(run_id: str) -> dict[str, str]:
    """Return the tag of a run that this process executes; other processes can check by it whether this one still lives."""
    return {_PROCESS_TAG: f"{run_id} {process_mark()}"}


def end_dead_runs(instance: "dg.DagsterInstance") -> None:
    """Report runs whose process was killed as failed: the UI would show them as running forever."""
    from dagster import DagsterRunStatus, RunsFilter

    unfinished = [DagsterRunStatus.NOT_STARTED, DagsterRunStatus.STARTING, DagsterRunStatus.STARTED, DagsterRunStatus.CANCELING]
    for run in instance.get_runs(RunsFilter(statuses=unfinished)):
        if _is_dead(run):
            instance.report_run_failed(run, "The process that executed this run ended before the run did.")


def _is_dead(run: "dg.DagsterRun") -> bool:
    owner, _, process = run.tags.get(_PROCESS_TAG, "").partition(" ")
    if owner == run.run_id:
        return not mark_lives(process)
    # Not a command's run: one executed again from the UI has the tags of the previous run. A run without an origin was left
    # unfinished by a command of an older version.
    return run.remote_job_origin is None
