"""The results as Markdown, for the documentation."""

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.api.bench import Outcome
from benchmarks.api.figures import spread


def figure(values: Sequence[float]) -> str:
    """Return median [lowest, highest] as text, the median alone for one value."""
    median, low, high = (f"{value:,.3g}" if abs(value) < 1000 else f"{value:,.0f}" for value in spread(values))
    return median if len(values) == 1 else f"{median} [{low}, {high}]"


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
