"""The leaderboard as a folder: JSON, Markdown, an HTML page and the plots."""

import html
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from data.artifacts import atomic_folder, write_json, write_text
from data.settings import CostSettings
from evaluation.behavior import fail_rate_by_kind
from evaluation.leaderboard import (
    RANKED_BY,
    Leaderboard,
    LeaderboardRow,
    Predictions,
    SampledClasses,
    format_bytes,
    format_ms,
    format_us,
    format_usd,
    points,
)
from evaluation.metrics import Estimate, is_real
from evaluation.plots import plot_confusion, plot_pareto, plot_reliability
from evaluation.published import PUBLISHED, PublishedFigure
from evaluation.targets import target_cells

Cells = list[list[str]]
_HOW_TO_READ = (
    "Points of 100. [ ] are 95 % bootstrap intervals over the test rows. CPU time is that of a process with one candidate; "
    "all candidates are measured in turn in the same run (median of rounds). Wall times are valid for this machine only. "
    "From scratch: trained from random weights; a pretrained checkpoint of the family does better."
)
_PLOTS = {
    "pareto.png": "Macro-recall against CPU time per text, with the Pareto front",
    "confusion.png": "Confusion matrices: share of each true class",
    "reliability.png": "Reliability: accuracy against confidence, after temperature scaling",
}


def summary_table(rows: Sequence[LeaderboardRow]) -> tuple[list[str], Cells]:
    """Return header and cells of the main table, best candidate first."""
    head = [
        "Candidate",
        "Macro-recall",
        "Macro-F1",
        "Accuracy",
        "Recall neg / neu / pos",
        "ECE",
        "CPU per text",
        "A million texts",
        "p50 / p95 / p99 ms",
        "Texts/s",
        "Peak memory",
        "Load",
        "File",
    ]
    cells: Cells = []
    price = CostSettings.load()
    for row in rows:
        metrics = row.metrics
        recalls = " / ".join(points(metrics.get(f"recall_{label}")) for label in ("negative", "neutral", "positive"))
        cells.append(
            [
                row.title,
                metrics[RANKED_BY].text(),
                metrics["macro_f1"].text(),
                metrics["accuracy"].text(),
                recalls,
                points(metrics.get("ece")),
                *_cost_cells(row, price),
            ]
        )
    return head, cells


def _cost_cells(row: LeaderboardRow, price: CostSettings) -> list[str]:
    """Return the cells of the main table from CPU time on; nothing but price and latency is known of a large model."""
    cost, large = row.cost, row.large_model
    if large:
        usd = format_usd(large.usd_per_million)
        latencies = f"{format_ms(large.latency_p50_ms)} / {format_ms(large.latency_p95_ms)} / –"
        return ["–", usd if usd == "–" else f"${usd}", latencies, *["–"] * 4]
    if not cost:
        return ["–"] * 7
    return [
        format_us(cost.cpu_us_per_text.value),
        f"${price.per_million(cost.cpu_us_per_text.value):.2f}",
        " / ".join(format_ms(x.value) for x in cost.latencies_ms),
        f"{cost.texts_per_s.value:,.0f}",
        f"{cost.peak_memory_mib:,.0f} MiB",
        f"{cost.load_s:.1f} s",
        format_bytes(cost.file_bytes),
    ]


def large_model_table(rows: Sequence[LeaderboardRow]) -> tuple[list[str], Cells]:
    """Return one line per large model: what was asked, of how many rows, and at what price."""
    head = ["Candidate", "Model", "Prompt", "Rows", "Without a label", "A million texts", "p50 / p95 ms", "Requests at a time"]
    cells: Cells = []
    for row in rows:
        if facts := row.large_model:
            _, usd, latencies, *_ = _cost_cells(row, CostSettings.load())
            share = f"{facts.without_label:,} ({facts.without_label / row.n:.1%})"
            sample = f"{row.n:,} of {facts.of_rows:,}"
            latencies = latencies.removesuffix(" / –")
            cells.append([row.candidate, facts.model, facts.prompt, sample, share, usd, latencies, str(facts.concurrency)])
    return head, cells


def published_table(figures: Sequence[PublishedFigure]) -> tuple[list[str], Cells]:
    """Return the published figures, none of which was measured here."""
    head = ["Model", "Dataset", "Metric", "Published", "Protocol", "Source"]
    return head, [[one.model, one.dataset, one.metric, f"{one.value:.1f}", one.protocol, one.source] for one in figures]


