"""`groundswell stream` and `groundswell warehouse`. Heavy imports wait until their command runs."""

import json
import sys
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.console import Console
from rich.table import Table

from orchestration.progress import print_error, terminal_console

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
warehouse_app = typer.Typer(help="ClickHouse: its server, its schema, and queries.", no_args_is_help=True)
console = terminal_console()
errors = Console(stderr=True, emoji=False)

AsJson = Annotated[bool, typer.Option("--json", help="Print plain JSON and nothing else.")]
WithParent = Annotated[
    bool, typer.Option("--with-parent", hidden=True, help="Stop when standard input closes: the parent process has ended.")
]
Every = Literal["second", "minute", "hour"]


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
    from orchestration.cli.stream_run import run_up

    run_up(console, max_workers=max_workers)


@stream_app.command(epilog="Example: groundswell stream worker --name w1")
def worker(
    name: Annotated[str, typer.Option(help="Unique among the workers of this group.")] = "worker",
    metrics_port: Annotated[int | None, typer.Option(help="Port of /metrics on 127.0.0.1 (default: from the settings).")] = None,
    with_parent: WithParent = False,
    stub_model: Annotated[bool, typer.Option("--stub-model", hidden=True, help="Use a stub without inference cost.")] = False,
) -> None:
    """Classify messages until Ctrl-C or SIGTERM; then finish, commit and leave the group."""
    from data.errors import SettingsError
    from orchestration.cli.stream_run import run_worker
    from serving.streaming.supervisor.child import CONFIG_ERROR
    from serving.streaming.worker.dead_letter_limit import TooManyDeadLetters

    try:
        run_worker(name, metrics_port=metrics_port, with_parent=with_parent, stub_model=stub_model)
    except (TooManyDeadLetters, SettingsError) as error:
        print_error(errors, error)
        raise typer.Exit(CONFIG_ERROR) from None


@stream_app.command(epilog="Example: groundswell stream alerts")
def alerts(with_parent: WithParent = False) -> None:
    """Watch the sentiment of each source, and publish an alert when it shifts: table, topic, webhook."""
    from orchestration.cli.stream_run import run_alert_loop

    run_alert_loop(with_parent=with_parent)


