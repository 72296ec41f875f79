"""The processes that the demo starts beside the service, and when each of them is ready to be looked at."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import psutil

from data.errors import StreamError
from data.settings import project_root
from orchestration.demo_stream import CRISIS_SOURCE, Feed
from orchestration.layout import Layout
from orchestration.progress import TerminalProgress
from serving.settings import DashboardSettings
from serving.streaming.supervisor_files import read_state

READY_S = 120.0
"""A page that does not answer by then is reported, and the demo continues; a stream that has moved no further by then ends it."""
LOOK_S = 0.3
STOP_S = 15.0
MLFLOW_RUNS = "/#/experiments/1/runs?workflowType=machine_learning"
"""The first experiment of a store is ours. Without the query MLflow opens on its pages for language models."""


@dataclass(frozen=True)
class Spec:
    """A page that can be started."""

    name: str
    port: int
    health: str
    """Path that answers 200 once it is ready."""
    opens: str
    """Address a person opens."""
    about: str
    command: list[str]


def dagster_page() -> Spec:
    """Dagster, on the port of the dashboard's link to it."""
    port = urlsplit(DashboardSettings.load().dagster_url).port or 3001
    command = [sys.executable, "-m", "orchestration.cli", "dagster", "--port", str(port)]
    return Spec("Dagster", port, "/server_info", f"http://127.0.0.1:{port}", "the graph, its runs and checks", command)


def mlflow_page(layout: Layout) -> Spec:
    """MLflow, on the port of the dashboard's link to it."""
    port = urlsplit(DashboardSettings.load().mlflow_url).port or 5000
    store = f"sqlite:///{layout.var}/mlflow/mlflow.db"
    command = [_binary("mlflow"), "ui", "--host", "127.0.0.1", "--port", str(port), "--backend-store-uri", store]
    return Spec("MLflow", port, "/health", f"http://127.0.0.1:{port}{MLFLOW_RUNS}", "the comparison of runs", command)


@dataclass
class Page:
    """A started process, or one that could not be started; `problem` says why it cannot be looked at, empty where it can."""

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
        """None where it runs, or never did."""
        return self.process and self.process.returncode

    def ready(self) -> bool:
        """Whether it answers now."""
        assert self.spec
        try:
            return httpx.get(f"http://127.0.0.1:{self.spec.port}{self.spec.health}", timeout=2).status_code == 200
        except httpx.HTTPError:
            return False

    def line(self) -> str:
        """What the closing panel says of it."""
        assert self.spec
        if self.problem:
            return f"{self.spec.name:<10} [yellow]{self.problem}[/]"
        return f"{self.spec.name:<10} {self.spec.opens}   {self.spec.about}"


def start_stream(layout: Layout) -> Page:
    """Start supervisor, warehouse server, alerts and one worker."""
    command = [sys.executable, "-m", "orchestration.cli", "stream", "up", "--max-workers", "1"]
    log = layout.var / "logs" / "stream.log"
    return Page(None, log, _start(command, log))


def start_page(layout: Layout, spec: Spec) -> Page:
    """Start a page; where its port is taken, its `problem` says so."""
    log = layout.var / "logs" / f"{spec.name.lower()}.log"
    with socket.socket() as probe:
        taken = probe.connect_ex(("127.0.0.1", spec.port)) == 0
    if taken:
        return Page(spec, log, problem=f"not started: port {spec.port} is taken by another program")
    return Page(spec, log, _start(spec.command, log))


def _start(command: Sequence[str], log: Path) -> "subprocess.Popen[bytes]":
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as file:
        return subprocess.Popen(
            command,
            cwd=project_root(),
            env={**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
            stdout=file,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )


def wait_for_stream(layout: Layout, page: Page, feed: Feed, terminal: TerminalProgress) -> None:
    """Block until the stream runs, the history is in the warehouse and the alerts know what is normal.

    However slow the machine: each may take as long as it moves on, and `READY_S` without a change ends the wait.

    Raises:
        StreamError: The stream ended, or did not get there; its log says why.
    """
    if not feed.wait_for_history(READY_S):
        raise StreamError("The broker does not take the demo's messages.", remedy=f"See {page.log}.")
    terminal.begin("Load the last 15 minutes")

    def loaded() -> tuple[bool, int]:
        state = read_state(layout.var) or {}
        done = sum(each["committed"] for each in state.get("partitions", ())) if state.get("alive") else 0
        terminal(f"{min(done, feed.history):,} of {feed.history:,} messages", min(done / feed.history, 1.0))
        return done >= feed.history and state["state"] == "running", done

    _until(loaded, page, "The stream has not read the demo's history.")
    terminal.begin("Learn what is normal")
    _until(lambda: (_normal_is_known(layout), 0), page, "The alerts have no baseline.")


def _normal_is_known(layout: Layout) -> bool:
    from serving.warehouse.connect import connect
    from serving.warehouse.questions import ask

    with connect(layout.var, own=False) as client:
        return any(row["source"] == CRISIS_SOURCE for row in ask(client, "normal"))


def _until(look: Callable[[], tuple[bool, int]], page: Page, failure: str) -> None:
    """Wait until `look` returns True, with how far it is: the time starts again with each change of that."""
    never, reached, ends = threading.Event(), -1, 0.0
    while True:
        done, so_far = look()
        if done:
            return
        if so_far != reached:
            reached, ends = so_far, time.monotonic() + READY_S
        if not page.alive or time.monotonic() > ends:
            found = f"it ended with {page.exit_code}" if not page.alive else f"no change for {READY_S:g} s"
            raise StreamError(failure, found=found, remedy=f"See {page.log} and {page.log.parent.parent / 'stream' / 'logs'}.")
        never.wait(LOOK_S)


def wait_for_pages(pages: Sequence[Page], terminal: TerminalProgress) -> None:
    """Block until every page answers, at most `READY_S`; what does not gets a `problem`."""
    never, ends = threading.Event(), time.monotonic() + READY_S
    waiting = [page for page in pages if not page.problem]
    while waiting:
        terminal(f"waiting for {', '.join(page.spec.name for page in waiting if page.spec)}", None)
        for page in waiting:
            if not page.alive:
                page.problem = f"ended with {page.exit_code}; see {page.log}"
            elif time.monotonic() > ends:
                page.problem = f"does not answer yet; see {page.log}"
        waiting = [page for page in waiting if not page.problem and not page.ready()]
        never.wait(LOOK_S)


def end_pages(pages: Sequence[Page]) -> None:
    """End the processes and their children: first asked, after `STOP_S` killed."""
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
