"""A command runs a part of the graph in this process, with the store of `dagster dev`, and draws what it does."""

import logging
import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from data.errors import GroundswellError, ValidationFailed
from data.settings import project_root
from orchestration.layout import Layout
from orchestration.progress import TerminalProgress, listening, terminal_console

if TYPE_CHECKING:
    import dagster as dg

console = terminal_console()


def dagster_instance() -> "dg.DagsterInstance":
    """The store that a bare `dagster dev` at the root uses too; `DAGSTER_HOME` names another."""
    import dagster as dg
    from dagster._core.instance.ref import InstanceRef

    if os.environ.get("DAGSTER_HOME"):
        return dg.DagsterInstance.get()
    folder = Layout.load().dagster
    try:
        (folder / "storage").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise GroundswellError(
            f"{folder} cannot be written.", found=error, remedy="Mend its rights, or set GROUNDSWELL_PATHS__VAR_DIR."
        ) from error
    local = {"module": "dagster._core.storage.root", "class": "LocalArtifactStorage"}
    overrides = {  # dagster.yaml names these folders relative to the root; a command may run from anywhere
        "storage": {"sqlite": {"base_dir": str(folder / "storage")}},
        "local_artifact_storage": {**local, "config": {"base_dir": str(folder)}},
        # What steps print belongs to this terminal; a manager that keeps it would start two processes a step.
        "compute_logs": {"module": "dagster._core.storage.noop_compute_log_manager", "class": "NoOpComputeLogManager"},
    }
    return dg.DagsterInstance.from_ref(InstanceRef.from_dir(str(folder), config_dir=str(project_root()), overrides=overrides))


def run_assets(target: str, *, after: str | None = None, terminal: TerminalProgress | None = None) -> Any:
    """Bring the assets behind a command up to date.

    Args:
        target: A key of `orchestration.jobs.TARGETS`.
        after: Another key: what lies behind it has just been run, and is left out.
        terminal: Draws the progress; none: one of its own.

    Raises:
        GroundswellError: A step failed; the error is the step's own.
        ValidationFailed: A blocking check said no.
    """
    if terminal is None:
        with TerminalProgress(console) as own:
            return run_assets(target, after=after, terminal=own)
    terminal.begin("Load the graph")
    hush()
    from orchestration.definitions import defs

    with dagster_instance() as instance, listening(terminal):
        job = defs.resolve_job_def(f"command_{target}")
        before = defs.resolve_job_def(f"command_{after}").asset_layer.executable_asset_keys if after else []
        result = job.execute_in_process(
            instance=instance,
            asset_selection=sorted(set(job.asset_layer.executable_asset_keys) - set(before)),
            raise_on_error=False,
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
        )
        _raise_for(result)
    terminal.finish()
    return result


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


def _raise_for(result: Any) -> None:
    import dagster as dg

    for check in result.get_asset_check_evaluations():
        if not check.passed and check.blocking and check.severity is dg.AssetCheckSeverity.ERROR:
            failures = check.metadata.get("failures")
            found = (
                "; ".join(
                    f"{row.data['expectation']}({row.data['column']}): {row.data['unexpected']} rows, "
                    f"observed {row.data['observed']}, expected {row.data['expected'] or 'none'}, such as {row.data['sample']}"
                    for row in failures.records
                )
                if failures
                else {key: value.value for key, value in check.metadata.items()}
            )
            raise ValidationFailed(
                f"The check {check.check_name!r} of {check.asset_key.to_user_string()} says no; nothing behind it ran.",
                found=found,
                remedy="Mend the data, or the mapping of the set in configs/datasets.yaml.",
            )
    if result.success:
        return
    for event in result.all_events:
        if event.is_step_failure and (error := event.step_failure_data.error) is not None:
            if error.cls_name == "DagsterExecutionInterruptedError":
                raise KeyboardInterrupt
            raise _original(error)
    raise GroundswellError("The run failed.", remedy="`make dagster` shows its log.")


def _original(error: Any) -> GroundswellError:
    """The step's own error: Dagster keeps what a person reads of it, not the object."""
    while error.cause is not None and not error.message.startswith("data.errors."):
        error = error.cause
    text = error.message.strip()
    name, _, rest = text.partition(": ")
    lines = (rest or text).split("\n")
    parts = dict(line.strip().split(": ", 1) for line in lines[1:] if ": " in line)
    known = {key: parts.get(key) for key in ("found", "expected", "remedy")}
    kind = name.rsplit(".", 1)[-1]
    return GroundswellError(lines[0] if "data.errors" in name else f"{kind}: {rest}", **known)  # type: ignore[arg-type]


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
