"""`groundswell automation`: show schedules and sensors, and turn them on or off. Heavy imports wait until their command runs."""

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from orchestration.cli.output import AsJson, console, print_json

automation_app = typer.Typer(
    help=(
        "Automatic runs: schedules (by the clock) and sensors (on new data, low quality or a failed run). All are off until you "
        "turn them on, and tick only while a Dagster daemon runs ([bold]make dagster[/])."
    ),
    no_args_is_help=True,
    rich_markup_mode="rich",
)
Name = Annotated[str, typer.Argument(help="A name from `groundswell automation status`.")]


@automation_app.command(epilog="Example: groundswell automation status")
def status(as_json: AsJson = False) -> None:
    """Show each schedule and sensor: on or off, next tick, last tick and its result."""
    from orchestration.automation import daemon_runs, daemon_seen_at, read_automations
    from orchestration.instance import dagster_instance
    from orchestration.runs import silence_libraries

    silence_libraries()
    with dagster_instance() as instance:
        automations, seen_at = read_automations(instance), daemon_seen_at(instance)
    if as_json:
        state = {"daemon_runs": daemon_runs(seen_at), "daemon_seen_at": seen_at}
        print_json({**state, "automations": list(map(asdict, automations))})
        return
    table = Table("", "name", "kind", "when (UTC)", "next tick", "last tick", "result", box=None, header_style="dim")
    for one in automations:
        mark = "[green]on[/]" if one.on else "[dim]off[/]"
        result = escape(one.last or "")
        table.add_row(mark, one.name, one.kind, one.rule, _time(one.next_at), _time(one.last_at), result)
    console.print(table)
    console.print(escape(_daemon(seen_at)), highlight=False)


@automation_app.command("on", epilog="Example: groundswell automation on new_labels")
def turn_on(name: Name) -> None:
    """Turn a schedule or sensor on."""
    _switch(name, on=True)


@automation_app.command("off", epilog="Example: groundswell automation off new_labels")
def turn_off(name: Name) -> None:
    """Turn a schedule or sensor off. A run that it started continues."""
    _switch(name, on=False)


def _switch(name: str, *, on: bool) -> None:
    from orchestration.automation import daemon_runs, daemon_seen_at, switch
    from orchestration.instance import dagster_instance
    from orchestration.runs import silence_libraries

    silence_libraries()
    with dagster_instance() as instance:
        now, seen_at = switch(instance, name, on=on), daemon_seen_at(instance)
    following = f"; next tick {_time(now.next_at)} UTC" if now.next_at and daemon_runs(seen_at) else ""
    console.print(f"{now.kind} [bold]{now.name}[/] is {'on' if now.on else 'off'}{following}.", highlight=False)
    if now.on and not daemon_runs(seen_at):
        console.print(escape(_daemon(seen_at)), highlight=False)


def _daemon(seen_at: datetime | None) -> str:
    from orchestration.automation import daemon_runs

    if daemon_runs(seen_at):
        return "A Dagster daemon is running."
    last = f" (last seen {_time(seen_at)} UTC)" if seen_at else ""
    return f"No Dagster daemon is running{last}: nothing ticks. `make dagster` starts one; `groundswell demo` runs one too."


def _time(at: Any) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S") if at else "–"
