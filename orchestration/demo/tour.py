"""`groundswell demo`: the whole pipeline in one command, with its pages."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

import psutil
from rich.console import Console
from rich.panel import Panel

from data.errors import StreamError
from data.settings import project_root, read_yaml
from orchestration.demo.api import show_api
from orchestration.demo.pages import (
    Page,
    dagster_page,
    end_pages,
    mlflow_page,
    start_page,
    start_stream,
    wait_for_pages,
    wait_for_stream,
)
from orchestration.demo.stream import CRISIS_AFTER_S, CRISIS_SOURCE, Feed, test_texts
from orchestration.interrupts import no_interrupt_lost
from orchestration.layout import Layout, variable
from orchestration.progress import TerminalProgress
from orchestration.runs import run_assets
from orchestration.steps.data import only_sample
from orchestration.terminal.results import show_data, show_export_variants, show_gate_decision, show_leaderboard
from serving.deployment import status

STREAM_MESSAGES = 5000
SAMPLE_EPOCHS = 10
"""For the sample's 150 training rows: with fewer epochs the model learns nothing."""
DEMO_TOPIC = "demo-"
_EARLIER_TOPICS = (DEMO_TOPIC, "test-texts-")
"""Prefixes of the topics of earlier demos: their streams, and their replays of test texts."""


def run_demo(console: Console, *, once: bool, rows: int | None = None) -> bool:
    """Fetch, validate, train, benchmark, export, gate, register, build, deploy, classify, stream; then the dashboard, fed.

    Args:
        console: Where progress and results are printed.
        once: Stop what was started and return; else show the pages until Ctrl-C or SIGTERM.
        rows: Maximum training rows; None: that of configs/demo.yaml.

    Returns:
        Whether the pipeline finished; False where it was interrupted before.

    Raises:
        StreamError: Another stream runs in the same var folder.
    """
    started, settings = time.monotonic(), _demo_settings(rows)
    layout = Layout.load()
    pages: list[Page] = []
    stream_settings, stream = settings.pop("stream"), dict[str, dict[str, Any]]()
    done = False
    with _interruptible(), ExitStack() as held:
        try:
            if not once:
                _require_no_stream(layout)
                stream = {"stream": stream_settings | held.enter_context(_broker())}
            with TerminalProgress(console) as terminal:
                console.rule("[bold]Groundswell: from labeled text to a served model", align="left")
                run_assets("data", settings=settings, terminal=terminal)
                show_data(console)
                if only_sample(layout) and not _in_environment("training", "epochs"):
                    settings["training"]["epochs"] = SAMPLE_EPOCHS
                run_assets("benchmark", after="data", settings=settings, terminal=terminal)
                show_leaderboard(console)
                run_assets("export", after="benchmark", settings=settings, terminal=terminal)
                show_export_variants(console)
                run_assets("deploy", after="export", settings=settings | _for_service(stream), terminal=terminal)
                show_gate_decision(console)
            if status(layout.deployment) is None:  # so no model can classify the stream's messages
                console.print(
                    "[yellow]The promotion gate refused every version: nothing is served yet. See the reasons above.[/]"
                )
                return True
            show_api(console, layout)
            if once:
                _replay(console)
            else:
                _show_pages(console, replace(layout, overrides=settings | stream), held, pages)
            done = True
            _what_next(console, layout, time.monotonic() - started, pages)
            if pages:
                _wait(pages)
        except KeyboardInterrupt:
            console.print("Stopping what the demo started …")
        finally:
            held.close()
            _stop(layout, pages)
    return done


@contextmanager
def _interruptible() -> Iterator[None]:
    """Raise KeyboardInterrupt on SIGINT, SIGTERM and the end of the terminal, also where these were ignored at the start, as
    a script's `&` and `nohup` do.
    """

    def interrupt(*_: object) -> None:
        for number in before:  # the clean-up that follows is bounded; a second signal must not cut it short
            signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        with no_interrupt_lost(KeyboardInterrupt):
            yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _demo_settings(rows: int | None) -> dict[str, dict[str, Any]]:
    """Return configs/demo.yaml and the flag, by section; without the fields that the environment sets."""
    settings = {
        section: {field: value for field, value in fields.items() if not _in_environment(section, field)}
        for section, fields in read_yaml(project_root() / "configs" / "demo.yaml").items()
    }
    return settings if rows is None else settings | {"training": settings["training"] | {"max_train_rows": rows}}


