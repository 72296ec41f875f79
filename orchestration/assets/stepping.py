"""How an asset runs: it logs and reports its step, and it can run although an asset it depends on was skipped."""

import inspect
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg

from orchestration.layout import Layout
from orchestration.progress import LogProgress, begin, listening, note

OWNERS = ["team:ml-platform"]
"""Of every asset. Teams put their own name here; Dagster shows it and filters by it."""


RETRIES = 2
"""Times a step is tried again after an error that may pass by itself."""


@contextmanager
def step(context: Any, title: str, *, retry: Callable[[Exception], bool] | None = None, wait_s: float = 0) -> Iterator[None]:
    """Name the step. What it reports in the block is logged in the run too. Ctrl-C in the block ends the run as canceled.

    Args:
        context: Of the asset or op.
        title: Shown in the terminal and in the run's log.
        retry: Whether an error may pass by itself; then the step is tried again, at most `RETRIES` times.
        wait_s: Seconds before it is.
    """
    with listening(LogProgress(context.log)):
        try:
            begin(title)
            yield
        except (KeyboardInterrupt, dg.DagsterExecutionInterruptedError):
            context.instance.report_run_canceling(context.run, "Interrupted by Ctrl-C.")
            raise
        except Exception as error:
            # Not Dagster's retry policy, which would try again whatever the error, a wrong checksum too.
            if retry is not None and context.retry_number < RETRIES and retry(error):
                raise dg.RetryRequested(max_retries=RETRIES, seconds_to_wait=wait_s) from error
            raise


@contextmanager
def every_core(layout: Layout) -> Iterator[None]:
    """Hold the lock of steps that use every core in this var folder: at the same time as another one, measured CPU times would
    be wrong, and two trainings would each take twice as long.

    Blocks while another step holds it, in this or another process; a killed process holds nothing. A pool of Dagster does not
    do: its slots outlive a killed process, and it ignores Ctrl-C while it waits.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(layout.var / "cpu.lock")
    layout.var.mkdir(parents=True, exist_ok=True)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        note("Waiting: another run trains or measures in this var folder.")
        lock.acquire(poll_interval=0.5)
    try:
        yield
    finally:
        lock.release()


def asset_after(
    *, key: dg.AssetKey, deps: Iterable[dg.AssetKey], metadata: dict[str, Any] | None = None, **spec: Any
) -> Callable[[Callable], dg.AssetsDefinition]:
    """Make an asset that runs when all `deps` are done, whether they were materialized or skipped.

    Dagster skips an asset as soon as one of its dependencies was skipped, unless all of them are one input of an op. So they are
    here, together with an op that is never skipped: if every dependency was skipped, the asset runs and reports what is missing.

    Args:
        key: Of the asset.
        deps: Assets without blocking checks, which cannot be part of one input.
        metadata: Of the asset.
        spec: Everything else that `dagster.graph_asset` takes.
    """
    names = {dep.to_python_identifier(): dep for dep in deps}

    def wrap(compute: Callable) -> dg.AssetsDefinition:
        run = dg.op(ins={"ready": dg.In(dg.Nothing)}, out=dg.Out(dg.Nothing))(compute)

        @dg.graph_asset(
            key=key,
            ins={name: dg.AssetIn(dep, dagster_type=dg.Nothing) for name, dep in names.items()},
            metadata={**(metadata or {}), "dagster/code_references": _reference(compute)},
            **spec,
        )
        def asset(**done: Any) -> Any:
            return run([start(), *done.values()])

        return asset

    return wrap


@dg.op(
    out=dg.Out(dg.Nothing),
    description="Never skipped, so that the next step runs even if every dataset or candidate was skipped.",
)
def start() -> None:
    """Do nothing."""


def with_code_references(assets: Iterable[dg.AssetsDefinition]) -> list[dg.AssetsDefinition]:
    """Return the assets, each with the file and line of the code that makes it."""
    known = "dagster/code_references"
    done = [asset for asset in assets if any(known in metadata for metadata in asset.metadata_by_key.values())]
    referenced = dg.with_source_code_references([asset for asset in assets if asset not in done])
    return [*done, *(asset for asset in referenced if isinstance(asset, dg.AssetsDefinition))]


def _reference(function: Callable) -> dg.CodeReferencesMetadataValue:
    file, line = Path(inspect.getsourcefile(function) or ""), inspect.getsourcelines(function)[1]
    reference = dg.LocalFileCodeReference(file_path=str(file.resolve()), line_number=line, label=function.__name__)
    return dg.CodeReferencesMetadataValue(code_references=[reference])
