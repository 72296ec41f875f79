"""Plots: age of rows, and rows per second compared with the peers."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.harness.figures import spread
from evaluation.figures import COLORS, new_figure, save, style


def plot(ages: Mapping[str, Any] | None, rates: Mapping[str, list[float]] | None, path: Path) -> Path:
    """Plot both measurements side by side.

    Args:
        ages: `shares` (0 to 1, increasing) and equally many `seconds`: quantiles of the age of rows when they are readable.
        rates: Rows per second and core of each round, by system.
        path: The PNG to write.
    """
    drawn = [(draw, given) for draw, given in ((_draw_ages, ages), (_draw_rates, rates)) if given]
    figure = new_figure(4.6 * max(1, len(drawn)) + 1.4, 3.6)
    for number, (draw, given) in enumerate(drawn, start=1):
        axes = figure.add_subplot(1, len(drawn), number)
        style(axes)
        draw(axes, given)
    return save(figure, path)


def _draw_ages(axes: Any, ages: Mapping[str, Any]) -> None:
    shares, seconds = ages["shares"], ages["seconds"]
    axes.plot(seconds, [100 * share for share in shares], color=COLORS[0], linewidth=2)
    for which in (50, 95, 99):
        at = next(second for share, second in zip(shares, seconds, strict=True) if 100 * share >= which - 1e-9)
        axes.plot([at, at], [0, which], color=COLORS[1], linewidth=1)
        axes.annotate(f"p{which}: {at:.0f} s", (at, which), xytext=(-4, 2), textcoords="offset points", ha="right", fontsize=8)
    axes.set_xlim(left=0)
    axes.set_ylim(0, 104)
    axes.set_xlabel("seconds from created_at to readable in Gold")
    axes.set_ylabel("% of rows")


def _draw_rates(axes: Any, rates: Mapping[str, list[float]]) -> None:
    names = list(rates)[::-1]
    middle = [spread(rates[name]) for name in names]
    colors = [COLORS[0] if name == "Groundswell" else COLORS[1] for name in names]
    around = [[median - low for median, low, _ in middle], [high - median for median, _, high in middle]]
    axes.barh(names, [median for median, _, _ in middle], color=colors, xerr=around, ecolor="#374151", height=0.6)
    for place, (median, _, high) in enumerate(middle):
        axes.annotate(f"{median:,.0f}", (high, place), xytext=(4, 0), textcoords="offset points", va="center", fontsize=8)
    axes.grid(visible=False, axis="y")
    axes.set_xlabel("rows per second and core")
