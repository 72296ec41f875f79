"""One style for the plots of all benchmarks."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLORS = ("#2563eb", "#9ca3af", "#d97706", "#059669")
"""Ours first."""


def new_figure(width: float, height: float) -> "Figure":
    """Return an empty figure of that size in inches."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def style(axes: Any, which: str = "major") -> None:
    """Remove the upper and right border and draw a light grid."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(visible=True, which=which, color="#e5e7eb", linewidth=0.8)
    axes.set_axisbelow(True)


def save(figure: "Figure", path: Path) -> Path:
    """Write the figure as PNG and return its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, facecolor="white")
    return path
