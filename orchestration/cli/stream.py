"""`groundswell stream`. Heavy imports wait until their command runs."""

import sys
import threading
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from orchestration.cli.ingest import ingest_app
from orchestration.cli.output import AsJson, BundleDir, WithParent, console, errors, print_json, print_rows
from orchestration.progress import one_step, print_error

if TYPE_CHECKING:
    from serving.settings import StreamSettings
    from serving.warehouse.keys import ForgottenKeys

stream_app = typer.Typer(
    help=(
        "Classify messages of a Kafka topic, store them in the warehouse, and alert within seconds. On this machine: "
        "[bold]kafka[/] starts a broker, [bold]up[/] the workers, [bold]send[/] sends messages, [bold]status --watch[/] shows "
        "the progress."
    ),
    no_args_is_help=True,
    rich_markup_mode="rich",
)
dlq_app = typer.Typer(help="Dead letters: messages that no worker could classify, with the reason.", no_args_is_help=True)
stream_app.add_typer(dlq_app, name="dlq")
stream_app.add_typer(ingest_app, name="ingest")


@stream_app.command(epilog="Example: groundswell stream kafka")
def kafka(port: Annotated[int, typer.Option(help="On 127.0.0.1.")] = 9092) -> None:
    """Run a real Kafka broker with the topics on this machine (needs Java 17 and Maven; the jars are fetched once)."""
    from orchestration.layout import Layout
    from orchestration.local.kafka import run_local_kafka

    run_local_kafka(Layout.load().var, port, console)


@stream_app.command(epilog="Example: groundswell stream init --partitions 12")
def init(
    partitions: Annotated[int, typer.Option(help="Partitions of the messages: the maximum number of workers.", min=1)] = 6,
    replication: Annotated[int, typer.Option(help="Replicas; -1: the broker's default.")] = -1,
) -> None:
    """Create the topics that are missing."""
    from serving.settings import StreamSettings
    from serving.streaming.broker import create_topics

    created = create_topics(StreamSettings.load(), partitions=partitions, replication=replication)
    console.print(f"Created {', '.join(created)}." if created else "All four topics are there.")


@stream_app.command(epilog="Example: groundswell stream up --max-workers 2")
def up(
    max_workers: Annotated[int | None, typer.Option(help="Maximum number of workers (default: one per core).", min=1)] = None,
) -> None:
    """Run the whole stream: warehouse server, alerts, and as many workers as the backlog needs."""
    from orchestration.layout import Layout
    from serving.processes import stop_on_signals
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


@stream_app.command(epilog="Example: groundswell stream worker --name w1")
def worker(
    name: Annotated[str, typer.Option(help="Unique among the workers of this group.")] = "worker",
    metrics_port: Annotated[int | None, typer.Option(help="Port of /metrics on 127.0.0.1 (default: from the settings).")] = None,
    with_parent: WithParent = False,
    stub_model: Annotated[bool, typer.Option("--stub-model", hidden=True, help="Use a stub without inference cost.")] = False,
) -> None:
    """Classify messages until Ctrl-C or SIGTERM; then finish, commit and leave the group."""
    from prometheus_client import start_http_server

    from data.domains import domains_of_sources
    from data.errors import SettingsError
    from data.settings import LanguageSettings
    from orchestration.layout import Layout
    from serving.processes import settle_memory, stop_on_signals
    from serving.settings import ServingSettings, StreamSettings
    from serving.streaming.supervisor.child import CONFIG_ERROR
    from serving.streaming.worker.dead_letter_limit import TooManyDeadLetters
    from serving.streaming.worker.model import ReloadingModel, StubModel
    from serving.streaming.worker.worker import Worker

    try:
        stop = stop_on_signals(with_parent=with_parent)
        _log_json()
        settings, var = StreamSettings.load(), Layout.load().var
        options: dict[str, Any] = {"domains": domains_of_sources(), "reject_languages": LanguageSettings.load().reject}
        port = metrics_port or settings.metrics_port
        start_http_server(port, addr="127.0.0.1")
        if stub_model:
            stub = StubModel()
            Worker(settings, var, lambda: stub, name=name, port=port, **options).run(stop)
            return
        model = ReloadingModel(var, ServingSettings.load().engine, settings.tier, cache_texts=settings.cache_texts)
        threading.Thread(target=model.follow, args=(stop,), name="model", daemon=True).start()
        settle_memory()
        Worker(settings, var, lambda: model.current, name=name, port=port, **options).run(stop)
    except (TooManyDeadLetters, SettingsError) as error:
        print_error(errors, error)
        raise typer.Exit(CONFIG_ERROR) from None


@stream_app.command(epilog="Example: groundswell stream alerts")
def alerts(with_parent: WithParent = False) -> None:
    """Watch the sentiment of each source, and publish an alert when it shifts: table, topic, webhook."""
    from orchestration.layout import Layout
    from serving.processes import stop_on_signals
    from serving.streaming.alerts.process import run_alerts

    stop = stop_on_signals(with_parent=with_parent)
    _log_json()
    run_alerts(Layout.load().var, stop=stop)


