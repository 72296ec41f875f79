"""The model card in a bundle: the model, its measured quality and cost, and its weaknesses."""

from collections.abc import Mapping, Sequence
from typing import Any

from data.language import ENGLISH, language_name
from evaluation.behavior import fail_rate_by_kind
from evaluation.cost import Cost
from evaluation.leaderboard import RANKED_BY, LeaderboardRow, format_bytes, format_us, points
from evaluation.leaderboard_page import markdown_table
from evaluation.metrics import Estimate
from evaluation.slices import weakest
from evaluation.targets import target_cells

_UNKNOWN = "not stated"
_METRICS = {"macro_recall": "Macro-recall", "macro_f1": "Macro-F1", "accuracy": "Accuracy", "ece": "Calibration error"}
_LIMITS = (
    "Labels are majority votes of people who disagree: the best published models reach 72 to 74 points of macro-recall "
    "on the TweetEval test.",
    "Not for decisions about single people. Scores of texts about protected groups can differ: see the INV tests.",
)


def model_card(row: LeaderboardRow, about: Mapping[str, Any], *, float32: LeaderboardRow | None = None) -> str:
    """Write the card.

    Args:
        row: The leaderboard row of the bundle itself.
        float32: The row of the model before export, where known.
        about: Where known: `name`, `version`, `dataset`, `base_model`, `base_license`, `training` (`rows`, `rows_available`,
            `epochs`, `seed`, `trained_at`, and `datasets` with `name`, `domain`, `license`, `rows`, `rows_available`),
            `data_fingerprint`, `quantization`, `max_length`, `heads`, `targets`, `languages` (codes; without them English),
            `parity` (text), `tiers` and `points` (as in `bundle.json`). Another missing value is written as "not stated".

    Returns:
        Markdown.
    """
    title = f"{about.get('name', row.candidate)}" + (f", version {about['version']}" if about.get("version") else "")
    parts = [f"# Model card: {title}", _summary(about, row)]
    parts += ["## Quality", *_quality(about, row)]
    if row.cost:
        parts += ["## Cost", _cost(row.cost, float32)]
    if about.get("points"):
        parts += ["## Tiers", *_tiers(about["tiers"], about["points"])]
    parts += ["## Data", *_data(about)]
    parts += ["## Limits", _limits(about, row)]
    return "\n\n".join(parts) + "\n"


def served_metrics(row: LeaderboardRow, float32: LeaderboardRow, *, dataset: str, flips: float) -> dict[str, Any]:
    """Return the metrics of a bundle for `bundle.json`, `/v1/model` and MLflow, from its leaderboard row.

    Args:
        row: The bundle's leaderboard row.
        float32: The row of the model before export.
        dataset: Name of the dataset of the test rows.
        flips: Labels per 10,000 that differ from the float32 model.
    """
    return {
        "dataset": dataset,
        "rows": row.n,
        **_numbers(row),
        "flips_per_10000": flips,
        "float32": _numbers(float32),
        "slices": {
            part.slice: {"n": part.n, "macro_recall": part.metrics[RANKED_BY].to_dict()}
            for part in row.slices
            if RANKED_BY in part.metrics
        },
    }


def _numbers(row: LeaderboardRow) -> dict[str, Any]:
    quality = {name: row.metrics[name].to_dict() for name in _METRICS if name in row.metrics}
    if row.cost is None:
        return quality
    cost = row.cost.to_dict()
    return quality | {name: cost[name] for name in ("cpu_us_per_text", "latency_p50_ms", "peak_memory_mib", "file_bytes")}