def _for_service(stream: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return what the service needs: it finds the stream of its folder, unless the environment names another one."""
    return {name: of for name, of in stream.items() if any(_in_environment(name, field) for field in of)}


def _in_environment(section: str, field: str) -> bool:
    return any(value and name.upper() == variable(section, field) for name, value in os.environ.items())


def _replay(console: Console) -> None:
    from orchestration.terminal.replay import replay, show_summary

    show_summary(console, replay(file=None, count=STREAM_MESSAGES, bundle=None, console=console))


def _require_no_stream(layout: Layout) -> None:
    from serving.streaming.supervisor.state_files import read_state

    state = read_state(layout.var)
    if state and state["alive"]:
        raise StreamError(
            "A stream is running here already; the demo starts its own.",
            found=f"a supervisor with pid {state['pid']} in {layout.var / 'stream'}",
            remedy="Stop it first (Ctrl-C in its terminal), or set another folder: GROUNDSWELL_PATHS__VAR_DIR.",
        )


@contextmanager
def _broker() -> Iterator[dict[str, str]]:
    """Run a broker in this process; its address and its topic are the value, as settings of the stream."""
    from serving.streaming.broker import MESSAGES, in_process_broker

    topic = f"{MESSAGES}.{DEMO_TOPIC}{int(time.time())}"  # of this run alone: the broker counts from zero each time
    with in_process_broker(topic) as bootstrap:
        yield {"bootstrap": bootstrap, "topic": topic}


def _show_pages(console: Console, layout: Layout, held: ExitStack, pages: list[Page]) -> None:
    """Start the stream and the pages, with the settings of the demo; return when it has caught up and they are ready."""
    from serving.settings import StreamSettings

    with TerminalProgress(console) as terminal:
        terminal.begin("Delete earlier demos")
        _forget_earlier(layout)
        terminal.begin("Start the stream")
        environment = layout.environment()
        pages.append(start_stream(layout, environment))
        feed = held.enter_context(Feed(layout.settings(StreamSettings), test_texts(layout)))
        wait_for_stream(layout, pages[0], feed, terminal)
        terminal.begin("Start Dagster and MLflow")
        pages += [start_page(layout, spec, environment) for spec in (dagster_page(), mlflow_page(layout))]
        wait_for_pages(pages[1:], terminal)
        terminal.finish()
    feed.start_crisis_clock()


def _forget_earlier(layout: Layout) -> None:
    """Delete the messages of earlier demos in the same minutes, and the alerts of sources that only they had."""
    from serving.streaming.alerts.service import forget_sources
    from serving.streaming.broker import MESSAGES
    from serving.warehouse.connect import connect
    from serving.warehouse.forget import forget_topics

    with connect(layout.var) as client:
        sources = forget_topics(client, [f"{MESSAGES}.{start}" for start in _EARLIER_TOPICS])
    forget_sources(layout.var, sources)


def _what_next(console: Console, layout: Layout, seconds: float, pages: list[Page]) -> None:
    deployment = status(layout.deployment)
    url = deployment.url if deployment else "-"
    lines = [f"Done in {seconds / 60:.1f} minutes{_trained_on(layout)}.", ""]
    if pages:
        crisis = f"in {CRISIS_AFTER_S} s the source {CRISIS_SOURCE!r} has a crisis; its alert follows within 15 s"
        lines += [f"[bold]Dashboard  {url}[/]   {crisis}", f"API docs   {url}/docs"]
        lines += [page.line() for page in pages[1:]]
    else:
        lines += ["make demo          repeats this in seconds, and keeps the pages open"]
    lines += [
        f"Leaderboard {layout.leaderboard / 'leaderboard.html'}",
        "",
        'groundswell classify "your text"          classify with the production model',
        "groundswell score FILE --label-column …   measure it on your own file",
        "make train                                train on all rows: better, and slower",
    ]
    console.print(Panel("\n".join(lines), title="What next", border_style="green"))
    if pages:
        console.print("[dim]Ctrl-C stops everything this demo started.[/]")


def _trained_on(layout: Layout) -> str:
    from data.errors import BundleError
    from serving.bundle import production_bundle

    try:
        training = production_bundle(layout.var).manifest.training
    except BundleError:
        return ""
    if not training.get("rows"):
        return ""
    return f"; the production model is trained on {training['rows']:,} of {training['rows_available']:,} rows"


def _wait(pages: list[Page]) -> None:
    """Block until Ctrl-C, or until every page has ended by itself."""
    psutil.wait_procs([psutil.Process(page.process.pid) for page in pages if page.process and page.alive])


def _stop(layout: Layout, pages: list[Page]) -> None:
    from serving.deployment import stop

    end_pages(pages)
    stop(layout.deployment)
