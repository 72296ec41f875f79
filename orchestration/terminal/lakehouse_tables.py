"""Output of `groundswell lakehouse views` and `compare`: tables for the terminal, plots in the dashboard's colors."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from data.errors import LakehouseError
from data.labels import LABELS
from data.names import unknown_name

if TYPE_CHECKING:
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
            raise unknown_name(LakehouseError, "view", name, VIEWS)
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


def _sarcastic(name: str, rows: "list[Row]") -> Table:
    table = _table(_title(name), "UTC", "source", "sarcasm", "label", "text", left=("UTC", "source", "text"))
    table.columns[-1].no_wrap = False  # this column shrinks on a narrow terminal
    for row in rows:
        text = Text(_plain(row.text), no_wrap=True, overflow="ellipsis")
        at = _utc(row.event_at).strftime("%Y-%m-%d %H:%M")
        table.add_row(at, escape(_plain(row.source)), f"{row.sarcasm:.0%}", _label(row.label), text)
    return table


_TABLES: "dict[str, Callable[[str, list[Row]], Table]]" = {
    "sentiment": _sentiment,
    "volume": _volume,
    "languages": _languages,
    "mentions": _mentions,
    "hashtags": _hashtags,
    "sarcastic": _sarcastic,
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
