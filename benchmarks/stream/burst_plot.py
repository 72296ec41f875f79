"""The burst over time."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from evaluation.figures import COLORS, new_figure, save, style


@dataclass(frozen=True)
class Line:
    """One way to scale: pairs of seconds after the burst and the value at that time."""

    title: str
    lag: Sequence[tuple[float, int]]
    workers: Sequence[tuple[float, int]]


def plot_burst(lines: Sequence[Line], path: Path) -> Path:
    """Plot waiting messages and running workers, one below the other, ours first.

    Args:
        lines: One per side.
        path: The PNG to write.
    """
    figure = new_figure(7, 5.2)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    for index, line in enumerate(lines):
        color = COLORS[index % len(COLORS)]
        above.plot(*_columns(line.lag), label=line.title, color=color, linewidth=2 if index == 0 else 1.3)
        at, counts = _columns(line.workers)
        # Lines are shifted a little: equal numbers of workers would overlap.
        below.step(at, [count + 0.04 * index for count in counts], where="post", color=color, linewidth=2 if index == 0 else 1.3)
    above.set_ylabel("messages waiting")
    above.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    below.set_ylabel("running workers")
    below.yaxis.get_major_locator().set_params(integer=True)
    below.set_xlabel("seconds after the burst")
    for axes in (above, below):
        axes.set_ylim(bottom=0)
        style(axes)
    if lines:
        above.legend(frameon=False)
    return save(figure, path)


def _columns(points: Sequence[tuple[float, int]]) -> tuple[list[float], list[int]]:
    return [at for at, _ in points], [value for _, value in points]
