"""The curves of the open loop."""

from collections.abc import Mapping, Sequence
from pathlib import Path

COLORS = ("#2563eb", "#9ca3af", "#d97706", "#059669")


def plot_curves(curves: Mapping[str, Sequence[tuple[float, float]]], path: Path) -> Path:
    """Plot the time to a response against the load, one line per server, ours first.

    Args:
        curves: (share of our capacity, 99th percentile in ms), by server.
        path: The PNG to write.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.2), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for index, (name, points) in enumerate(curves.items()):
        shares, times = [100 * share for share, _ in points], [ms for _, ms in points]
        axes.plot(shares, times, marker="o", markersize=4, label=name, color=COLORS[index % len(COLORS)])
    axes.set_yscale("log")
    axes.set_xlim(0, 100)
    axes.set_xlabel("load, % of Groundswell's capacity")
    axes.set_ylabel("99th percentile, ms from the due time")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(visible=True, which="both", color="#e5e7eb", linewidth=0.8)
    axes.set_axisbelow(True)
    if curves:
        axes.legend(frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, facecolor="white")
    return path