def signed_points(difference: Estimate) -> str:
    """Return a difference in points of 100 with its interval; an asterisk marks one whose interval excludes 0."""
    value, low, high = (100 * x for x in (difference.value, difference.low, difference.high))
    return f"{value:+.1f} [{low:+.1f}, {high:+.1f}]" + (" *" if is_real(difference) else "")


def pair_table(rows: Sequence[LeaderboardRow]) -> tuple[list[str], Cells]:
    """Return row minus column in macro-recall; an asterisk marks a difference whose interval excludes 0."""
    names = [row.candidate for row in rows]
    cells = [[row.title, *("" if name == row.candidate else signed_points(row.against[name]) for name in names)] for row in rows]
    return ["Row minus column", *names], cells


def slice_table(rows: Sequence[LeaderboardRow]) -> tuple[list[str], Cells]:
    """Return macro-recall on each slice, one column per candidate; a dash where the slice is too small."""
    sizes = {part.slice: part.n for row in rows for part in row.slices}
    values = {(row.candidate, part.slice): part.metrics.get(RANKED_BY) for row in rows for part in row.slices}
    cells: Cells = []
    for name, size in sizes.items():
        estimates = [values.get((row.candidate, name)) for row in rows]
        cells.append([name, f"{size:,}", *(e.text() if e else "–" for e in estimates)])
    return ["Slice", "Rows", *(row.candidate for row in rows)], cells


def behavior_table(rows: Sequence[LeaderboardRow], *, every_test: bool) -> tuple[list[str], Cells]:
    """Return failure rates: the mean of each suite and kind, or every test."""
    names = [row.candidate for row in rows]
    if not every_test:
        means = [fail_rate_by_kind(row.behavior) for row in rows]
        keys = list(dict.fromkeys(key for mean in means for key in mean))
        return ["Suite and kind", *names], [
            [key, *(f"{100 * mean[key]:.1f} %" if key in mean else "–" for mean in means)] for key in keys
        ]
    by_test = {(row.candidate, part.suite, part.test): part for row in rows for part in row.behavior}
    tests = {(part.suite, part.test): part for row in rows for part in row.behavior}
    cells: Cells = []
    for (suite, test), part in tests.items():
        rates = [by_test[name, suite, test].fail_rate if (name, suite, test) in by_test else None for name in names]
        shown = [f"{rate.text(0)} %" if rate and points(rate) != "–" else "–" for rate in rates]
        cells.append([test, suite, part.kind, str(part.n), *shown])
    return ["Test", "Suite", "Kind", "Cases", *names], cells


def sarcasm_table(rows: Sequence[LeaderboardRow]) -> tuple[list[str], Cells]:
    """Return the F1 of the sarcastic class by dataset, and the share of sarcastic texts with the label of their plain form."""
    parts = [{part.dataset: part for part in row.sarcasm.rows} if row.sarcasm else {} for row in rows]
    sizes = {name: part.n for by_name in parts for name, part in by_name.items()}
    cells = [
        [f"F1, {name}", f"{size:,}", *(by_name[name].f1.text() if name in by_name else "–" for by_name in parts)]
        for name, size in sizes.items()
    ]
    if any(row.rephrased for row in rows):
        cells.append(["label as in plain words, %", "", *(row.rephrased.text() if row.rephrased else "–" for row in rows)])
    return ["", "Rows", *(row.candidate for row in rows)], cells


def target_table(rows: Sequence[LeaderboardRow]) -> tuple[list[str], Cells]:
    """Return how well each candidate scores the sentiment towards one company."""
    columns = [{name: (on, value) for name, on, value in target_cells(row.targets)} if row.targets else {} for row in rows]
    known = {name: on for column in columns for name, (on, _) in column.items()}
    cells = [[name, on, *(column.get(name, ("", "–"))[1] for column in columns)] for name, on in known.items()]
    return ["", "On", *(row.candidate for row in rows)], cells


