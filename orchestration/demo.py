"""`groundswell demo`: the whole job, watched."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psutil
from rich.console import Console
from rich.panel import Panel

from data.catalog import load_catalog
from data.settings import ENV_PREFIX, DataSettings, project_root, read_yaml
from data.sources import enabled
from orchestration.demo_api import show_api
from orchestration.layout import Layout
from orchestration.progress import TerminalProgress
from orchestration.runs import run_assets, show_data, show_ladder, show_leaderboard, show_verdict
from orchestration.steps.data import read_splits
from serving.deployment import status

STREAM_MESSAGES = 5000
SAMPLE_EPOCHS = 20
"""On 150 rows: fewer leave a model that has not moved."""
DAGSTER_PORT, MLFLOW_PORT = 3001, 5000
DEMO_TOPIC = "demo-"


def run_demo(console: Console, *, once: bool) -> None:
    """Fetch, validate, train, benchmark, export, gate, register, build, deploy, ask, stream; then the dashboard, fed.

    Args:
        console: Where it is watched.
        once: Stop what was started and return; else show the pages until Ctrl-C.
    """
    started = time.monotonic()
    _use_demo_settings()
    layout = Layout.load()
    pages: list[subprocess.Popen[bytes]] = []
    held = ExitStack()
    try:
        if not once:
            held.enter_context(_broker())  # before the service starts, which shows how the stream on it stands
        with TerminalProgress(console) as terminal:
            console.rule("[bold]Groundswell: labelled text in, a model that answers out", align="left")
            run_assets("data", terminal=terminal)
            show_data(console)
            run_assets("benchmark", after="data", terminal=terminal)
            show_leaderboard(console)
            run_assets("export", after="benchmark", terminal=terminal)
            show_ladder(console)
            run_assets("deploy", after="export", terminal=terminal)
            show_verdict(console)
        if status(layout.deployment) is None:
            console.print("[yellow]The gate let no version through, so nothing answers yet. The reasons stand above.[/]")
        else:
            show_api(console, layout)
            if once:
                _stream(console)
        if not once:
            _forget_earlier(layout)
            pages = _open_pages(layout)
            held.enter_context(_fed(layout))
        _what_next(console, layout, time.monotonic() - started, once)
        if not once:
            _wait(pages)
    except KeyboardInterrupt:
        console.print("Stopping what the demo started …")
    finally:
        held.close()
        _stop(layout, pages)


def _use_demo_settings() -> None:
    if all(spec.sample for spec in enabled(load_catalog(), DataSettings.load())):
        os.environ.setdefault(f"{ENV_PREFIX}TRAINING__EPOCHS", str(SAMPLE_EPOCHS))
    for section, fields in read_yaml(project_root() / "configs" / "demo.yaml").items():
        for field, value in fields.items():
            os.environ.setdefault(f"{ENV_PREFIX}{section}__{field}".upper(), str(value))


def _stream(console: Console) -> None:
    from orchestration.streaming import replay, show_summary

    show_summary(console, replay(file=None, count=STREAM_MESSAGES, bundle=None, console=console))


@contextmanager
def _broker() -> Iterator[None]:
    """A broker in this process, and the settings by which those that are started find it."""
    from serving.streaming.broker import MESSAGES, in_process_broker

    with in_process_broker() as bootstrap:
        # It counts from zero each time, so each run has a topic of its own.
        os.environ[f"{ENV_PREFIX}STREAM__BOOTSTRAP"] = bootstrap
        os.environ[f"{ENV_PREFIX}STREAM__TOPIC"] = f"{MESSAGES}.{DEMO_TOPIC}{int(time.time())}"
        yield


def _forget_earlier(layout: Layout) -> None:
    """Earlier runs told of the same minutes."""
    from serving.streaming.broker import MESSAGES
    from serving.warehouse.connect import connect
    from serving.warehouse.forget import forget_topic

    query = "SELECT DISTINCT topic FROM rollup_hour WHERE startsWith(topic, {start:String})"
    with connect(layout.var) as client:
        for (topic,) in client.query(query, parameters={"start": f"{MESSAGES}.{DEMO_TOPIC}"}).result_rows:
            forget_topic(client, topic)


@contextmanager
def _fed(layout: Layout) -> Iterator[None]:
    """Messages on the stream while the block lasts."""
    from orchestration.demo_stream import feed, test_texts
    from serving.settings import StreamSettings

    stop = threading.Event()
    feeding = threading.Thread(target=feed, args=(StreamSettings.load(), test_texts(layout), stop), name="feed")
    feeding.start()
    try:
        yield
    finally:
        stop.set()
        feeding.join()


def _open_pages(layout: Layout) -> list[subprocess.Popen[bytes]]:
    logs = layout.var / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    binary = Path(sys.executable).parent
    store = f"sqlite:///{layout.var}/mlflow/mlflow.db"
    commands = {
        "stream": [sys.executable, "-m", "orchestration.cli", "stream", "up", "--max-workers", "1"],
        "dagster": [sys.executable, "-m", "orchestration.cli", "dagster", "--port", str(DAGSTER_PORT)],
        "mlflow": [
            str(binary / "mlflow"), "ui", "--host", "127.0.0.1", "--port", str(MLFLOW_PORT), "--backend-store-uri", store,
        ],
    }  # fmt: skip
    environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    opened = []
    for name, command in commands.items():
        with (logs / f"{name}.log").open("wb") as log:
            opened.append(
                subprocess.Popen(
                    command, cwd=project_root(), env=environment, stdout=log, stderr=subprocess.STDOUT,
                    stdin=subprocess.DEVNULL, start_new_session=True,
                )
            )  # fmt: skip
    return opened


def _what_next(console: Console, layout: Layout, seconds: float, once: bool) -> None:
    deployment = status(layout.deployment)
    url = deployment.url if deployment else "-"
    lines = [f"Done in {seconds / 60:.1f} minutes, on {sum(read_splits(layout).rows.values()):,} checked texts.", ""]
    if once:
        lines += ["make demo          the same again in seconds, and then the pages stay open"]
    else:
        lines += [
            f"[bold]Dashboard  {url}[/]   live: what is said now; within a minute something breaks, and it tells",
            f"API docs   {url}/docs",
            f"Dagster    http://127.0.0.1:{DAGSTER_PORT}   the graph, its runs and checks (about 15 s to come up)",
            f"MLflow     http://127.0.0.1:{MLFLOW_PORT}   the comparison of runs",
        ]
    lines += [
        f"Leaderboard {layout.leaderboard / 'leaderboard.html'}",
        "",
        'groundswell classify "your text"          ask the model here',
        "groundswell score FILE --label-column …   measure it on your own file",
        "make train                                train on everything: better, and slower",
    ]
    console.print(Panel("\n".join(lines), title="What next", border_style="green"))
    if not once:
        console.print("[dim]Ctrl-C stops everything this demo started.[/]")


def _wait(pages: list[subprocess.Popen[bytes]]) -> None:
    """Until Ctrl-C, or until a page ends by itself."""
    psutil.wait_procs([psutil.Process(page.pid) for page in pages])


def _stop(layout: Layout, pages: list[subprocess.Popen[bytes]]) -> None:
    from serving.deployment import stop

    families = []
    for page in pages:
        try:
            process = psutil.Process(page.pid)
            families += [process, *process.children(recursive=True)]
            os.killpg(page.pid, signal.SIGINT)
        except (psutil.Error, ProcessLookupError):
            continue
    stop(layout.deployment)
    _, alive = psutil.wait_procs(families, timeout=15)
    for survivor in alive:
        survivor.kill()
