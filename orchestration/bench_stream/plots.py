"""The burst over time."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from orchestration.bench_api.plots import COLOURS


@dataclass(frozen=True)
class Line:
    """One way to scale: seconds after the burst and what was seen then."""

    title: str
    lag: Sequence[tuple[float, int]]
    workers: Sequence[tuple[float, int]]


def plot_burst(lines: Sequence[Line], path: Path) -> Path:
    """What waits and who works, one below the other, ours first.

    Args:
        lines: One for each side.
        path: The PNG to write.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 5.2), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    for index, line in enumerate(lines):
        color = COLOURS[index % len(COLOURS)]
        above.plot(*_columns(line.lag), label=line.title, color=color, linewidth=2 if index == 0 else 1.3)
        at, counts = _columns(line.workers)
        # A little above each other: the same number of workers would be one line.
        below.step(at, [count + 0.04 * index for count in counts], where="post", color=color, linewidth=2 if index == 0 else 1.3)
    above.set_ylabel("messages waiting")
    above.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    below.set_ylabel("workers at work")
    below.yaxis.get_major_locator().set_params(integer=True)
    below.set_xlabel("seconds after the burst")
    for axes in (above, below):
        axes.set_ylim(bottom=0)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(visible=True, color="#e5e7eb", linewidth=0.8)
        axes.set_axisbelow(True)
    if lines:
        above.legend(frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, facecolor="white")
    return path


def _columns(points: Sequence[tuple[float, int]]) -> tuple[list[float], list[int]]:
    return [at for at, _ in points], [value for _, value in points]
