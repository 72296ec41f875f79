"""What the commands share: the terminal, options, and how results are printed."""

import json
import sys
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from data.domains import DOMAINS
from orchestration.progress import terminal_console
from orchestration.terminal.typed import as_typed

console = terminal_console()
errors = Console(stderr=True, emoji=False)

AsJson = Annotated[bool, typer.Option("--json", help="Print plain JSON and nothing else.")]
DomainName = Annotated[
    str | None,
    typer.Option(
        "--domain",
        help=f"What kind of texts: {', '.join(DOMAINS)}. The head of the domain decides, where the model has one.",
        show_default="general",
    ),
]
TierName = Annotated[
    str,
    typer.Option("--tier", help="base, a smaller model of the bundle, or auto: a smaller one, then base if it is not sure."),
]
BundleDir = Annotated[Path | None, typer.Option("--bundle", help="A bundle folder (default: the production bundle).")]
WithParent = Annotated[
    bool, typer.Option("--with-parent", hidden=True, help="Stop when standard input closes: the parent process has ended.")
]


def print_json(value: Any) -> None:
    """Print a value as one line of JSON; what JSON does not know, such as a time, as its text."""
    line = json.dumps(value, default=str, ensure_ascii=False)
    try:
        line.encode()
    except UnicodeEncodeError:  # half an emoji: only JSON's escapes can write it
        line = json.dumps(value, default=str)
    sys.stdout.write(line + "\n")


def print_rows(rows: list[dict[str, Any]], *, title: str, as_json: bool = False) -> None:
    """Print rows as a table, or as JSON."""
    if as_json:
        print_json(rows)
        return
    if not rows:
        console.print(f"{title}: no rows.")
        return
    table = Table(*rows[0], title=title, title_justify="left", box=None, header_style="dim")
    for row in rows:
        table.add_row(*(_cell(value) for value in row.values()))
    console.print(table)


def _cell(value: Any) -> str:
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%d %H:%M:%S")
    return escape(f"{value:,}" if isinstance(value, int) else as_typed(str(value)))
