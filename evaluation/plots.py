# Matplotlib annotates its methods only in part.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false, reportMissingTypeStubs=false
"""The plots of the leaderboard: PNG, drawn without a display, in colors for color-blind readers."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from data.labels import LABELS
from data.pareto import pareto_front
from evaluation.leaderboard import RANKED_BY, LeaderboardRow, format_us
from evaluation.metrics import confusion, expected_calibration_error, reliability
from evaluation.parity import ParityRow

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from evaluation.transfer import Transfer

from evaluation.figures import COLORS, new_figure, save, style

_GRAY = "#6b7280"
_COLUMNS = 4


def decades(values: Sequence[float]) -> tuple[float, float]:
    """Return the decades around positive values, with a margin, so that a logarithmic axis has labels at 100 and 1,000."""
    return 10.0 ** np.floor(np.log10(min(values) / 1.1)), 10.0 ** np.ceil(np.log10(max(values) * 1.1))


def _place_labels(figure: "Figure", axes: "Axes", points: Sequence[tuple[float, float]], names: Sequence[str]) -> None:
    """Write each name next to its point, where it covers neither another name nor a point."""
    from matplotlib.transforms import Bbox

    figure.draw_without_rendering()  # positions are in pixels, which are known only now
    renderer = figure.canvas.get_renderer()  # type: ignore[attr-defined]
    pixels = [axes.transData.transform(point) for point in points]
    taken = [Bbox.from_bounds(x - 9, y - 9, 18, 18) for x, y in pixels]
    frame = axes.get_window_extent(renderer)
    offsets = [(side * 9, rise) for rise in (9, -17, 22, -30, 35, -43, 48) for side in (1, -1)]
    for point, name in zip(points, names, strict=True):
        for dx, dy in offsets:
            text = axes.annotate(
                name,
                point,
                (dx, dy),
                textcoords="offset points",
                ha="left" if dx > 0 else "right",
                fontsize=9,
                bbox={"boxstyle": "square,pad=0.1", "fc": "white", "ec": "none", "alpha": 0.8},
                arrowprops={"arrowstyle": "-", "color": _GRAY, "lw": 0.5} if abs(dy) > 17 else None,
            )
            box = text.get_window_extent(renderer)
            inside = frame.x0 <= box.x0 and box.x1 <= frame.x1 and frame.y0 <= box.y0 and box.y1 <= frame.y1
            if (inside and not any(box.overlaps(other) for other in taken)) or (dx, dy) == offsets[-1]:
                taken.append(box)
                break
            text.remove()


def plot_pareto(rows: Sequence[LeaderboardRow], path: Path) -> Path | None:
    """Plot macro-recall against CPU time per text, with intervals and the Pareto front; hollow marks are from scratch.

    Returns:
        The file, or None if no row has a cost.
    """
    from matplotlib.ticker import LogLocator, NullFormatter

    shown = [row for row in rows if row.cost]
    if not shown:
        return None
    figure = new_figure(8.0, 5.0)
    axes = figure.subplots()
    places: list[tuple[float, float]] = []
    for index, row in enumerate(shown):
        assert row.cost
        cpu, recall = row.cost.cpu_us_per_text, row.metrics[RANKED_BY]
        places.append((cpu.value, 100 * recall.value))
        color = COLORS[index % len(COLORS)]
        axes.errorbar(
            cpu.value,
            100 * recall.value,
            xerr=[[cpu.value - cpu.low], [cpu.high - cpu.value]],
            yerr=[[100 * (recall.value - recall.low)], [100 * (recall.high - recall.value)]],
            fmt="o",
            markersize=8,
            color=color,
            markerfacecolor="white" if row.from_scratch else color,
            mew=1.8,
            capsize=3,
            zorder=3,
        )
    front = [places[index] for index in pareto_front(places)]
    if len(front) > 1:
        axes.plot(*zip(*front, strict=True), color=_GRAY, linewidth=1.2, linestyle="--", label="Pareto front", zorder=2)
        axes.legend(loc="upper left", frameon=False)
    axes.set_xscale("log")
    axes.set_xlim(decades([place[0] for place in places]))
    axes.margins(y=0.15)
    axes.xaxis.set_major_locator(LogLocator(base=10))
    axes.xaxis.set_major_formatter(lambda value, _: format_us(value))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("CPU time per text in bulk (log scale; bar: lowest and highest round)")
    axes.set_ylabel("Macro-recall, points (bar: 95 % interval)")
    axes.set_title("Quality against cost", loc="left", fontweight="bold")
    style(axes)
    _place_labels(figure, axes, places, [row.title for row in shown])
    return save(figure, path)


def _panels(count: int, size: float, height: float) -> "tuple[Figure, list[Axes]]":
    columns = min(count, _COLUMNS)
    lines = -(-count // columns)
    figure = new_figure(size * columns + 0.4, height * lines + 0.3)
    panels = list(np.atleast_1d(np.asarray(figure.subplots(lines, columns, squeeze=False))).ravel())
    for spare in panels[count:]:
        spare.set_visible(False)
    return figure, panels[:count]


def plot_transfer(transfer: "Transfer", path: Path) -> Path:
    """Plot the domain-transfer matrix as a heat map: rows learned from, columns evaluated on."""
    learned, domains = transfer.learned, transfer.domains
    values = np.array([[100 * transfer.at(row, column).macro_recall.value for column in domains] for row in learned])
    figure = new_figure(1.6 + 1.1 * len(domains), 1.2 + 0.55 * len(learned))
    axes = figure.subplots()
    axes.imshow(values, cmap="Blues", vmin=100 / len(LABELS), vmax=100, aspect="auto")
    for i, row in enumerate(learned):
        for j, column in enumerate(domains):
            ink = "white" if values[i, j] > 75 else "black"
            weight = "bold" if row == column else "normal"
            axes.text(j, i, f"{values[i, j]:.1f}", ha="center", va="center", color=ink, fontsize=10, fontweight=weight)
    axes.set_xticks(range(len(domains)), domains, fontsize=9)
    axes.set_yticks(range(len(learned)), learned, fontsize=9)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_xlabel("macro-recall on", fontsize=9, color=_GRAY)
    axes.set_ylabel("learned from", fontsize=9, color=_GRAY)
    return save(figure, path)


def plot_confusion(labels: np.ndarray, probas: Mapping[str, np.ndarray], path: Path) -> Path:
    """Plot one confusion matrix per candidate: share of each true class, and rows.

    Args:
        labels: Class ids, shape (N,).
        probas: By title, probabilities, shape (N, 3).
        path: The PNG.
    """
    figure, panels = _panels(len(probas), 3.0, 3.0)
    for index, (axes, (name, proba)) in enumerate(zip(panels, probas.items(), strict=True)):
        counts = confusion(labels, proba)
        share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
        axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
        for i in range(len(LABELS)):
            for j in range(len(LABELS)):
                ink = "white" if share[i, j] > 0.55 else "black"
                axes.text(j, i - 0.1, f"{share[i, j]:.0%}", ha="center", va="center", color=ink, fontsize=11)
                axes.text(j, i + 0.25, f"{counts[i, j]:,}", ha="center", va="center", color=ink, fontsize=7.5)
        axes.set_xticks(range(len(LABELS)), LABELS, fontsize=8)
        axes.set_yticks(range(len(LABELS)), LABELS, fontsize=8, rotation=90, va="center")
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        axes.set_title(name, fontsize=10, fontweight="bold")
        axes.set_xlabel("predicted", fontsize=8, color=_GRAY)
        if index % _COLUMNS == 0:
            axes.set_ylabel("true", fontsize=8, color=_GRAY)
    return save(figure, path)


def plot_reliability(labels: np.ndarray, probas: Mapping[str, np.ndarray], path: Path) -> Path:
    """Plot accuracy against confidence per candidate; the size of a mark is the share of rows, the diagonal is the target.

    Args:
        labels: Class ids, shape (N,).
        probas: By title, calibrated probabilities, shape (N, 3).
        path: The PNG.
    """
    figure, panels = _panels(len(probas), 3.0, 3.1)
    for index, (axes, (name, proba)) in enumerate(zip(panels, probas.items(), strict=True)):
        confidence, accuracy, rows = reliability(labels, proba)
        error = expected_calibration_error(labels, proba, resamples=1).value
        color = COLORS[index % len(COLORS)]
        axes.plot([0, 1], [0, 1], color=_GRAY, linewidth=1, linestyle="--")
        held = rows > 0
        axes.vlines(confidence[held], confidence[held], accuracy[held], color=color, alpha=0.35, linewidth=3)
        axes.plot(confidence[held], accuracy[held], color=color, linewidth=1)
        axes.scatter(confidence[held], accuracy[held], s=12 + 260 * rows[held] / rows.sum(), color=color, zorder=3)
        axes.set(xlim=(0.3, 1.02), ylim=(0, 1.02))
        axes.set_title(name, fontsize=10, fontweight="bold")
        axes.text(0.33, 0.93, f"ECE {100 * error:.1f} points", fontsize=9)
        axes.set_xlabel("confidence", fontsize=8, color=_GRAY)
        if index % _COLUMNS == 0:
            axes.set_ylabel("accuracy", fontsize=8, color=_GRAY)
        axes.tick_params(labelsize=8)
        style(axes)
    return save(figure, path)


def plot_export_variants(variants: Sequence[ParityRow], path: Path) -> Path:
    """Plot the measured export variants in their order: CPU time per text, speed-up over the first, flips, macro-recall."""
    figure = new_figure(8.0, 1.4 + 0.55 * len(variants))
    axes = figure.subplots()
    values = np.array([variant.cpu_us for variant in variants], dtype=float)
    axes.barh(range(len(variants)), values, color=COLORS[0], height=0.6)
    for index, (variant, value) in enumerate(zip(variants, values, strict=True)):
        parts = [
            format_us(value),
            f"{values[0] / value:.1f}×",
            f"{variant.flips_per_10000:.0f} flips in 10,000",
            f"recall {100 * variant.recall_difference.value:+.2f}",
        ]
        axes.text(value + values.max() * 0.015, index, "  ".join(parts), va="center", fontsize=9)
    axes.set_yticks(range(len(variants)), [variant.name for variant in variants])
    axes.invert_yaxis()
    axes.set_xlim(0, values.max() * 1.75)
    axes.set_xlabel("CPU time per text, µs, at equal lengths")
    axes.set_title("Export variants", loc="left", fontweight="bold")
    style(axes)
    axes.grid(visible=False, axis="y")
    return save(figure, path)
