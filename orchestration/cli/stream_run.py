"""The commands of `groundswell stream`: each process of the stream, and the replay that needs no Kafka."""

import sys
import threading
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from data.rates import rate_text
from data.settings import LanguageSettings
from orchestration.layout import Layout
from orchestration.progress import TerminalProgress
from orchestration.steps.events import split_events
from serving.processes import stop_on_signals
from serving.streaming.producer import file_events, send


def log_json() -> None:
    """Log one line of JSON per event to standard error, in the service's format."""
    import structlog

    structlog.configure(
        processors=[
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.add_log_level,
            structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
    )


def run_worker(name: str, *, metrics_port: int | None, with_parent: bool, stub_model: bool) -> None:
    """Run one worker until it is stopped. Raises as `Worker.run` does."""
    from prometheus_client import start_http_server

    from serving.settings import StreamSettings
    from serving.streaming.worker.model import ReloadingModel, StubModel
    from serving.streaming.worker.worker import Worker

    stop = stop_on_signals(with_parent=with_parent)
    log_json()
    settings, var = StreamSettings.load(), Layout.load().var
    reject = LanguageSettings.load().reject
    port = metrics_port or settings.metrics_port
    start_http_server(port, addr="127.0.0.1")
    if stub_model:
        stub = StubModel()
        Worker(settings, var, lambda: stub, name=name, port=port, reject_languages=reject).run(stop)
        return
    model = ReloadingModel(var)
    threading.Thread(target=model.follow, args=(stop,), name="model", daemon=True).start()
    Worker(settings, var, lambda: model.current, name=name, port=port, reject_languages=reject).run(stop)


def run_alert_loop(*, with_parent: bool) -> None:
    """Run the alert process until it is stopped."""
    from serving.streaming.alerts.process import run_alerts

    stop = stop_on_signals(with_parent=with_parent)
    log_json()
    run_alerts(Layout.load().var, stop=stop)


def run_up(console: Console, *, max_workers: int | None) -> None:
    """Run the supervisor with all its processes until it is stopped."""
    from serving.settings import AlertSettings, StreamSettings, WarehouseSettings
    from serving.streaming.supervisor.supervisor import run_supervisor
    from serving.webhook import notify

    stop = stop_on_signals()
    settings = StreamSettings.load(max_workers=max_workers)
    hook = AlertSettings.load().webhook
    python = [sys.executable, "-m", "orchestration.cli"]

    def worker_command(name: str) -> list[str]:
        port = settings.metrics_port + int(name.removeprefix("w") or 0)
        return [*python, "stream", "worker", "--name", name, "--metrics-port", str(port), "--with-parent"]

    others = {"alerts": [*python, "stream", "alerts", "--with-parent"]}
    if WarehouseSettings.load().url is None:
        others = {"warehouse": [*python, "warehouse", "serve", "--with-parent"], **others}
    console.print(
        f"Group [bold]{settings.group}[/] on {settings.topic} at {settings.bootstrap}. Ctrl-C stops it; "
        "[bold]groundswell stream status --watch[/] shows its state."
    )
    run_supervisor(
        Layout.load().var,
        settings,
        stop,
        worker_command=worker_command,
        others=others,
        on_change=lambda text: console.print(f"[dim]·[/] {escape(text)}"),
        notify=(lambda text: notify(hook.get_secret_value(), text)) if hook else None,
    )


def run_send(console: Console, *, file: Path | None, count: int, rate: float | None) -> None:
    """Send messages and print how many arrived."""
    from serving.settings import StreamSettings
    from serving.streaming.broker import client_config
    from serving.streaming.supervisor.state_files import running_stream

    settings = running_stream(Layout.load().var, StreamSettings.load())
    events = file_events(file, count) if file else split_events(Layout.load(), count)
    with TerminalProgress(console) as terminal:
        terminal.begin(f"Send to {settings.topic} at {settings.bootstrap}")
        summary = send(client_config(settings), settings.topic, events, rate=rate, progress=terminal, total=count)
    errors = "".join(f", {name} {number:,}" for name, number in summary.errors.items())
    console.print(
        f"{summary.delivered:,} of {summary.sent:,} messages arrived, {rate_text(summary.delivered, summary.wall_s)}{errors}."
    )
