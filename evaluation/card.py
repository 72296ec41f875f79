"""The model card that travels in a bundle: what the model is, what it was measured to do, and where it fails."""

from collections.abc import Mapping
from typing import Any

from evaluation.behaviour import fail_rate_by_kind
from evaluation.leaderboard import RANKED_BY, Row, format_bytes, format_us, points
from evaluation.leaderboard_page import markdown_table
from evaluation.slices import weakest

_UNKNOWN = "not stated"
_LIMITS = (
    "English short texts (tweets, support messages, reviews, financial news). Other languages were not measured.",
    "Three classes of the writer's sentiment. It does not find sarcasm, emotions or what the sentiment is about.",
    "Labels are majority votes of people who disagree: the best published models reach 72 to 74 points of macro-recall "
    "on the TweetEval test.",
    "Not for decisions about single people. Scores of texts about protected groups can differ: see the INV tests.",
)


def model_card(report: Mapping[str, Any]) -> str:
    """Write the card.

    Args:
        report: `row` (a leaderboard row or its JSON form) and, where known: `name`, `version`, `dataset`, `base_model`,
            `base_licence`, `data` (mappings with `name`, `licence`, and optionally `domain`, `rows`),
            `data_fingerprint`, `quantization`, `max_length`, `parity` (text), `verdict` (`Verdict.to_dict()`),
            `limits` (more lines). What is missing is written as "not stated"; nothing is guessed.

    Returns:
        Markdown.
    """
    row = report["row"] if isinstance(report["row"], Row) else Row.from_dict(report["row"])
    title = f"{report.get('name', row.candidate)}" + (f", version {report['version']}" if report.get("version") else "")
    parts = [f"# Model card: {title}", _summary(report, row)]
    parts += ["## Quality", *_quality(report, row)]
    if row.cost:
        parts += ["## Cost", _cost(row)]
    parts += ["## Data", *_data(report)]
    parts += ["## Limits", _limits(report, row)]
    if report.get("verdict"):
        parts += ["## The gate", _verdict(report["verdict"])]
    return "\n\n".join(parts) + "\n"


def _bullets(lines: list[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _summary(report: Mapping[str, Any], row: Row) -> str:
    lines = [
        "Task: sentiment of a short text: negative, neutral or positive.",
        f"Base model: {report.get('base_model', _UNKNOWN)}; its licence: {report.get('base_licence', _UNKNOWN)}.",
        f"Quantization: {report.get('quantization', _UNKNOWN)}.",
        f"Longest input: {report.get('max_length', _UNKNOWN)} tokens.",
        f"Calibration: temperature {row.temperature:.3f}, fitted on the validation rows.",
    ]
    if row.from_scratch:
        lines.append("**From scratch**: trained from random weights; a pretrained checkpoint of its family does better.")
    if report.get("parity"):
        lines.append(f"Parity with the trained model: {report['parity']}")
    return _bullets(lines)


def _quality(report: Mapping[str, Any], row: Row) -> list[str]:
    names = {"macro_recall": "Macro-recall", "macro_f1": "Macro-F1", "accuracy": "Accuracy", "ece": "Calibration error"}
    names |= {
        f"{kind}_{c}": f"{kind.capitalize()}, {c}" for kind in ("recall", "f1") for c in ("negative", "neutral", "positive")
    }
    cells = [[text, row.metrics[name].text()] for name, text in names.items() if name in row.metrics]
    parts = [
        f"On {row.n:,} test rows of {report.get('dataset', _UNKNOWN)}; points of 100 with 95 % bootstrap intervals.",
        markdown_table(["Metric", "Value"], cells),
    ]
    judged = [part for part in row.slices if part.metrics]
    if judged:
        cells = [[part.slice, f"{part.n:,}", part.metrics[RANKED_BY].text()] for part in judged]
        parts += [
            "Macro-recall by slice, over the classes that occur in it:",
            markdown_table(["Slice", "Rows", "Value"], cells),
        ]
    rates = fail_rate_by_kind(row.behaviour)
    if rates:
        cells = [[kind, f"{100 * rate:.1f} %"] for kind, rate in rates.items()]
        parts += ["Behaviour, mean failure rate over tests:", markdown_table(["Suite and kind", "Fails"], cells)]
    return parts


def _cost(row: Row) -> str:
    assert row.cost
    cost = row.cost
    p50, p95, p99 = (f"{spread.value:.1f}" for spread in cost.latencies_ms)
    return _bullets([
        f"{format_us(cost.cpu_us_per_text.value)} of CPU per text in bulk (rounds from "
        f"{format_us(cost.cpu_us_per_text.low)} to {format_us(cost.cpu_us_per_text.high)}).",
        f"One text: p50 {p50}, p95 {p95}, p99 {p99} ms on the machine that measured it.",
        f"Peak memory {cost.peak_memory_mib:,.0f} MiB; loads in {cost.load_s:.1f} s; "
        f"files: {format_bytes(cost.file_bytes)}.",
    ])  # fmt: skip


def _data(report: Mapping[str, Any]) -> list[str]:
    sets = report.get("data") or []
    cells = [
        [
            str(s["name"]),
            str(s.get("domain", "–")),
            f"{s['rows']:,}" if s.get("rows") else "–",
            str(s.get("licence", _UNKNOWN)),
        ]
        for s in sets
    ]
    table = markdown_table(["Data set", "Domain", "Rows", "Licence or terms"], cells) if cells else f"Data sets: {_UNKNOWN}."
    return [table, f"Content fingerprint of the data: `{report.get('data_fingerprint', _UNKNOWN)}`."]


def _limits(report: Mapping[str, Any], row: Row) -> str:
    lines = [*_LIMITS, *report.get("limits", ())]
    if worst := weakest(row.slices):
        found = points(worst.metrics[RANKED_BY])
        lines.append(f"Weakest slice: {worst.slice}, {found} points of macro-recall on {worst.n:,} rows.")
    failing = sorted((part for part in row.behaviour if part.n >= 20), key=lambda part: -part.fail_rate.value)[:3]
    lines += [
        f"Fails {100 * part.fail_rate.value:.0f} % of {part.n} cases of “{part.test}” ({part.kind})."
        for part in failing
        if part.fail_rate.value > 0.2
    ]
    return _bullets(lines)


def _verdict(verdict: Mapping[str, Any]) -> str:
    head = "Passed, by these rules:" if verdict["passed"] else "**Refused**, for these reasons:"
    lines = [f"{'✓' if reason['passed'] else '✗'} {reason['rule']}: {reason['text']}" for reason in verdict["reasons"]]
    return f"{head}\n\n{_bullets(lines)}"