@stream_app.command(epilog="Example: groundswell stream calibrate")
def calibrate() -> None:
    """Find the threshold that keeps the false-alarm budget, by replaying the quiet history of the warehouse."""
    from orchestration.layout import Layout
    from serving.settings import AlertSettings
    from serving.streaming.alerts.calibration import calibrate_from_warehouse
    from serving.warehouse.connect import connect

    layout = Layout.load()
    with connect(layout.var) as client:
        _print_rows(
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

    var, settings = Layout.load().var, _stream_settings()
    if as_json:
        print(json.dumps(read_status(var, settings).to_dict(), default=str))
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
    from orchestration.cli.stream_run import run_send

    run_send(console, file=file, count=count, rate=rate)


@stream_app.command(epilog="Example: groundswell stream replay --count 50")
def replay(
    file: Annotated[Path | None, typer.Option(help="JSONL of events (default: test texts).")] = None,
    count: Annotated[int, typer.Option(help="Maximum number of messages.", min=1)] = 5000,
    bundle: Annotated[Path | None, typer.Option(help="A bundle folder (default: the production bundle).")] = None,
    as_json: AsJson = False,
) -> None:
    """Replay messages through an in-process broker into the warehouse, and print its counts. Needs no Kafka."""
    from orchestration.terminal.replay import replay as run
    from orchestration.terminal.replay import show_summary

    summary = run(file=file, count=count, bundle=bundle, console=None if as_json else console)
    if as_json:
        print(json.dumps(asdict(summary)))
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

    dead_letters = read_dead_letters(_stream_settings(), everything=everything, forgotten=_forgotten_keys())
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
    _print_rows(rows, title=f"dead letters (at most {limit})", as_json=as_json)


@dlq_app.command("replay", epilog="Example: groundswell stream dlq replay")
def replay_dead_letters() -> None:
    """Send each dead letter that was not replayed yet to its topic again, unchanged: after a fix of model, limit or contract."""
    from serving.streaming import dead_letters

    console.print(f"Sent {dead_letters.replay_dead_letters(_stream_settings()):,} messages again.")


@warehouse_app.command(epilog="Example: groundswell warehouse serve")
def serve(with_parent: WithParent = False) -> None:
    """Run the warehouse server: the embedded ClickHouse, for other processes on 127.0.0.1, in ClickHouse's HTTP protocol."""
    from orchestration.layout import Layout
    from serving.processes import stop_on_signals
    from serving.settings import WarehouseSettings
    from serving.warehouse.server import serve_warehouse

    stop = stop_on_signals(with_parent=with_parent)
    layout, settings = Layout.load(), WarehouseSettings.load()

    def ready(port: int) -> None:
        errors.print(f"Warehouse server of {layout.warehouse} listens on http://127.0.0.1:{port}")

    serve_warehouse(layout.var, settings.port, stop=stop, ready=ready)


@warehouse_app.command("ask", epilog="Example: groundswell warehouse ask distribution --hours 24")
def ask_question(
    question: Annotated[str, typer.Argument(help="Name of a query, such as distribution or lag; a wrong name lists all.")],
    hours: Annotated[float, typer.Option(help="Hours of event time before now.", min=0)] = 1.0,
    source: Annotated[str, typer.Option(help="Only this source.")] = "",
    every: Annotated[Every | None, typer.Option(help="second, minute or hour (default: depends on the time span).")] = None,
    limit: Annotated[int, typer.Option(help="Maximum number of rows.", min=1)] = 20,
    as_json: AsJson = False,
) -> None:
    """Run one of the dashboard's queries; each is a file in serving/warehouse/questions."""
    from orchestration.layout import Layout
    from serving.warehouse.connect import connect
    from serving.warehouse.questions import ask

    with connect(Layout.load().var) as client:
        rows = ask(client, question, since=datetime.now(UTC) - timedelta(hours=hours), source=source, every=every, limit=limit)
    _print_rows(rows, title=question, as_json=as_json)


@warehouse_app.command("migrate", epilog="Example: groundswell warehouse migrate")
def migrate_warehouse() -> None:
    """Bring the schema up to date (every start does)."""
    from orchestration.layout import Layout
    from serving.warehouse.connect import connect
    from serving.warehouse.migrate import pending

    with connect(Layout.load().var) as client:
        console.print("The schema is up to date." if not pending(client) else "Migrations are pending.")


@warehouse_app.command("rollback", epilog="Example: groundswell warehouse rollback")
def roll_back_warehouse() -> None:
    """Undo the newest migration, for the previous version of Groundswell. Its tables and their rows are deleted."""
    from orchestration.layout import Layout
    from serving.warehouse.connect import connect
    from serving.warehouse.migrate import roll_back

    with connect(Layout.load().var) as client:
        console.print(f"Undone: {roll_back(client) or 'nothing, there is no migration'}.")


@warehouse_app.command(epilog="Example: groundswell warehouse forget sentiment.messages")
def forget(topic: Annotated[str, typer.Argument(help="The topic whose rows, rollups and identity are deleted.")]) -> None:
    """Delete all rows of a topic, such as a recreated topic, whose offsets start at zero again."""
    from orchestration.layout import Layout
    from serving.warehouse.connect import connect
    from serving.warehouse.forget import forget_topic

    with connect(Layout.load().var) as client:
        console.print(f"Deleted {forget_topic(client, topic):,} messages of {topic}.")


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


def _stream_settings() -> "StreamSettings":
    """Return the settings of the stream that is running here, such as the demo's; else those of the environment."""
    from orchestration.layout import Layout
    from serving.settings import StreamSettings
    from serving.streaming.supervisor.state_files import running_stream

    return running_stream(Layout.load().var, StreamSettings.load())


def _print_rows(rows: list[dict[str, Any]], *, title: str, as_json: bool = False) -> None:
    if as_json:
        json.dump(rows, sys.stdout, default=str)
        print()
        return
    if not rows:
        console.print(f"{title}: no rows.")
        return
    table = Table(*rows[0], title=title, title_justify="left", box=None, header_style="dim")
    for row in rows:
        table.add_row(*(_cell(value) for value in row.values()))
    console.print(table)


def _cell(value: Any) -> str:
    from rich.markup import escape

    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%d %H:%M:%S")
    return escape(f"{value:,}" if isinstance(value, int) else str(value))
