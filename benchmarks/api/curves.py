"""The curves of the open loop."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from evaluation.figures import COLORS, new_figure, save, style


def plot_curves(curves: Mapping[str, Sequence[tuple[float, float]]], path: Path) -> Path:
    """Plot the time to a response against the load, one line per server, ours first.

    Args:
        curves: (share of our capacity, 99th percentile in ms), by server.
        path: The PNG to write.
    """
    figure = new_figure(7, 4.2)
    axes = figure.add_subplot()
    for index, (name, points) in enumerate(curves.items()):
        shares, times = [100 * share for share, _ in points], [ms for _, ms in points]
        axes.plot(shares, times, marker="o", markersize=4, label=name, color=COLORS[index % len(COLORS)])
    axes.set_yscale("log")
    axes.set_xlim(0, 100)
    axes.set_xlabel("load, % of Groundswell's capacity")
    axes.set_ylabel("99th percentile, ms from the due time")
    style(axes, which="both")
    if curves:
        axes.legend(frameon=False)
    return save(figure, path)
