"""The processes that the demo starts in addition to the service, and the waits until each of them is ready."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import psutil

from data.errors import StreamError
from data.settings import project_root
from orchestration.demo.stream import CRISIS_SOURCE, Feed
from orchestration.layout import Layout
from orchestration.progress import TerminalProgress
from serving.processes import port_is_taken
from serving.settings import DashboardSettings
from serving.streaming.supervisor.state_files import read_state

READY_S = 120.0
"""A page that is not ready by then is reported, and the demo continues; a stream without progress for as long ends the demo."""
POLL_INTERVAL_S = 0.3
STOP_S = 15.0
MLFLOW_RUNS = "/#/experiments/1/runs?workflowType=machine_learning"
"""The first experiment of a store is Groundswell's. Without the query MLflow opens on its pages for language models."""


@dataclass(frozen=True)
class Spec:
    """A page that can be started."""

    name: str
    port: int
    health: str
    """Path that returns 200 once it is ready."""
    opens: str
    """Address to open in a browser."""
    about: str
    command: list[str]


def dagster_page() -> Spec:
    """Describe Dagster's page, on the port of the dashboard's link to it."""
    port = urlsplit(DashboardSettings.load().dagster_url).port or 3001
    command = [sys.executable, "-m", "orchestration.cli", "dagster", "--port", str(port)]
    return Spec("Dagster", port, "/server_info", f"http://127.0.0.1:{port}", "the graph, its runs and checks", command)


def mlflow_page(layout: Layout) -> Spec:
    """Describe MLflow's page, on the port of the dashboard's link to it."""
    port = urlsplit(DashboardSettings.load().mlflow_url).port or 5000
    store = f"sqlite:///{layout.var}/mlflow/mlflow.db"
    command = [_binary("mlflow"), "ui", "--host", "127.0.0.1", "--port", str(port), "--backend-store-uri", store]
    return Spec("MLflow", port, "/health", f"http://127.0.0.1:{port}{MLFLOW_RUNS}", "the comparison of runs", command)


@dataclass
class Page:
    """A process that was started, or could not be; `problem` is the reason why its page is not available, or empty."""

    spec: Spec | None
    log: Path
    process: subprocess.Popen[bytes] | None = None
    problem: str = ""

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self.process is not None and self.process.poll() is None

    @property
    def exit_code(self) -> int | None:
        """None where it is running, or was not started."""
        return self.process and self.process.returncode

    def ready(self) -> bool:
        """Return whether its health check returns 200."""
        assert self.spec
        try:
            return httpx.get(f"http://127.0.0.1:{self.spec.port}{self.spec.health}", timeout=2).status_code == 200
        except httpx.HTTPError:
            return False

    def line(self) -> str:
        """Return the page's line in the closing panel."""
        assert self.spec
        if self.problem:
            return f"{self.spec.name:<10} [yellow]{self.problem}[/]"
        return f"{self.spec.name:<10} {self.spec.opens}   {self.spec.about}"


def start_stream(layout: Layout, environment: Mapping[str, str]) -> Page:
    """Start supervisor, warehouse server, alerts and one worker, with these variables in addition to those of this process."""
    command = [sys.executable, "-m", "orchestration.cli", "stream", "up", "--max-workers", "1"]
    log = layout.var / "logs" / "stream.log"
    return Page(None, log, _start(command, log, environment))


def start_page(layout: Layout, spec: Spec, environment: Mapping[str, str]) -> Page:
    """Start a page, with these variables in addition; where its port is in use, that becomes its `problem`."""
    log = layout.var / "logs" / f"{spec.name.lower()}.log"
    if port_is_taken(spec.port):
        return Page(spec, log, problem=f"not started: port {spec.port} is in use by another program")
    return Page(spec, log, _start(spec.command, log, environment))


def _start(command: Sequence[str], log: Path, environment: Mapping[str, str]) -> "subprocess.Popen[bytes]":
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as file:
        return subprocess.Popen(
            command,
            cwd=project_root(),
            env={**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", **environment},
            stdout=file,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )


def wait_for_stream(layout: Layout, page: Page, feed: Feed, terminal: TerminalProgress) -> None:
    """Block until the stream runs, the history is in the warehouse and the alerts have a baseline.

    There is no limit to the total time, so that slow machines finish too: `READY_S` without progress ends the wait.

    Raises:
        StreamError: The stream ended, or made no progress; its log has the reason.
    """
    if not feed.wait_for_history(READY_S):
        raise StreamError("The broker does not accept the demo's messages.", remedy=f"See {page.log}.")
    terminal.begin("Load the last 15 minutes")

    def loaded() -> tuple[bool, int]:
        state = read_state(layout.var) or {}
        done = sum(each["committed"] for each in state.get("partitions", ())) if state.get("alive") else 0
        terminal(f"{min(done, feed.history):,} of {feed.history:,} messages", min(done / feed.history, 1.0))
        return done >= feed.history and state["state"] == "running", done

    _until(loaded, page, "The stream has not read the demo's history.")
    terminal.begin("Learn what is normal")
    _until(lambda: (_has_baseline(layout), 0), page, "The alerts have no baseline.")


def _has_baseline(layout: Layout) -> bool:
    from serving.warehouse.connect import connect
    from serving.warehouse.questions import ask

    with connect(layout.var, own=False) as client:
        return any(row["source"] == CRISIS_SOURCE for row in ask(client, "normal"))


def _until(check: Callable[[], tuple[bool, int]], page: Page, failure: str) -> None:
    """Wait until `check` returns True; its second value is the progress, and each change of it restarts the timeout."""
    never, reached, ends = threading.Event(), -1, 0.0
    while True:
        done, so_far = check()
        if done:
            return
        if so_far != reached:
            reached, ends = so_far, time.monotonic() + READY_S
        if not page.alive or time.monotonic() > ends:
            found = f"it ended with {page.exit_code}" if not page.alive else f"no progress for {READY_S:g} s"
            raise StreamError(failure, found=found, remedy=f"See {page.log} and {page.log.parent.parent / 'stream' / 'logs'}.")
        never.wait(POLL_INTERVAL_S)


def wait_for_pages(pages: Sequence[Page], terminal: TerminalProgress) -> None:
    """Block until every page is ready, at most `READY_S`; a page that is not gets a `problem`."""
    never, ends = threading.Event(), time.monotonic() + READY_S
    waiting = [page for page in pages if not page.problem]
    while waiting:
        terminal(f"waiting for {', '.join(page.spec.name for page in waiting if page.spec)}", None)
        for page in waiting:
            if not page.alive:
                page.problem = f"ended with {page.exit_code}; see {page.log}"
            elif time.monotonic() > ends:
                page.problem = f"not ready yet; see {page.log}"
        waiting = [page for page in waiting if not page.problem and not page.ready()]
        never.wait(POLL_INTERVAL_S)


def end_pages(pages: Sequence[Page]) -> None:
    """Stop the processes and their children: SIGINT first, and after `STOP_S` SIGKILL."""
    families = []
    for process in (page.process for page in pages if page.process):
        try:
            leader = psutil.Process(process.pid)
            families += [leader, *leader.children(recursive=True)]
            os.killpg(process.pid, signal.SIGINT)
        except (psutil.Error, ProcessLookupError):
            continue
    _, alive = psutil.wait_procs(families, timeout=STOP_S)
    for survivor in alive:
        survivor.kill()


def _binary(name: str) -> str:
    return str(Path(sys.executable).parent / name)
