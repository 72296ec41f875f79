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

stream_app = typer.Typer(
    help=(
        "Kafka in, judged messages in the warehouse, alerts in seconds. On this machine: [bold]kafka[/] starts a broker, "
        "[bold]up[/] the workers, [bold]send[/] some messages, [bold]status --watch[/] shows them go through."
    ),
    no_args_is_help=True,
    rich_markup_mode="rich",
)
dlq_app = typer.Typer(help="Dead letters: messages that no worker could judge, with the reason.", no_args_is_help=True)
stream_app.add_typer(dlq_app, name="dlq")
warehouse_app = typer.Typer(help="ClickHouse: who holds it, its schema, and questions to it.", no_args_is_help=True)
console = terminal_console()
errors = Console(stderr=True)

AsJson = Annotated[bool, typer.Option("--json", help="Print plain JSON and nothing else.")]
WithParent = Annotated[
    bool, typer.Option("--with-parent", hidden=True, help="End when standard input does: whoever started it has gone.")
]
Every = Literal["second", "minute", "hour"]


@stream_app.command(epilog="Example: groundswell stream kafka")
def kafka(port: Annotated[int, typer.Option(help="On 127.0.0.1.")] = 9092) -> None:
    """Run a real Kafka broker on this machine, with the topics (Java 17 and Maven; the jars are fetched once)."""
    from orchestration.kafka.server import run_local_kafka
    from orchestration.layout import Layout

    run_local_kafka(Layout.load().var, port, console)


@stream_app.command(epilog="Example: groundswell stream init --partitions 12")
def init(
    partitions: Annotated[int, typer.Option(help="Of the messages; as many workers can share them.", min=1)] = 6,
    replication: Annotated[int, typer.Option(help="Copies; -1: the broker's default.")] = -1,
) -> None:
    """Make the topics that are missing."""
    from serving.settings import StreamSettings
    from serving.streaming.broker import create_topics

    made = create_topics(StreamSettings.load(), partitions=partitions, replication=replication)
    console.print(f"Made {', '.join(made)}." if made else "All four topics are there.")


@stream_app.command(epilog="Example: groundswell stream up --max-workers 2")
def up(
    max_workers: Annotated[int | None, typer.Option(help="At most so many workers; default: one a processor.", min=1)] = None,
) -> None:
    """Run everything: the warehouse's owner, the alerts, and as many workers as the backlog needs."""
    from orchestration.streaming import run_up

    run_up(console, max_workers=max_workers)


@stream_app.command(epilog="Example: groundswell stream worker --name w1")
def worker(
    name: Annotated[str, typer.Option(help="Unique among the workers of this group.")] = "worker",
    metrics_port: Annotated[int | None, typer.Option(help="Of /metrics on 127.0.0.1; default: that of the settings.")] = None,
    with_parent: WithParent = False,
    stand_in: Annotated[bool, typer.Option("--stand-in", hidden=True, help="Judge with answers that cost nothing.")] = False,
) -> None:
    """Judge messages until told to stop (Ctrl-C or SIGTERM): then finish, commit and leave."""
    from data.errors import SettingsError
    from orchestration.streaming import run_worker
    from serving.streaming.child import CONFIG_ERROR
    from serving.streaming.worker import TooManyDeadLetters

    try:
        run_worker(name, metrics_port=metrics_port, with_parent=with_parent, stand_in=stand_in)
    except (TooManyDeadLetters, SettingsError) as error:
        print_error(errors, error)
        raise typer.Exit(CONFIG_ERROR) from None


@stream_app.command(epilog="Example: groundswell stream alerts")
def alerts(with_parent: WithParent = False) -> None:
    """Watch the sentiment of each source, and tell when it shifts: table, topic, webhook."""
    from orchestration.streaming import run_alert_loop

    run_alert_loop(with_parent=with_parent)


@stream_app.command(epilog="Example: groundswell stream calibrate")
def calibrate() -> None:
    """Find the threshold that keeps to the budget of false alarms, by replaying the quiet history of the warehouse."""
    from orchestration.layout import Layout
    from serving.settings import AlertSettings
    from serving.streaming.calibrate import calibrate_from_warehouse
    from serving.warehouse.connect import connect

    layout = Layout.load()
    with connect(layout.var) as client:
        _print_rows(
            [asdict(row) for row in calibrate_from_warehouse(client, layout.var, AlertSettings.load())], title="thresholds"
        )