def _sections(board: Leaderboard) -> list[tuple[str, str, list[str], Cells]]:
    """Return title, explanation, header and cells of the tables after the main one, without empty ones."""
    rows = board.rows
    sections = [
        (
            "Large models",
            "Asked over an endpoint, for comparison only, and never served. A row whose replies had no label counts as wrong. "
            "There is no ECE without probabilities. Price: that of the tokens that the endpoint reported. Latency: that of "
            "one request over the network.",
            *large_model_table(rows),
        ),
        (
            PUBLISHED,
            "Figures of the authors, in points of 100, on the datasets of this benchmark. They are not ranked: rows and training "
            "data can differ.",
            *published_table(board.published),
        ),
        (
            "Which differences are real",
            "Macro-recall of the row minus that of the column on the same texts (paired "
            "bootstrap). * marks a difference whose 95 % interval excludes 0.",
            *pair_table(rows),
        ),
        ("Slices", "Macro-recall over the classes of a slice. Slices with too few rows have no value.", *slice_table(rows)),
        (
            "Sarcasm",
            "F1 of the sarcastic class, of candidates that predict it; and how often a sarcastic text gets the label of what its "
            "author meant, as the author wrote it in plain words.",
            *sarcasm_table(rows),
        ),
        (
            "Companies",
            "Sentiment towards one company of those that a text names, P(positive) - P(negative): correlation with the scores of "
            "test rows, and how often two companies of one text are in the right order. Made sentences are about two companies "
            "with different news.",
            *target_table(rows),
        ),
        (
            "Behavior",
            "Mean failure rate over the tests of each suite and kind: MFT must be correct, INV must not "
            "change, DIR must not move in the wrong direction.",
            *behavior_table(rows, every_test=False),
        ),
        ("Behavior, test by test", "Failure rates with 95 % intervals.", *behavior_table(rows, every_test=True)),
    ]
    return [section for section in sections if section[3] and (len(rows) > 1 or section[0][0] != "W")]