def _bullets(lines: list[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _summary(about: Mapping[str, Any], row: LeaderboardRow) -> str:
    lines = [
        "Task: sentiment of a short text: negative, neutral or positive.",
        f"Language: {', '.join(f'{language_name(code)} (`{code}`)' for code in _languages(about))}.",
        f"Base model: {about.get('base_model', _UNKNOWN)}; its license: {about.get('base_license', _UNKNOWN)}.",
        f"Quantization: {about.get('quantization', _UNKNOWN)}.",
        f"Longest input: {about.get('max_length', _UNKNOWN)} tokens.",
        f"Trained: {_training(about.get('training') or {})}.",
        f"Calibration: temperature {row.temperature:.3f}, fitted on the validation rows.",
    ]
    if len(heads := about.get("heads") or ()) > 1:
        lines.append(f"Heads: {', '.join(f'`{head}`' for head in heads)}; that of a text's domain decides, else `{heads[0]}`.")
    if row.from_scratch:
        lines.append("**From scratch**: trained from random weights; a pretrained checkpoint of its family does better.")
    if about.get("parity"):
        lines.append(f"Parity with the trained model: {about['parity']}")
    return _bullets(lines)


def _training(training: Mapping[str, Any]) -> str:
    if not training.get("rows"):
        return _UNKNOWN
    available, epochs, seed, at = (training.get(name) for name in ("rows_available", "epochs", "seed", "trained_at"))
    used = f"on {training['rows']:,} rows" if available is None else f"on {training['rows']:,} of {available:,} rows"
    return ", ".join(
        [
            used,
            _UNKNOWN if epochs is None else f"{epochs:g} epoch{'' if epochs == 1 else 's'}",
            f"seed {_UNKNOWN if seed is None else seed}",
            f"finished {_UNKNOWN if at is None else str(at)[:16].replace('T', ' ') + ' UTC'}",
        ]
    )


def _quality(about: Mapping[str, Any], row: LeaderboardRow) -> list[str]:
    names = _METRICS | {
        f"{kind}_{c}": f"{kind.capitalize()}, {c}" for kind in ("recall", "f1") for c in ("negative", "neutral", "positive")
    }
    cells = [[text, row.metrics[name].text()] for name, text in names.items() if name in row.metrics]
    parts = [
        f"On {row.n:,} test rows of {about.get('dataset', _UNKNOWN)}; points of 100 with 95 % bootstrap intervals.",
        markdown_table(["Metric", "Value"], cells),
    ]
    measured = [part for part in row.slices if part.metrics]
    if measured:
        cells = [[part.slice, f"{part.n:,}", part.metrics[RANKED_BY].text()] for part in measured]
        parts += [
            "Macro-recall by slice, over the classes that occur in it:",
            markdown_table(["Slice", "Rows", "Value"], cells),
        ]
    if row.sarcasm:
        cells = [
            [part.dataset, f"{part.n:,}", part.f1.text(), f"{100 * part.precision:.1f}", f"{100 * part.recall:.1f}"]
            for part in row.sarcasm.rows
        ]
        parts += [
            "Sarcasm, of the sarcastic class, at a probability of 0.5:",
            markdown_table(["Dataset", "Rows", "F1", "Precision", "Recall"], cells),
        ]
    if row.rephrased:
        parts.append(f"Sarcastic texts with the label of what their authors meant, in plain words: {row.rephrased.text()} %.")
    if row.targets:
        parts += ["The sentiment towards one company:", markdown_table(["Measure", "On", "Value"], target_cells(row.targets))]
    rates = fail_rate_by_kind(row.behavior)
    if rates:
        cells = [[kind, f"{100 * rate:.1f} %"] for kind, rate in rates.items()]
        parts += ["Behavior, mean failure rate over tests:", markdown_table(["Suite and kind", "Fails"], cells)]
    return parts


def _cost(cost: Cost, float32: LeaderboardRow | None) -> str:
    p50, p95, p99 = (f"{spread.value:.1f}" for spread in cost.latencies_ms)
    return _bullets(
        [
            f"{format_us(cost.cpu_us_per_text.value)} of CPU per text in bulk (rounds from "
            f"{format_us(cost.cpu_us_per_text.low)} to {format_us(cost.cpu_us_per_text.high)}).",
            f"One text: p50 {p50}, p95 {p95}, p99 {p99} ms on the machine that measured it.",
            f"Peak memory {cost.peak_memory_mib:,.0f} MiB; loads in {cost.load_s:.1f} s; "
            f"model file: {format_bytes(cost.file_bytes)}.",
            *([_before_export(float32)] if float32 else []),
        ]
    )


def _tiers(tiers: Mapping[str, Any], points: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the operating points as a table: accuracy against CPU time."""
    cells = [
        [
            point["tier"] if point["tier"] not in tiers else f"{point['tier']} ({tiers[point['tier']]['title']})",
            f"{point['threshold']:.3f}" if point["threshold"] else "–",
            f"{100 * point['escalated']:.0f} %",
            format_us(point["cpu_us"]),
            f"{100 * point['macro_recall']:.1f}",
            Estimate.from_dict(point["test_macro_recall"]).text(),
        ]
        for point in points
    ]
    head = ["Tier", "`base` below confidence", "Share by `base`", "CPU per text, one thread", "Validation", "Test"]
    return [
        "Smaller models of the same bundle. Each row is an operating point that no other dominates on the validation rows; "
        "macro-recall in points of 100, on test rows with 95 % bootstrap intervals.",
        markdown_table(head, cells),
    ]


def _before_export(float32: LeaderboardRow) -> str:
    """Return one line that compares the trained model with the bundle made from it."""
    line = f"For comparison, the float32 model before export: macro-recall {float32.metrics[RANKED_BY].text()}"
    if float32.cost:
        line += f", {format_us(float32.cost.cpu_us_per_text.value)} of CPU per text, {format_bytes(float32.cost.file_bytes)}"
    return f"{line}."


def _data(about: Mapping[str, Any]) -> list[str]:
    training: Mapping[str, Any] = about.get("training") or {}
    datasets: list[Mapping[str, Any]] = training.get("datasets") or []
    cells = [
        [
            str(dataset["name"]),
            str(dataset.get("domain", "–")),
            f"{dataset['rows']:,}",
            f"{dataset['rows_available']:,}",
            str(dataset.get("license", _UNKNOWN)),
        ]
        for dataset in datasets
    ]
    head = ["Dataset", "Domain", "Rows used", "Rows available", "License or terms"]
    table = markdown_table(head, cells) if cells else f"Datasets: {_UNKNOWN}."
    return [table, f"Content fingerprint of the data: `{about.get('data_fingerprint', _UNKNOWN)}`."]


def _languages(about: Mapping[str, Any]) -> Sequence[str]:
    return about.get("languages") or ENGLISH


def _limits(about: Mapping[str, Any], row: LeaderboardRow) -> str:
    names = " and ".join(map(language_name, _languages(about)))
    kinds = "tweets, support messages, reviews, financial news"
    unable = "emotions" if row.sarcasm else "sarcasm, emotions"
    lines = [
        f"Short texts in {names} ({kinds}). Other languages were not measured.",
        f"Three classes of the writer's sentiment. It does not find {unable} or what the sentiment is about"
        f"{'; it scores companies that a request names' if about.get('targets') else ''}.",
        *_LIMITS,
    ]
    if worst := weakest(row.slices):
        value = points(worst.metrics[RANKED_BY])
        lines.append(f"Weakest slice: {worst.slice}, {value} points of macro-recall on {worst.n:,} rows.")
    failing = sorted((part for part in row.behavior if part.n >= 20), key=lambda part: -part.fail_rate.value)[:3]
    lines += [
        f"Fails {100 * part.fail_rate.value:.0f} % of {part.n} cases of “{part.test}” ({part.kind})."
        for part in failing
        if part.fail_rate.value > 0.2
    ]
    return _bullets(lines)