@stream_app.command(epilog="Example: groundswell stream status --watch")
def status(
    watch: Annotated[bool, typer.Option("--watch", help="Draw it anew each second, until Ctrl-C.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show the group: partitions, lag, rates, workers, versions, dead letters."""
    from orchestration.layout import Layout
    from orchestration.stream_view import show_status, watch_status
    from serving.streaming.status import read_status

    var, settings = Layout.load().var, _stream_settings()
    if as_json:
        print(json.dumps(read_status(var, settings), default=str))
    elif watch:
        watch_status(console, var, settings)
    else:
        show_status(console, read_status(var, settings))


@stream_app.command(epilog="Example: groundswell stream send events.jsonl --rate 100")
def send(
    file: Annotated[Path | None, typer.Argument(help="JSONL of events; without it, test texts.")] = None,
    count: Annotated[int, typer.Option(help="At most so many messages.", min=1)] = 10_000,
    rate: Annotated[float | None, typer.Option(help="Messages a second; without it, as fast as the broker takes them.")] = None,
) -> None:
    """Send messages to the topic: events from a file, or test texts as if they were written now."""
    from orchestration.streaming import run_send

    run_send(console, file=file, count=count, rate=rate)


@stream_app.command(epilog="Example: groundswell stream replay --count 50")
def replay(
    file: Annotated[Path | None, typer.Option(help="JSONL of events; without it, test texts are replayed.")] = None,
    count: Annotated[int, typer.Option(help="Replay at most this many messages.", min=1)] = 5000,
    bundle: Annotated[Path | None, typer.Option(help="A bundle folder; without it the production bundle answers.")] = None,
    as_json: AsJson = False,
) -> None:
    """Replay messages through an in-process broker: worker, warehouse, and a summary counted by the warehouse. Needs no Kafka."""
    from orchestration.streaming import replay as run
    from orchestration.streaming import show_summary

    summary = run(file=file, count=count, bundle=bundle, console=None if as_json else console)
    if as_json:
        print(json.dumps(asdict(summary)))
    else:
        show_summary(console, summary)


@dlq_app.command("list", epilog="Example: groundswell stream dlq list --limit 20")
def list_letters(
    everything: Annotated[bool, typer.Option("--all", help="Also those that were replayed.")] = False,
    limit: Annotated[int, typer.Option(help="Show at most so many.", min=1)] = 50,
    as_json: AsJson = False,
) -> None:
    """Show dead letters: where they came from, why, and what they say."""
    from itertools import islice

    from serving.streaming.dead_letters import read_dead_letters

    letters = read_dead_letters(_stream_settings(), everything=everything)
    rows = [
        {
            "origin": f"{x.topic}/{x.partition}/{x.offset}",
            "died_at": x.died_at,
            "reason": x.reason,
            "original": x.original[:120].decode("utf-8", errors="replace"),
            "bytes": len(x.original),
        }
        for x in islice(letters, limit)
    ]
    _print_rows(rows, title=f"dead letters (at most {limit})", as_json=as_json)


@dlq_app.command("replay", epilog="Example: groundswell stream dlq replay")
def replay_letters() -> None:
    """Send each dead letter that was not replayed yet to its topic again, as it was: after a mended model, limit or contract."""
    from serving.streaming.dead_letters import replay_dead_letters

    console.print(f"Sent {replay_dead_letters(_stream_settings()):,} messages again.")


@warehouse_app.command(epilog="Example: groundswell warehouse serve")
def serve(with_parent: WithParent = False) -> None:
    """Hold the embedded ClickHouse and answer the other processes on 127.0.0.1, in ClickHouse's own protocol."""
    from orchestration.layout import Layout
    from orchestration.streaming import stop_on_signals
    from serving.settings import WarehouseSettings
    from serving.warehouse.owner import serve_warehouse

    stop = stop_on_signals(with_parent=with_parent)
    layout, settings = Layout.load(), WarehouseSettings.load()

    def ready(port: int) -> None:
        errors.print(f"{layout.warehouse} answers on http://127.0.0.1:{port}")

    serve_warehouse(layout.var, settings.port, stop=stop, ready=ready)


@warehouse_app.command("ask", epilog="Example: groundswell warehouse ask distribution --hours 24")
def ask_question(
    question: Annotated[str, typer.Argument(help="Such as distribution or lag; a wrong one is answered with all.")],
    hours: Annotated[float, typer.Option(help="Of event time, back from now.", min=0)] = 1.0,
    source: Annotated[str, typer.Option(help="Only of this source.")] = "",
    every: Annotated[Every | None, typer.Option(help="second, minute or hour; without it as the span asks for.")] = None,
    limit: Annotated[int, typer.Option(help="At most so many rows.", min=1)] = 20,
    as_json: AsJson = False,
) -> None:
    """Ask one of the questions that the dashboard asks; each is a file in serving/warehouse/questions."""
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
        console.print("The schema is up to date." if not pending(client) else "Something is pending.")


@warehouse_app.command("rollback", epilog="Example: groundswell warehouse rollback")
def roll_back_warehouse() -> None:
    """Undo the newest migration, for the version of Groundswell before this one. Its tables' rows go with it."""
    from orchestration.layout import Layout
    from serving.warehouse.connect import connect
    from serving.warehouse.migrate import roll_back

    with connect(Layout.load().var) as client:
        console.print(f"Undone: {roll_back(client) or 'nothing, there is no migration'}.")


@warehouse_app.command(epilog="Example: groundswell warehouse forget sentiment.messages")
def forget(topic: Annotated[str, typer.Argument(help="Whose rows, rollups and identity are deleted.")]) -> None:
    """Delete all of a topic, such as one that was made anew and counts from zero."""
    from orchestration.layout import Layout
    from serving.warehouse.connect import connect
    from serving.warehouse.forget import forget_topic

    with connect(Layout.load().var) as client:
        console.print(f"Deleted {forget_topic(client, topic):,} messages of {topic}.")


def _stream_settings() -> "StreamSettings":
    """Of the stream that runs here, such as the demo's; else as they are set."""
    from orchestration.layout import Layout
    from serving.settings import StreamSettings
    from serving.streaming.supervisor_files import running_stream

    return running_stream(Layout.load().var, StreamSettings.load())


def _print_rows(rows: list[dict[str, Any]], *, title: str, as_json: bool = False) -> None:
    if as_json:
        json.dump(rows, sys.stdout, default=str)
        print()
        return
    if not rows:
        console.print(f"{title}: nothing.")
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
