"""`groundswell forget`: takes a message, or all messages of an author, out of every store."""

from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from orchestration.cli.output import AsJson, console, print_json

if TYPE_CHECKING:
    from serving.forgetting.everywhere import Outcome


def forget(
    message: Annotated[list[str] | None, typer.Option("--message", metavar="ID", help="A message's id; may be repeated.")] = None,
    author: Annotated[
        list[str] | None, typer.Option("--author", metavar="NAME", help="An author's id or name; may be repeated.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Take a message, or all messages of an author so far, out of every store, and check that nothing is left.

    Searched are the warehouse (rows, rollups, examples of alerts), the lakehouse (Bronze, Silver, Gold, rejected records), jobs
    and their results, feedback and cached predictions. Later copies of a forgotten message are left out. Without options it goes
    on with what is pending: what a killed call, a store that was down, or a notice on the stream has left.

    Old versions of the lakehouse's tables follow with `groundswell lakehouse maintain`. Kafka deletes no single message: copies
    in topics stay until they expire. The exit status is 1 while anything is left.
    """
    from data.forgetting import Request
    from orchestration.layout import Layout
    from orchestration.steps.forgetting import forget as forget_in_stores
    from serving.forgetting.stores import elsewhere
    from serving.lakehouse.paths import lakehouse_root
    from serving.settings import ServingSettings

    layout, now = Layout.load(), datetime.now(UTC)
    requests = [Request("message", value.strip(), requested_at=now) for value in message or ()]
    requests += [Request("author", value.strip(), requested_at=now) for value in author or ()]
    if any(not request.value for request in requests):
        raise typer.BadParameter("The id or name is empty.")
    outcome = forget_in_stores(layout, lakehouse_root(layout.var), requests)
    notes = elsewhere(ServingSettings.load())
    if as_json:
        print_json(asdict(outcome) | {"done": outcome.done, "notes": notes})
    else:
        _show(outcome, notes)
    if not outcome.done:
        raise typer.Exit(1)


def _show(outcome: "Outcome", notes: list[str]) -> None:
    if not outcome.requests:
        console.print("Nothing is pending. Name what to forget with --message ID or --author NAME.")
        return
    messages = sum(request.kind == "message" for request in outcome.requests)
    authors = len(outcome.requests) - messages
    console.print(f"{messages:,} messages, {authors:,} authors", highlight=False)
    table = Table("store", "table", "removed", "left", box=None, header_style="dim")
    for store, removed in outcome.removed.items():
        left = outcome.left.get(store, {})
        for name in dict.fromkeys((*removed, *left)):
            rest = left.get(name, 0)
            table.add_row(store, name, f"{removed.get(name, 0):,}", f"[red]{rest:,}[/]" if rest else "0")
    console.print(table)
    for store, error in outcome.failed.items():
        console.print(f"[red]{store} was not reachable:[/] {escape(error)}", highlight=False)
    if "lakehouse" in outcome.removed:
        console.print("Old versions of the lakehouse's tables follow with `groundswell lakehouse maintain`.", highlight=False)
    for note in notes:
        console.print(escape(note), highlight=False)
    if outcome.done:
        console.print("Checked: no store holds any of it.")
    else:
        console.print("[red]Something is left.[/] The requests are kept: run `groundswell forget` again.")
