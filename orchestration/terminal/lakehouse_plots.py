"""Plots of the views of the lakehouse, in the dashboard's colors."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from data.labels import LABELS
from evaluation.figures import COLORS, new_figure, save, style
from orchestration.terminal.lakehouse_tables import _LINES, _STEPS, _kind, _plain, _title, _utc

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from pyspark.sql import Row

    Views = dict[str, list[Row]]

_PAINT = {"negative": COLORS[1], "neutral": "#c3c9d0", "positive": COLORS[0]}
_GRAY = "#6b7280"


def plot_views(views: "Views", folder: Path) -> list[Path]:
    """Plot the result of `collect_views`.

    Args:
        views: Rows by name. Empty or missing views are left out; volume is part of the sentiment plot.
        folder: The output folder, created if missing; plots of the same name are replaced.

    Returns:
        The PNG files: one each for sentiment over time, languages, mentions and hashtags.
    """
    drawn = [_PLOTS[_kind(name)](name, rows, folder) for name, rows in views.items() if rows and _kind(name) in _PLOTS]
    mentions = {label: views.get(f"{label}_mentions", []) for label in ("negative", "positive")}
    return [*drawn, _plot_mentions(mentions, folder)] if any(mentions.values()) else drawn


def _plot_sentiment(name: str, rows: "list[Row]", folder: Path) -> Path:
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    step = _STEPS[name.rpartition("_")[2]]
    times = [_utc(row.bucket) for row in rows]
    figure = new_figure(8.0, 5.2)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    middle, points = [time + step / 2 for time in times], [row.points for row in rows]
    at, line = _broken(middle, points, step)
    above.axhline(50, color=_GRAY, linewidth=1, linestyle="--")
    for label, over in (("positive", True), ("negative", False)):
        held = [value >= 50 if over else value < 50 for value in line]  # neither is filled where the line breaks
        above.fill_between(at, line, 50, where=held, color=_PAINT[label], alpha=0.15, linewidth=0, interpolate=True)  # type: ignore[arg-type]
    above.plot(at, line, color="#111827", linewidth=1.6, marker="o" if len(rows) <= 60 else None, markersize=3.5)  # type: ignore[arg-type]
    reach = max(5.0, 1.15 * max(abs(value - 50) for value in points))
    above.set_ylim(max(0, 50 - reach), min(100, 50 + reach))
    above.set_ylabel("points")
    above.set_title(f"{_title(name)} (50: equal shares of positive and negative)", loc="left", fontweight="bold", fontsize=11)
    under = [0] * len(rows)
    for label in LABELS:
        counts = [row[label] for row in rows]
        below.bar(middle, counts, 0.92 * step, bottom=under, color=_PAINT[label], label=label, linewidth=0)  # type: ignore[arg-type]
        under = [low + count for low, count in zip(under, counts, strict=True)]
    below.set_ylim(0, 1.3 * max(under))  # room for the legend
    below.set_ylabel("messages")
    below.yaxis.get_major_locator().set_params(integer=True)
    below.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    below.legend(loc="upper left", ncols=3, frameon=False, fontsize=9, handlelength=1)
    locator = AutoDateLocator(minticks=4, maxticks=9)
    below.xaxis.set_major_locator(locator)
    formats = ["%Y", "%b %Y", "%d %b", "%H:%M", "%H:%M", "%H:%M:%S"]
    zeros = ["", "%Y", "%b %Y", "%d %b", "%H:%M", "%H:%M"]
    below.xaxis.set_major_formatter(ConciseDateFormatter(locator, formats=formats, zero_formats=zeros, show_offset=False))
    days = dict.fromkeys(f"{time:%Y-%m-%d}" for time in (times[0], times[-1]))
    below.set_xlabel(f"{' to '.join(days)}, UTC")
    for axes in (above, below):
        style(axes)
    return save(figure, folder / f"{name}.png")


def _broken(times: list[datetime], values: list[float], step: timedelta) -> tuple[list[datetime], list[float]]:
    """Return the line's points with a break where buckets are missing: a line across would show values that do not exist."""
    at, line = [], []
    for time, value in zip(times, values, strict=True):
        if at and time - at[-1] > step:
            at.append(at[-1] + step)
            line.append(float("nan"))
        at.append(time)
        line.append(value)
    return at, line


