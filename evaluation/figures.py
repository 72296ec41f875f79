"""One style for all plots of the product."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Okabe and Ito, "Color Universal Design" (2008), without the yellow, which is invisible on white.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")


def new_figure(width: float, height: float) -> "Figure":
    """Return an empty figure of that size in inches. It has no global state, so any thread may draw."""
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
    import warnings

    path.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")  # the font lacks the script of some names
        figure.savefig(path, facecolor="white")  # pyright: ignore[reportUnknownMemberType]
    return path
