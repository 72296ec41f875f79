"""Output of `groundswell lakehouse views` and `compare`: tables for the terminal, plots in the dashboard's colors."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from data.errors import LakehouseError
from data.labels import LABELS
from data.settings import nearest
from evaluation.plots import COLORS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from pyspark.sql import DataFrame, Row

    from serving.lakehouse.compare import Comparison

    Views = dict[str, list[Row]]

_LINES = 15
"""Maximum number of rows of a terminal table, and of lines of a plot with one line per name."""
_BUCKETS = 240
"""Maximum number of buckets that are collected; the newest ones are kept."""
_BAR = 12
_LINE = 72
_STEPS = {"minute": timedelta(minutes=1), "hour": timedelta(hours=1), "day": timedelta(days=1)}
_TREND = {"minute": "15_minutes", "hour": "hour", "day": "day"}

# The terminal uses the dashboard's colors for dark pages, which are readable on white too.
_INK = {"negative": "#f0803c", "neutral": "#7d8792", "positive": "#56b4e9"}
_BLOCK = {"negative": "█", "neutral": "░", "positive": "█"}
_PAINT = {"negative": COLORS[1], "neutral": "#c3c9d0", "positive": COLORS[0]}
_GRAY = "#6b7280"


def collect_views(gold: "DataFrame", names: Sequence[str] | None = None) -> "Views":
    """Compute views once, for the terminal and for the plots. Blocks for one Spark job per view.

    Args:
        gold: The table.
        names: Names of `serving.lakehouse.views.VIEWS`. None: one of each kind; views over time use the finest bucket that the
            span of Gold's events allows.

    Returns:
        The rows of each view by name; for views over time the newest 240.

    Raises:
        LakehouseError: A view is unknown.
    """
    from serving.lakehouse.views import VIEWS

    if not names:
        every = _every(gold)
        names = [
            f"sentiment_per_{every}",
            f"volume_per_{every}",
            "languages",
            "positive_mentions",
            "negative_mentions",
            f"hashtags_last_{_TREND[every]}",
        ]
    for name in names:
        if name not in VIEWS:
            close = nearest(name, list(VIEWS))
            raise LakehouseError(
                f"Unknown view {name!r}.",
                expected=f"one of {', '.join(VIEWS)}",
                remedy=f"Did you mean {close}?" if close else None,
            )
    return {name: _collect(VIEWS[name](gold)) for name in names}


def _collect(view: "DataFrame") -> "list[Row]":
    if view.columns[0] != "bucket":
        return view.collect()
    return view.orderBy(view["bucket"].desc()).limit(_BUCKETS).collect()[::-1]


def _every(gold: "DataFrame") -> str:
    """Return the finest bucket that gives about 200 buckets at most for the span of the events."""
    first, last = gold.selectExpr("min(event_at)", "max(event_at)").collect()[0]
    span = last - first if first else timedelta(0)
    return "minute" if span <= timedelta(hours=3) else "hour" if span <= timedelta(days=5) else "day"


def show_views(console: Console, views: "Views") -> None:
    """Print the result of `collect_views`, one table per view."""
    for name, rows in views.items():
        title = _title(name)
        if rows:
            console.print(_TABLES[_kind(name)](name, rows))
        else:
            console.print(f"[italic]{title}[/]\n[dim]no rows yet[/]")
        console.print()


def show_comparison(console: Console, comparison: "Comparison") -> None:
    """Print the result of `summarize`: counts, labels before and after, and the rows with the largest changes."""
    a, b = (escape(_plain(version)) for version in (comparison.a, comparison.b))
    head = Table.grid(padding=(0, 2))
    head.add_row("[dim]classified by both[/]", f"[bold]{comparison.both:,}[/] rows")
    head.add_row("[dim]only by one[/]", f"{comparison.only_a:,} by {a}, {comparison.only_b:,} by {b}")
    if comparison.score_a is not None and comparison.score_b is not None:
        share = comparison.changed / comparison.both
        head.add_row("[dim]label changed[/]", f"[bold]{comparison.changed:,}[/] rows, {share:.2%}")
        was, now = (50 + 50 * score for score in (comparison.score_a, comparison.score_b))
        head.add_row("[dim]points[/]", f"{was:.2f} by {a}, {now:.2f} by {b} ({now - was:+.2f})")
    console.print(head, highlight=False)
    if not comparison.both:
        return
    matrix = _table(f"{comparison.a} down, {comparison.b} across", "", *LABELS)
    for i, label in enumerate(LABELS):
        cells = [f"[{'dim' if i == j or not n else 'bold'}]{n:,}[/]" for j, n in enumerate(comparison.matrix[i])]
        matrix.add_row(_label(label), *cells)
    console.print("", matrix)
    if comparison.largest:
        moves = _table("Largest changes", "id", comparison.a, comparison.b, "points", "text", left=("id", "text"))
        moves.columns[-1].no_wrap = False  # this column shrinks on a narrow terminal
        for row in comparison.largest:
            text = Text(_plain(row["text"]), no_wrap=True, overflow="ellipsis")
            moves.add_row(
                escape(_plain(row["id"])),
                _label(row["label_a"], row["confidence_a"]),
                _label(row["label_b"], row["confidence_b"]),
                f"{50 * row['moved']:.1f}",
                text,
            )
        console.print("", moves)


def _sentiment(name: str, rows: "list[Row]") -> Table:
    table = _table(_title(name, rows), "UTC", "messages", "points", "", *LABELS, left=("UTC", ""))
    for row in rows[-_LINES:]:
        table.add_row(_time(row.bucket, name), f"{row.messages:,}", f"{row.points:.1f}", _bar(row), *_shares(row))
    return table


def _volume(name: str, rows: "list[Row]") -> Table:
    """Draw a line of blocks. Empty buckets, which the view leaves out, are gaps."""
    step, last = _STEPS[name.rpartition("_")[2]], _utc(rows[-1].bucket)
    counts = {_utc(row.bucket): row.messages for row in rows}
    first = max(_utc(rows[0].bucket), last - (_LINE - 1) * step)
    shown = [counts.get(first + n * step, 0) for n in range((last - first) // step + 1)]
    most = max(shown)
    table = _table(_title(name), "")
    table.show_header = False
    table.add_row(Text("".join(" ▁▂▃▄▅▆▇█"[-(-8 * count // most)] for count in shown), style=_INK["positive"]))
    table.add_row(f"[dim]{_time(first, name)} to {_time(last, name)}: {sum(shown):,} in total, at most {most:,}[/]")
    return table


def _languages(name: str, rows: "list[Row]") -> Table:
    table = _table(_title(name, rows, "first"), "lang", "messages", "points", "", *LABELS, left=("lang", ""))
    for row in rows[:_LINES]:
        table.add_row(escape(_plain(row.lang)), f"{row.messages:,}", f"{row.points:.1f}", _bar(row), *_shares(row))
    return table


def _mentions(name: str, rows: "list[Row]") -> Table:
    label = name.partition("_")[0]
    table = _table(_title(name, rows, "first"), "mention", label, "messages", "share", "", "points", left=("mention", ""))
    for row in rows[:_LINES]:
        bar = Text("█" * max(1, round(_BAR * row[label] / rows[0][label])), style=_INK[label])
        table.add_row(
            escape(_plain(f"@{row.mention}")),
            f"{row[label]:,}",
            f"{row.messages:,}",
            f"{row.share:.0%}",
            bar,
            f"{row.points:.1f}",
        )
    return table


def _hashtags(name: str, rows: "list[Row]") -> Table:
    table = _table(
        _title(name, rows, "first"), "hashtag", "now", "before", "growth", "points", "before", "swing", left=("hashtag",)
    )
    for row in rows[:_LINES]:
        before, swing = "–", "[dim]new[/]"
        if row.swing is not None:
            ink = _INK["positive" if row.swing > 0 else "negative" if row.swing < 0 else "neutral"]
            before, swing = f"{row.points_before:.1f}", f"[{ink}]{row.swing:+.1f}[/]"
        table.add_row(
            escape(_plain(f"#{row.hashtag}")),
            f"{row.now:,}",
            f"{row.before:,}",
            f"{row.growth:.1f}×",
            f"{row.points_now:.1f}",
            before,
            swing,
        )
    return table


_TABLES: "dict[str, Callable[[str, list[Row]], Table]]" = {
    "sentiment": _sentiment,
    "volume": _volume,
    "languages": _languages,
    "mentions": _mentions,
    "hashtags": _hashtags,
}


def _table(title: str, *columns: str, left: Sequence[str] = ("",)) -> Table:
    table = Table(title=escape(_plain(title)), title_justify="left", box=None, padding=(0, 2, 0, 0), header_style="dim")
    for column in columns:
        table.add_column(escape(_plain(column)), justify="left" if column in left else "right", no_wrap=True)
    return table


def _kind(name: str) -> str:
    return next(kind for kind in _TABLES if kind in name)


def _title(name: str, rows: Sequence[Any] = (), which: str = "newest") -> str:
    more = f", the {which} {_LINES} of {len(rows)}" if len(rows) > _LINES else ""
    against = ", compared with the window before" if _kind(name) == "hashtags" else ""
    return name.replace("_", " ").capitalize() + against + more


def _bar(row: "Row") -> Text:
    """Draw the shares of the labels. Cut points are rounded, not lengths, so that all bars have equal length."""
    bar, upto, drawn = Text(), 0, 0
    for label in LABELS:
        upto += row[label]
        end = round(_BAR * upto / row.messages)
        bar.append(_BLOCK[label] * (end - drawn), style=_INK[label])
        drawn = end
    return bar


def _shares(row: "Row") -> list[str]:
    return [f"{row[label] / row.messages:.0%}" for label in LABELS]


def _label(label: str, confidence: float | None = None) -> str:
    return f"[{_INK[label]}]{label}[/]" + ("" if confidence is None else f" {confidence:.2f}")


def _time(bucket: datetime, name: str) -> str:
    return _utc(bucket).strftime("%Y-%m-%d" if name.endswith("day") else "%Y-%m-%d %H:%M")


def _utc(time: datetime) -> datetime:
    """Convert to UTC: Spark returns times without a zone, in the time zone of this process."""
    return time.astimezone(UTC)


def _plain(text: str) -> str:
    """Return the text on one line, without control characters: it comes from unknown authors."""
    return "".join(character for character in " ".join(text.split()) if character.isprintable())


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
    figure = _figure(8.0, 5.2)
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
        _tidy(axes)
    return _save(figure, folder / f"{name}.png")


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
    figure = _figure(8.0, 1.3 + 0.34 * len(shown))
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
    return _save(figure, folder / f"{name}.png")


def _plot_mentions(views: "Views", folder: Path) -> Path:
    """Plot two lists back to back: most negative on the left, most positive on the right."""
    most = max(row[label] for label, rows in views.items() for row in rows)
    lines = min(_LINES, max(len(rows) for rows in views.values()))
    figure = _figure(8.6, 1.2 + 0.33 * lines)
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
    return _save(figure, folder / "mentions.png")


def _plot_hashtags(name: str, rows: "list[Row]", folder: Path) -> Path:
    """Plot one line per hashtag, from the points before to the points now."""
    shown = rows[:_LINES]
    figure = _figure(8.0, 1.5 + 0.34 * len(shown))
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
    _tidy(axes)
    return _save(figure, folder / f"{name}.png")


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


def _figure(width: float, height: float) -> "Figure":
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=150, layout="constrained")  # no pyplot: no state, any thread
    FigureCanvasAgg(figure)
    return figure


def _tidy(axes: "Axes") -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(visible=True, color="#e5e7eb", linewidth=0.8)
    axes.set_axisbelow(True)


def _save(figure: "Figure", path: Path) -> Path:
    import warnings

    path.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")  # the font lacks the script of some names
        figure.savefig(path, facecolor="white")
    return path
