"""The tables of `groundswell stream status`, printed once or live."""

import threading
from pathlib import Path
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from serving.settings import StreamSettings
from serving.streaming.status import ProcessStatus, StatusReader, StreamStatus, WorkerStatus

_GOOD = {"running", "up"}
_BAD = {"stalled", "failed", "gone", "waiting for the broker", "waiting for the warehouse"}


def show_status(console: Console, status: StreamStatus) -> None:
    """Print a status."""
    console.print(render(status))


def watch_status(
    console: Console, var: Path, settings: StreamSettings, stop: threading.Event | None = None, *, every_s: float = 1.0
) -> None:
    """Refresh the status every second until Ctrl-C or `stop`; on a pipe, print it each time. Raises as `StatusReader` does."""
    reader, stop = StatusReader(var, settings), stop or threading.Event()
    try:
        status = reader.read()
        if not console.is_terminal:
            show_status(console, status)
            while not stop.wait(every_s):
                show_status(console, reader.read())
            return
        with Live(render(status), console=console, screen=True, auto_refresh=False) as live:
            while not stop.wait(every_s):
                status = reader.read()
                live.update(render(status), refresh=True)
        show_status(console, status)  # the last status stays in the terminal
    except KeyboardInterrupt:
        pass


def render(status: StreamStatus) -> Group:
    """Return the tables of a status."""
    parts: list[Any] = [_head(status)]
    if status.partitions:
        parts.append(_partitions(status))
    if status.workers or status.others:
        parts.append(_processes(status))
    return Group(*parts)


def _head(status: StreamStatus) -> Table:
    table = Table.grid(padding=(0, 2))
    detail = status.detail or status.reason
    rates = [f"{_count(number)} {what}" for number, what in ((status.arriving, "arrive"), (status.rate, "are committed"))]
    drain = "" if status.drain_s is None else f", {status.drain_s:,.1f} s of work"
    table.add_row("[dim]stream[/]", _state(status.state) + (f" [dim]{escape(detail)}[/]" if detail else ""))
    table.add_row("[dim]topic[/]", f"{escape(status.topic)} at {escape(status.bootstrap)}, group {escape(status.group)}")
    table.add_row("[dim]broker[/]", _connection(status.broker))
    table.add_row("[dim]warehouse[/]", _connection(status.warehouse))
    table.add_row("[dim]lag[/]", f"[bold]{_count(status.lag)}[/] messages{drain}")
    if status.rate is not None:
        table.add_row("[dim]a second[/]", ", ".join(rates))
    table.add_row("[dim]dead letters[/]", _count(status.dead_letters))
    table.add_row("[dim]open alerts[/]", _count(status.open_alerts))
    if status.notices:
        table.add_row("[dim]notices[/]", ", ".join(f"{count:,} {escape(kind)}" for kind, count in status.notices.items()))
    return table


def _partitions(status: StreamStatus) -> Table:
    table = Table("partition", "worker", title="Partitions", title_justify="left", box=None, padding=(0, 2, 0, 0))
    for name in ("committed", "end", "lag"):
        table.add_column(name, justify="right")
    table.add_column("")
    for row in status.partitions:
        table.add_row(
            str(row.partition),
            escape(row.worker or "–"),
            _count(row.committed),
            _count(row.end),
            _count(row.lag),
            "[red]stalled[/]" if row.stalled else "",
        )
    return table


def _processes(status: StreamStatus) -> Group:
    table = Table("process", title="Processes", title_justify="left", box=None, padding=(0, 2, 0, 0))
    for name in ("state", "version", "point", "partitions"):
        table.add_column(name, no_wrap=True)
    for name in ("messages", "/s", "in flight", "dead", "p50 ms", "p99 ms", "restarts"):
        table.add_column(name, justify="right", no_wrap=True)
    notes = []
    for row in status.workers:
        if row.detail:
            notes.append(f"{row.name}: {row.detail}")
        if (row.silent_s or 0) > 5 and row.state in _GOOD:
            notes.append(f"{row.name}: no heartbeat for {row.silent_s:.0f} s")
        table.add_row(
            escape(row.name),
            _state(row.state),
            escape(row.version) or "–",
            escape(row.point) or "–",
            ", ".join(map(str, row.partitions)) or "–",
            _count(row.messages),
            f"{row.messages_per_s:,.0f}",
            _count(row.in_flight),
            _count(row.dead_letters),
            _count(row.p50_ms),
            _count(row.p99_ms),
            _restarts(row),
        )
    for row in status.others:
        if row.last_exit and row.state not in _GOOD:
            notes.append(f"{row.name}: {row.last_exit}")
        table.add_row(escape(row.name), _state(row.state), *[""] * 9, _restarts(row))
    return Group(table, *(f"[yellow]{escape(note)}[/]" for note in notes))


def _state(state: str) -> str:
    color = "green" if state in _GOOD else "red" if state in _BAD or state.startswith("restart in") else "yellow"
    return f"[{color}]{escape(state)}[/]"


def _connection(why_not: str) -> str:
    return f"[red]{escape(why_not)}[/]" if why_not else "[green]reachable[/]"


def _count(number: float | None) -> str:
    return "–" if number is None else f"{number:,.0f}"


def _restarts(row: WorkerStatus | ProcessStatus) -> str:
    return f"[yellow]{row.restarts}[/]" if row.restarts else "0"
