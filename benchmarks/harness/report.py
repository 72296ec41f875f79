"""The results of a benchmark: on the screen, as JSON, and as Markdown for the documentation."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.harness.figures import Goal
from benchmarks.harness.machine import describe_machine
from data.artifacts import write_json, write_text


@dataclass
class Outcome:
    """The result of a section."""

    columns: list[str]
    rows: list[list[str]]
    goals: list[Goal] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    raw: Any = None
    """For the JSON file."""
    curves: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    """For the plot: (share of capacity, 99th percentile in ms), by server."""

    def to_dict(self) -> dict[str, Any]:
        """Return it for the JSON file."""
        return {
            "goals": [goal.to_dict() for goal in self.goals],
            "notes": self.notes,
            "columns": self.columns,
            "rows": self.rows,
            "raw": self.raw,
        }


def show(console: Console, outcomes: Mapping[str, Outcome]) -> None:
    """Print each section's table, its goals with their spread, and its notes."""
    for name, outcome in outcomes.items():
        table = Table(*outcome.columns, title=f"\n{name}", title_justify="left", box=None, header_style="dim")
        for row in outcome.rows:
            table.add_row(*row)
        console.print(table)
        goals = Table("", "measured [lowest, highest]", "goal", "", box=None, header_style="dim")
        for goal in outcome.goals:
            mark = {None: "", True: "[green]✓[/]", False: "[red]✗[/]"}[goal.reached]
            goals.add_row(goal.what, goal.measured(), goal.required(), mark)
        if outcome.goals:
            console.print(goals)
        for note in outcome.notes:
            console.print(f"[dim]{note}[/]", highlight=False)


def write_report(target: Path, title: str, about: Mapping[str, Any], outcomes: Mapping[str, Outcome]) -> None:
    """Write `target` (JSON) and the same as Markdown next to it, with the machine.

    Args:
        target: The JSON file.
        title: Title of the Markdown page.
        about: Facts about the run, such as rounds and seconds.
        outcomes: By section.
    """
    facts = {**describe_machine(), **about}
    write_json(target, {"machine": describe_machine(), **about, "sections": {k: one.to_dict() for k, one in outcomes.items()}})
    write_text(target.with_suffix(".md"), markdown(title, outcomes, facts))


def markdown(title: str, found: Mapping[str, Outcome], about: Mapping[str, Any]) -> str:
    """Return every section's table, goals and notes as Markdown.

    Args:
        title: Title of the page.
        found: Outcomes by section.
        about: Facts about the run, such as the machine; shown at the top.
    """
    parts = [f"# {title}", "", *(f"- {name}: {value}" for name, value in about.items())]
    for name, outcome in found.items():
        parts += ["", f"## {name}", "", *_table(outcome.columns, outcome.rows)]
        if outcome.goals:
            goals = [
                [goal.what, goal.measured(), goal.required(), {None: "", True: "reached", False: "missed"}[goal.reached]]
                for goal in outcome.goals
            ]
            parts += ["", *_table(["", "measured [lowest, highest]", "goal", ""], goals)]
        parts += ["", *outcome.notes] if outcome.notes else []
    return "\n".join(parts) + "\n"


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [columns, ["---"] * len(columns), *rows]
    return ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines]
