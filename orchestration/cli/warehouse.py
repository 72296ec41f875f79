"""`groundswell warehouse`. Heavy imports wait until their command runs."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal

import typer

from orchestration.cli.output import AsJson, WithParent, console, errors, print_rows

warehouse_app = typer.Typer(help="ClickHouse: its server, its schema, and queries.", no_args_is_help=True)
Every = Literal["second", "minute", "hour"]


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
    print_rows(rows, title=question, as_json=as_json)


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
