"""Run a part of the graph for a command: in this process, with the web UI's store, and with progress on the terminal."""

import logging
import signal
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from data.errors import GroundswellError, ValidationFailed
from data.library_settings import quiet_transformers
from orchestration.instance import dagster_instance, end_dead_runs, job_in_code_location, process_tag
from orchestration.interrupts import no_interrupt_lost
from orchestration.layout import Overrides
from orchestration.progress import TerminalProgress, listening, terminal_console

if TYPE_CHECKING:
    import dagster as dg
    from dagster._core.definitions.reconstruct import ReconstructableJob

console = terminal_console()


def run_assets(
    target: str,
    *,
    after: str | None = None,
    candidate: str | None = None,
    settings: Overrides | None = None,
    terminal: TerminalProgress | None = None,
) -> None:
    """Bring the assets behind a command up to date, in this process, as a run that the web UI shows.

    Args:
        target: A key of `orchestration.jobs.TARGETS`.
        after: Another key, whose assets have just been run and are left out.
        candidate: Of `target="train"`, the only candidate to train; None: all but those on request. Of `target="benchmark"`, the
            large model to ask, and nothing else.
        settings: Of this run, above profile and environment.
        terminal: Draws the progress; None: a new one.

    Raises:
        GroundswellError: A step failed; the error is the step's own.
        ValidationFailed: A blocking check failed.
        KeyboardInterrupt: Ctrl-C; the run ends as canceled.
    """
    if terminal is None:
        with TerminalProgress(console) as own:
            run_assets(target, after=after, candidate=candidate, settings=settings, terminal=own)
        return
    if "orchestration.definitions" not in sys.modules:
        terminal.begin("Load the graph")
    silence_libraries()
    with dagster_instance() as instance, listening(terminal):
        end_dead_runs(instance)
        job, run = _create_run(instance, target, after, candidate, settings or {})
        _execute(instance, job, run)
    terminal.finish()


def _create_run(
    instance: "dg.DagsterInstance", target: str, after: str | None, candidate: str | None, settings: Overrides
) -> "tuple[ReconstructableJob, dg.DagsterRun]":
    from orchestration import keys
    from orchestration.jobs import EVALUATE_BY_NAME, TARGETS, TRAIN_BY_NAME, selection

    by_name = {"train": TRAIN_BY_NAME, "benchmark": EVALUATE_BY_NAME}
    job, origin = job_in_code_location(by_name[target] if candidate else TARGETS[target].job)
    definition = job.get_definition()
    wanted = set(definition.asset_layer.executable_asset_keys)
    if candidate and target == "benchmark":
        wanted = {keys.large_model(candidate)}
    elif candidate:
        wanted = selection(target, [candidate]).resolve(definition.asset_layer.asset_graph)
    if after:
        before, _ = job_in_code_location(TARGETS[after].job)
        wanted -= set(before.get_definition().asset_layer.executable_asset_keys)
    run_id = str(uuid4())
    run = instance.create_run_for_job(
        run_id=run_id,
        job_def=definition,
        run_config=_run_config(settings),
        asset_selection=frozenset(wanted) if after or candidate else None,
        tags={**definition.run_tags, **process_tag(run_id)},
        remote_job_origin=origin,
        job_code_origin=job.get_python_origin(),
    )
    # In the log and not as a tag: a run that is executed again from the UI keeps its tags.
    instance.report_engine_event(f"Executed by the command: {' '.join([Path(sys.argv[0]).stem, *sys.argv[1:]])}", run)
    return job, run


def _run_config(settings: Overrides) -> dict[str, Any]:
    """Return the configuration of a run; empty without settings of its own."""
    given = {section: {k: v for k, v in of.items() if v is not None} for section, of in settings.items()}
    given = {section: of for section, of in given.items() if of}
    return {"resources": {"var_dir": {"config": {"settings": given}}}} if given else {}


def _execute(instance: "dg.DagsterInstance", job: "ReconstructableJob", run: "dg.DagsterRun") -> None:
    from dagster import DagsterExecutionInterruptedError, DagsterRunStatus
    from dagster._core.errors import DagsterAssetCheckFailedError
    from dagster._core.execution.api import execute_run
    from dagster_shared.record import copy

    # The terminal draws the progress, so Dagster's console is off for this execution only. The stored run has no such setting,
    # and prints when it is executed again from the UI.
    quiet = copy(run, run_config={**run.run_config, "loggers": {"console": {"config": {"log_level": "CRITICAL"}}}})
    try:
        with _own_signals(), no_interrupt_lost(DagsterExecutionInterruptedError):
            execute_run(job, quiet, instance, raise_on_error=True)
    except DagsterExecutionInterruptedError:
        ended = instance.get_run_by_id(run.run_id)
        if ended is not None and ended.status != DagsterRunStatus.CANCELED:  # it was between two steps
            instance.report_run_canceled(ended, "Interrupted by Ctrl-C.")
        raise KeyboardInterrupt from None
    except DagsterAssetCheckFailedError:
        raise _failed_check(instance, run.run_id) from None
    except Exception as error:  # a step raises whatever its libraries do
        if isinstance(error, GroundswellError):
            raise
        remedy = "`groundswell dagster` shows the run with its log."
        raise GroundswellError(f"{type(error).__name__}: {error}", remedy=remedy) from error


@contextmanager
def _own_signals() -> Iterator[None]:
    """Restore the handlers of SIGINT and SIGTERM: Dagster replaces both, and leaves SIGTERM with the handler of SIGINT."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            for number, handler in handlers.items():
                signal.signal(number, handler)


def _failed_check(instance: "dg.DagsterInstance", run_id: str) -> ValidationFailed:
    """Return the error of the blocking check that ended a run, with its findings."""
    from dagster import DagsterEventType, TableMetadataValue

    from orchestration.checks import check_failed

    events = instance.all_logs(run_id, of_type=DagsterEventType.ASSET_CHECK_EVALUATION)
    evaluations = [event.asset_check_evaluation for event in events]
    check = next(one for one in reversed(evaluations) if one is not None and one.blocking and not one.passed)
    failures = check.metadata.get("failures")
    if isinstance(failures, TableMetadataValue):
        return check_failed(check.asset_key, check.check_name, [dict(row.data) for row in failures.records])  # type: ignore[misc]
    found = "; ".join(f"{key}: {value.value}" for key, value in check.metadata.items())
    asset = check.asset_key.to_user_string()
    return ValidationFailed(f"Check {check.check_name!r} of {asset} failed; nothing after it ran.", found=found)


def silence_libraries() -> None:
    """Silence the logs and warnings of libraries on a terminal that draws progress; the run's own log has everything."""
    warnings.filterwarnings("ignore")
    quiet_transformers()
    logging.getLogger("evaluation").setLevel(logging.WARNING)
    for name in ("dagster", "alembic", "mlflow", "great_expectations", "datasets", "transformers", "bentoml", "httpx"):
        logging.getLogger(name).setLevel(logging.ERROR)
    # A connection that Ctrl-C interrupts while it is closing is logged with a traceback, though it is closed.
    logging.getLogger("sqlalchemy.pool").setLevel(logging.CRITICAL)