def markdown_table(head: Sequence[str], cells: Cells) -> str:
    """Return a Markdown table; the first column left-aligned, the others right-aligned."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *cells]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def as_markdown(board: Leaderboard, plots: Sequence[str] = ()) -> str:
    """Return the leaderboard as Markdown."""
    parts = [f"# Leaderboard: {board.dataset}", _HOW_TO_READ]
    parts += ["\n".join(f"- {title}: {value}" for title, value in board.about.items())] if board.about else []
    parts += [markdown_table(*summary_table(board.rows))]
    parts += [f"![{_PLOTS[name]}]({name})" for name in plots]
    for title, explanation, head, cells in _sections(board):
        parts += [f"## {title}", explanation, markdown_table(head, cells)]
    return "\n\n".join(parts) + "\n"


_STYLE = """
:root { color-scheme: light dark; --ink: #1f2937; --soft: #6b7280; --line: #e5e7eb; --paper: #ffffff; --band: #f3f7fb;
  --blue: #0072B2; --best: #e6f2fa; }
@media (prefers-color-scheme: dark) { :root { --ink: #e5e7eb; --soft: #9ca3af; --line: #374151; --paper: #111827;
  --band: #1a2433; --blue: #56B4E9; --best: #12304a; } }
* { box-sizing: border-box; }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); margin: 0 auto;
  padding: 2rem 1.5rem; max-width: 1400px; }
h1 { font-size: 1.6rem; margin: 0 0 .3rem; } h2 { font-size: 1.15rem; margin: 2.2rem 0 .3rem; }
p { color: var(--soft); margin: .2rem 0 .8rem; max-width: 75ch; }
.about { display: flex; flex-wrap: wrap; gap: .4rem 1.6rem; margin: .6rem 0; font-size: .88rem; }
.about b { font-weight: 600; color: var(--soft); margin-right: .35rem; }
.scroll { overflow-x: auto; border: 1px solid var(--line); border-radius: 8px; }
table { border-collapse: collapse; width: 100%; font-size: .86rem; font-variant-numeric: tabular-nums; }
th, td { padding: .45rem .7rem; text-align: right; white-space: nowrap; border-bottom: 1px solid var(--line); }
th { font-weight: 600; background: var(--band); } tr:last-child td { border-bottom: 0; }
th:first-child, td:first-child { text-align: left; white-space: normal; min-width: 9rem; }
.ranked tbody tr:first-child { background: var(--best); } .ranked td:nth-child(2) { font-weight: 600; }
.tag { font-size: .72rem; border: 1px solid var(--soft); color: var(--ink); border-radius: 999px; padding: 0 .45rem;
  margin-left: .4rem; white-space: nowrap; }
.real { color: var(--blue); font-weight: 600; }
.scroll:focus-visible, a:focus-visible, summary:focus-visible { outline: 2px solid var(--blue); outline-offset: 2px; }
figure { margin: 1.4rem 0; overflow-x: auto; } figcaption { color: var(--soft); font-size: .86rem; }
img { max-width: 100%; min-width: 640px; height: auto; border: 1px solid var(--line); border-radius: 8px; background: #fff; }
@media (prefers-color-scheme: dark) { img { filter: invert(.92) hue-rotate(180deg); } }
summary { cursor: pointer; color: var(--blue); margin: 1.6rem 0 .5rem; font-weight: 600; }
"""


_TAG = re.compile(r" \((from scratch|in production|exported|large model[^)]*)\)")


def _html_table(title: str, head: Sequence[str], cells: Cells, kind: str = "") -> str:
    def cell(text: str) -> str:
        shown = _TAG.sub(r'<span class="tag">\1</span>', html.escape(text))
        return f'<td class="real">{shown}</td>' if text.endswith(" *") else f"<td>{shown}</td>"

    top = "".join(f'<th scope="col">{html.escape(name)}</th>' for name in head)
    body = "\n".join(f"<tr>{''.join(map(cell, line))}</tr>" for line in cells)
    table = f"<table><thead><tr>{top}</tr></thead><tbody>\n{body}\n</tbody></table>"
    # Focusable, so that a keyboard can scroll a table that is wider than the page.
    return f'<div class="scroll {kind}" tabindex="0" role="region" aria-label="{html.escape(title)}">{table}</div>'


def as_html(board: Leaderboard, plots: Sequence[str] = ()) -> str:
    """Return the leaderboard as one HTML page that needs only the plots in the same folder."""
    title = html.escape(f"Leaderboard: {board.dataset}")
    about = "".join(f"<span><b>{html.escape(k)}</b>{html.escape(str(v))}</span>" for k, v in board.about.items())
    parts = [f"<h1>{title}</h1>", f'<div class="about">{about}</div>', f"<p>{html.escape(_HOW_TO_READ)}</p>"]
    parts.append(_html_table("All candidates", *summary_table(board.rows), kind="ranked"))
    for name in plots:
        caption = html.escape(_PLOTS[name])
        picture = f'<a href="{name}"><img src="{name}" alt="{caption}"></a>'
        parts.append(f'<figure tabindex="0">{picture}<figcaption>{caption}</figcaption></figure>')
    for heading, explanation, head, cells in _sections(board):
        table = f"<p>{html.escape(explanation)}</p>{_html_table(heading, head, cells)}"
        long = heading.endswith("test by test")
        parts.append(f"<details><summary>{heading}</summary>{table}</details>" if long else f"<h2>{heading}</h2>{table}")
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{_STYLE}</style></head>\n<body><main>\n'
        + "\n".join(parts)
        + "\n</main></body></html>\n"
    )


def write_leaderboard(
    board: Leaderboard,
    directory: Path,
    *,
    labels: np.ndarray,
    probas: Predictions,
) -> list[Path]:
    """Write `leaderboard.json`, `published.json`, `.md`, `.html` and the plots; the folder is replaced atomically.

    Args:
        board: The result of `build_leaderboard`.
        directory: The folder to write.
        labels: Class ids of the primary rows, shape (N,).
        probas: By candidate, predictions of those rows; candidates without probabilities are in no plot.

    Returns:
        The files, in `directory`.
    """
    predictions = ((row.title, probas[row.candidate]) for row in board.rows)
    titled = {title: proba for title, proba in predictions if not isinstance(proba, SampledClasses)}
    with atomic_folder(directory) as folder:
        write_json(folder / "leaderboard.json", [row.to_dict() for row in board.rows])
        write_json(folder / "published.json", [one.model_dump() for one in board.published])
        plot_pareto(board.rows, folder / "pareto.png")
        plot_confusion(labels, titled, folder / "confusion.png")
        plot_reliability(labels, titled, folder / "reliability.png")
        plots = [name for name in _PLOTS if (folder / name).is_file()]
        write_text(folder / "leaderboard.md", as_markdown(board, plots))
        write_text(folder / "leaderboard.html", as_html(board, plots))
        names = sorted(path.name for path in folder.iterdir())
    return [directory / name for name in names]