def _plot_languages(name: str, rows: "list[Row]", folder: Path) -> Path:
    shown = rows[:_LINES]
    figure = new_figure(8.0, 1.3 + 0.34 * len(shown))
    axes = figure.subplots()
    left = [0.0] * len(shown)
    for label in LABELS:
        shares = [100 * row[label] / row.messages for row in shown]
        axes.barh(range(len(shown)), shares, left=left, height=0.72, color=_PAINT[label], label=label)
        for y, (begin, share) in enumerate(zip(left, shares, strict=True)):
            if share >= 7:
                ink = "#111827" if label == "neutral" else "white"
                axes.text(begin + share / 2, y, f"{share:.0f} %", ha="center", va="center", color=ink, fontsize=8)
        left = [begin + share for begin, share in zip(left, shares, strict=True)]
    for y, row in enumerate(shown):
        axes.text(114, y, f"{row.messages:,}", va="center", ha="right", fontsize=9)
        axes.text(127, y, f"{row.points:.1f}", va="center", ha="right", fontsize=9)
    axes.text(114, -0.8, "messages", fontsize=8, color=_GRAY, va="center", ha="right")
    axes.text(127, -0.8, "points", fontsize=8, color=_GRAY, va="center", ha="right")
    _named(axes, [row.lang for row in shown])
    axes.set_xlim(0, 128)
    axes.set_xticks([])
    axes.spines[:].set_visible(False)
    axes.set_title("Languages", loc="left", fontweight="bold", fontsize=11, pad=14)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower left", ncols=3, frameon=False, fontsize=9, handlelength=1)
    return save(figure, folder / f"{name}.png")


def _plot_mentions(views: "Views", folder: Path) -> Path:
    """Plot two lists back to back: most negative on the left, most positive on the right."""
    most = max(row[label] for label, rows in views.items() for row in rows)
    lines = min(_LINES, max(len(rows) for rows in views.values()))
    figure = new_figure(8.6, 1.2 + 0.33 * lines)
    for axes, (label, rows) in zip(figure.subplots(1, 2), views.items(), strict=True):
        shown = rows[:_LINES]
        axes.barh(range(len(shown)), [row[label] for row in shown], height=0.72, color=_PAINT[label])
        outward = label == "positive"
        for y, row in enumerate(shown):
            counts = f" {row[label]:,} of {row.messages:,} "
            axes.text(row[label], y, counts, va="center", ha="left" if outward else "right", fontsize=8, color="#374151")
        _named(axes, [f"@{row.mention}" for row in shown])
        axes.set_ylim(lines - 0.5, -0.6)
        axes.set_xlim((0, 1.45 * most) if outward else (1.45 * most, 0))
        axes.yaxis.set_ticks_position("left" if outward else "right")
        axes.spines[["top", "bottom", "right" if outward else "left"]].set_visible(False)
        axes.set_xticks([])
        axes.set_title(f"Mentioned in {label} messages", loc="left" if outward else "right", fontweight="bold", fontsize=11)
    return save(figure, folder / "mentions.png")


def _plot_hashtags(name: str, rows: "list[Row]", folder: Path) -> Path:
    """Plot one line per hashtag, from the points before to the points now."""
    shown = rows[:_LINES]
    figure = new_figure(8.0, 1.5 + 0.34 * len(shown))
    axes = figure.subplots()
    axes.axvline(50, color=_GRAY, linewidth=1, linestyle="--")
    for y, row in enumerate(shown):
        paint = _GRAY
        if row.swing is not None:
            paint = _PAINT["positive" if row.swing >= 0 else "negative"]
            axes.plot([row.points_before, row.points_now], [y, y], color=paint, linewidth=2.5, zorder=2)
            axes.plot(row.points_before, y, "o", markersize=7, markerfacecolor="white", color=paint, mew=1.8, zorder=3)
        axes.plot(row.points_now, y, "o", markersize=8, color=paint, zorder=4)
        axes.text(1.02, y, f"{row.growth:.1f}×", transform=axes.get_yaxis_transform(), va="center", fontsize=9)
        counts = f"{row.before:,} → {row.now:,}"
        axes.text(1.11, y, counts, transform=axes.get_yaxis_transform(), va="center", fontsize=9, color="#374151")
    axes.text(1.02, -0.9, "growth", transform=axes.get_yaxis_transform(), va="center", fontsize=8, color=_GRAY)
    axes.text(1.11, -0.9, "messages", transform=axes.get_yaxis_transform(), va="center", fontsize=8, color=_GRAY)
    _named(axes, [f"#{row.hashtag}" for row in shown])
    drawn = [50.0, *(points for row in shown for points in (row.points_now, row.points_before) if points is not None)]
    axes.set_xlim(min(drawn) - 5, max(drawn) + 5)
    axes.set_xlabel("points: hollow before, filled now; gray without earlier messages")
    axes.set_title(_title(name), loc="left", fontweight="bold", fontsize=11, pad=14)
    style(axes)
    return save(figure, folder / f"{name}.png")


_PLOTS: "dict[str, Callable[[str, list[Row], Path], Path]]" = {
    "sentiment": _plot_sentiment,
    "languages": _plot_languages,
    "hashtags": _plot_hashtags,
}


def _named(axes: "Axes", names: Sequence[str]) -> None:
    """Label one line per name, the first on top."""
    short = [name if len(name) <= 24 else name[:23] + "…" for name in map(_plain, names)]
    axes.set_yticks(
        range(len(names)), [name.replace("$", r"\$") for name in short]
    )  # matplotlib reads text between two dollars as a formula
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(names) - 0.5, -0.6)
