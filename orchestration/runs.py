"""A command runs a part of the graph in this process, with the store of the web UI, and draws what it does."""

import logging
import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from rich.console import Console

from data.errors import GroundswellError, ValidationFailed
from orchestration.instance import dagster_instance, end_dead_runs, job_in_code_location, process_tag
from orchestration.layout import Layout
from orchestration.progress import TerminalProgress, listening, terminal_console

if TYPE_CHECKING:
    import dagster as dg
    from dagster._core.definitions.reconstruct import ReconstructableJob

console = terminal_console()
_AGAIN_S = 0.1


def run_assets(target: str, *, after: str | None = None, terminal: TerminalProgress | None = None) -> None:
    """Bring the assets behind a command up to date, in this process, as a run of the code location that the web UI shows.

    Args:
        target: A key of `orchestration.jobs.TARGETS`.
        after: Another key: what is behind it has just been run, and is left out.
        terminal: Draws the progress; none: one of its own.

    Raises:
        GroundswellError: A step failed; the error is the step's own.
        ValidationFailed: A check that must pass did not.
        KeyboardInterrupt: Ctrl-C; the run ends as canceled.
    """
    if terminal is None:
        with TerminalProgress(console) as own:
            run_assets(target, after=after, terminal=own)
        return
    if "orchestration.definitions" not in sys.modules:
        terminal.begin("Load the graph")
    hush()
    with dagster_instance() as instance, listening(terminal):
        end_dead_runs(instance)
        job, run = _create_run(instance, target, after)
        _execute(instance, job, run)
    terminal.finish()


def _create_run(instance: "dg.DagsterInstance", target: str, after: str | None) -> "tuple[ReconstructableJob, dg.DagsterRun]":
    from orchestration.jobs import TARGETS

    job, origin = job_in_code_location(TARGETS[target].job)
    definition = job.get_definition()
    wanted = set(definition.asset_layer.executable_asset_keys)
    if after:
        before, _ = job_in_code_location(TARGETS[after].job)
        wanted -= set(before.get_definition().asset_layer.executable_asset_keys)
    run_id = str(uuid4())
    run = instance.create_run_for_job(
        run_id=run_id,
        job_def=definition,
        asset_selection=frozenset(wanted) if after else None,
        tags={**definition.run_tags, **process_tag(run_id)},
        remote_job_origin=origin,
        job_code_origin=job.get_python_origin(),
    )
    # In the log and not as a tag: run again from the UI, a run keeps its tags.
    instance.report_engine_event(f"Executed by the command: {' '.join([Path(sys.argv[0]).stem, *sys.argv[1:]])}", run)
    return job, run


def _execute(instance: "dg.DagsterInstance", job: "ReconstructableJob", run: "dg.DagsterRun") -> None:
    from dagster import DagsterExecutionInterruptedError, DagsterRunStatus
    from dagster._core.errors import DagsterAssetCheckFailedError
    from dagster._core.execution.api import execute_run
    from dagster_shared.record import copy

    # Only here: the terminal draws the progress, so Dagster's console stays quiet. The run as it is stored has no such setting,
    # and prints when it is executed again from the UI.
    quiet = copy(run, run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}})
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
    """Dagster listens to SIGINT and SIGTERM while it runs, and leaves SIGTERM with the handler of SIGINT: put both back."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            for number, handler in handlers.items():
                signal.signal(number, handler)


@contextmanager
def no_interrupt_lost(raised: type[BaseException]) -> Iterator[None]:
    """Send SIGINT again where Python dropped what its handler raised.

    An exception in a destructor or the callback of a weak reference goes to `sys.unraisablehook` and the program goes on, also
    where the exception is the handler's and has nothing to do with the object.

    Args:
        raised: What the handler raises.
    """
    before = sys.unraisablehook

    def again(dropped: "sys.UnraisableHookArgs") -> None:
        if issubclass(dropped.exc_type, raised):
            # Later and not here, where it would be dropped again.
            threading.Timer(_AGAIN_S, signal.raise_signal, (signal.SIGINT,)).start()
        else:
            before(dropped)

    sys.unraisablehook = again
    try:
        yield
    finally:
        sys.unraisablehook = before


def _failed_check(instance: "dg.DagsterInstance", run_id: str) -> ValidationFailed:
    """The blocking check that ended a run, with what it found."""
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


def hush() -> None:
    """Keep libraries' chatter out of a terminal that draws progress; the run's own log has it all."""
    warnings.filterwarnings("ignore")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    logging.getLogger("evaluation").setLevel(logging.WARNING)
    for name in ("dagster", "alembic", "mlflow", "great_expectations", "datasets", "transformers", "bentoml", "httpx"):
        logging.getLogger(name).setLevel(logging.ERROR)
    # A connection that Ctrl-C catches while it is being closed is told with a traceback, and is closed all the same.
    logging.getLogger("sqlalchemy.pool").setLevel(logging.CRITICAL)


def show_data(console: Console) -> None:
    """Rows by set and split, and what was removed."""
    from rich.table import Table

    from orchestration.steps.data import read_splits

    splits = read_splits(Layout.load())
    table = Table("set", "train", "val", "test", box=None, header_style="dim")
    for name in sorted({key.split("/")[0] for key in splits.rows}):
        table.add_row(name, *(f"{splits.rows.get(f'{name}/{split}', 0):,}" for split in ("train", "val", "test")))
    console.print(table)
    removed = ", ".join(f"{reason} {count:,}" for reason, count in splits.counts.items() if count)
    console.print(f"[dim]removed:[/] {removed or 'nothing'}", highlight=False)
    for notice in splits.notices:
        console.print(f"[yellow]{notice}[/]")


def show_leaderboard(console: Console) -> None:
    """The last benchmark as a table."""
    from evaluation.leaderboard import as_table
    from orchestration.steps.evaluation import read_leaderboard

    layout = Layout.load()
    console.print(as_table(read_leaderboard(layout)))
    console.print(f"[dim]{_shown(layout.leaderboard / 'leaderboard.html')}[/]")


def show_ladder(console: Console) -> None:
    """The last export, step by step."""
    from orchestration.steps.export import ladder_table

    console.print(ladder_table(Layout.load()))


def show_verdict(console: Console) -> None:
    """What the gate said, with every reason."""
    from orchestration.steps.release import read_verdict

    verdict = read_verdict(Layout.load())
    console.print(f"gate: [bold]{'[green]passed' if verdict['passed'] else '[red]refused'}[/][/]")
    if verdict["unchanged"]:
        console.print(f"  {verdict['bundle']} is in production already; the decision that let it through:", highlight=False)
    for reason in verdict["reasons"]:
        console.print(f"  {'[green]✓[/]' if reason['passed'] else '[red]✗[/]'} {reason['text']}", highlight=False)


def _shown(path: Path) -> Path:
    """Relative to where the person stands, when it lies below."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