@stream_app.command(epilog="Example: groundswell stream calibrate")
def calibrate() -> None:
    """Find the threshold that keeps the false-alarm budget, by replaying the quiet history of the warehouse."""
    from orchestration.layout import Layout
    from serving.settings import AlertSettings
    from serving.streaming.alerts.calibration import calibrate_from_warehouse
    from serving.warehouse.connect import connect

    layout = Layout.load()
    with connect(layout.var) as client:
        print_rows(
            [asdict(row) for row in calibrate_from_warehouse(client, layout.var, AlertSettings.load())], title="thresholds"
        )


@stream_app.command(epilog="Example: groundswell stream status --watch")
def status(
    watch: Annotated[bool, typer.Option("--watch", help="Refresh it every second until Ctrl-C.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show the consumer group: partitions, lag, rates, workers, versions, dead letters."""
    from orchestration.layout import Layout
    from orchestration.terminal.stream_tables import show_status, watch_status
    from serving.streaming.status import read_status

    var, settings = Layout.load().var, stream_settings()
    if as_json:
        print_json(read_status(var, settings).to_dict())
    elif watch:
        watch_status(console, var, settings)
    else:
        show_status(console, read_status(var, settings))


@stream_app.command(epilog="Example: groundswell stream send events.jsonl --rate 100")
def send(
    file: Annotated[Path | None, typer.Argument(help="JSONL of events (default: test texts).")] = None,
    count: Annotated[int, typer.Option(help="Maximum number of messages.", min=1)] = 10_000,
    rate: Annotated[float | None, typer.Option(help="Messages a second (default: as fast as the broker accepts them).")] = None,
) -> None:
    """Send messages to the topic: events from a file, or test texts with the current time."""
    from data.rates import rate_text
    from orchestration.layout import Layout
    from orchestration.steps.events import split_events
    from serving.streaming.broker import client_config
    from serving.streaming.producer import file_events
    from serving.streaming.producer import send as send_events

    settings = stream_settings()
    events = file_events(file, count) if file else split_events(Layout.load(), count)
    with one_step(console, f"Send to {settings.topic} at {settings.bootstrap}") as progress:
        summary = send_events(client_config(settings), settings.topic, events, rate=rate, progress=progress, total=count)
    failed = "".join(f", {name} {number:,}" for name, number in summary.errors.items())
    console.print(
        f"{summary.delivered:,} of {summary.sent:,} messages arrived, {rate_text(summary.delivered, summary.wall_s)}{failed}."
    )


@stream_app.command(epilog="Example: groundswell stream replay --count 50")
def replay(
    file: Annotated[Path | None, typer.Option(help="JSONL of events (default: test texts).")] = None,
    count: Annotated[int, typer.Option(help="Maximum number of messages.", min=1)] = 5000,
    bundle: BundleDir = None,
    as_json: AsJson = False,
) -> None:
    """Replay messages through an in-process broker into the warehouse, and print its counts. Needs no Kafka."""
    from orchestration.terminal.replay import replay as run
    from orchestration.terminal.replay import show_summary

    summary = run(file=file, count=count, bundle=bundle, console=None if as_json else console)
    if as_json:
        print_json(asdict(summary))
    else:
        show_summary(console, summary)


@dlq_app.command("list", epilog="Example: groundswell stream dlq list --limit 20")
def list_dead_letters(
    everything: Annotated[bool, typer.Option("--all", help="Include those that were replayed.")] = False,
    limit: Annotated[int, typer.Option(help="Maximum number of dead letters.", min=1)] = 50,
    as_json: AsJson = False,
) -> None:
    """Show dead letters with their origin, reason and content."""
    from itertools import islice

    from serving.streaming.dead_letters import read_dead_letters

    dead_letters = read_dead_letters(stream_settings(), everything=everything, forgotten=_forgotten_keys())
    rows = [
        {
            "origin": f"{x.topic}/{x.partition}/{x.offset}",
            "died_at": x.died_at,
            "reason": x.reason,
            "original": x.original[:120].decode("utf-8", errors="replace"),
            "bytes": len(x.original),
        }
        for x in islice(dead_letters, limit)
    ]
    print_rows(rows, title=f"dead letters (at most {limit})", as_json=as_json)


@dlq_app.command("replay", epilog="Example: groundswell stream dlq replay")
def replay_dead_letters() -> None:
    """Send each dead letter that was not replayed yet to its topic again, unchanged: after a fix of model, limit or contract."""
    from serving.streaming import dead_letters

    console.print(f"Sent {dead_letters.replay_dead_letters(stream_settings()):,} messages again.")


def _log_json() -> None:
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


def _forgotten_keys() -> "ForgottenKeys | None":
    """Return what is forgotten; None where the warehouse is not reachable."""
    from data.errors import GroundswellError
    from orchestration.layout import Layout
    from serving.warehouse.connect import connect
    from serving.warehouse.keys import ForgottenKeys

    keys = ForgottenKeys()
    try:
        with connect(Layout.load().var, own=False) as client:
            keys.read(client)
    except GroundswellError:
        return None
    return keys


def stream_settings() -> "StreamSettings":
    """Return the settings of the stream that is running here, such as the demo's; else those of the environment."""
    from orchestration.layout import Layout
    from serving.settings import StreamSettings
    from serving.streaming.supervisor.state_files import running_stream

    return running_stream(Layout.load().var, StreamSettings.load())
