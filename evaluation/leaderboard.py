"""The leaderboard: the comparison of all candidates on one frozen split, and its JSON, CSV and terminal forms.

`leaderboard.json` is a list of rows, best first; a row has `candidate` and each metric by name, `{value, low, high}`.
Pages and plots: `evaluation.leaderboard_page`, `evaluation.plots`.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from data.artifacts import read_json
from data.errors import ModelError
from data.settings import CostSettings
from evaluation.behavior import BehaviorRow
from evaluation.cost import Cost
from evaluation.metrics import METRICS, RESAMPLES, Estimate, is_real, paired_class_difference, paired_difference
from evaluation.published import PublishedFigure
from evaluation.sarcasm import SarcasmReport
from evaluation.slices import SliceRow
from evaluation.targets import TargetReport

if TYPE_CHECKING:
    from rich.table import Table

RANKED_BY = "macro_recall"


@dataclass(frozen=True)
class LargeModelFacts:
    """What is known of a large model behind an endpoint, instead of a cost that is measured here."""

    model: str
    """The name that the endpoint knows it by."""
    prompt: str
    """`zero-shot` or `few-shot`."""
    of_rows: int
    """Rows of the frozen split, of which the row's `n` are a seeded sample."""
    without_label: int
    """Rows whose replies had no label: they count as wrong."""
    usd_per_million: float | None
    """Price of a million such texts, from the tokens that the endpoint reported; None where that is not known."""
    latency_p50_ms: float
    latency_p95_ms: float
    concurrency: int
    """Requests at the same time while the latency was measured."""


@dataclass(frozen=True)
class SampledClasses:
    """What a system without probabilities predicted for a sample of the rows."""

    rows: np.ndarray
    """Positions among the primary rows, ascending, shape (M,)."""
    classes: np.ndarray
    """Class ids or `NO_CLASS`, shape (M,)."""


Predictions = Mapping[str, np.ndarray | SampledClasses]
"""By candidate: probabilities of the primary rows, shape (N, 3), or classes of some of them."""


@dataclass(frozen=True)
class LeaderboardRow:
    """One candidate, or one bundle."""

    candidate: str
    n: int
    """Rows of the frozen split that ranks the candidates."""
    metrics: dict[str, Estimate]
    version: str | None = None
    """Version of a bundle; None for a candidate before export."""
    role: str = ""
    """Role of a bundle: `in production`, or `exported` if it has not passed the gate."""
    from_scratch: bool = False
    """Trained from random weights; a pretrained checkpoint of its family does better."""
    temperature: float = 1.0
    cost: Cost | None = None
    large_model: LargeModelFacts | None = None
    """Of a candidate of the kind `llm`, which is evaluated only."""
    slices: tuple[SliceRow, ...] = ()
    behavior: tuple[BehaviorRow, ...] = ()
    confusion: list[list[int]] | None = None
    """Rows of the frozen split: true class by predicted class."""
    reliability: list[dict[str, float]] | None = None
    """Confidence, accuracy and rows of each bin that is not empty."""
    against: dict[str, Estimate] = field(default_factory=dict[str, Estimate])
    """Macro-recall minus that of each other candidate, paired."""
    sarcasm: SarcasmReport | None = None
    """None: it does not predict sarcasm."""
    rephrased: Estimate | None = None
    """Share of held-out sarcastic texts with the label of what their authors meant, in plain words; None: there are none."""
    targets: TargetReport | None = None
    """Sentiment towards one company; None: no test row has a score for one."""

    @property
    def title(self) -> str:
        """The name, with its tags: `minilm int8_rowwise (in production)`, `roberta (from scratch)`."""
        return " ".join([self.candidate, *(f"({tag})" for tag in self.tags)])

    @property
    def tags(self) -> tuple[str, ...]:
        """The tags shown after the name: role, from scratch, large model with its sample."""
        large = ""
        if facts := self.large_model:
            large = "large model" if self.n == facts.of_rows else f"large model, {self.n:,} of {facts.of_rows:,} rows"
        return tuple(tag for tag in (self.role, "from scratch" if self.from_scratch else "", large) if tag)

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form; metrics are keys next to `candidate`."""
        return {
            "candidate": self.candidate,
            "version": self.version,
            "role": self.role,
            "from_scratch": self.from_scratch,
            "n": self.n,
            **{name: estimate.to_dict() for name, estimate in self.metrics.items()},
            "temperature": round(self.temperature, 4),
            "cost": self.cost.to_dict() if self.cost else None,
            "large_model": asdict(self.large_model) if self.large_model else None,
            "against": {name: estimate.to_dict() for name, estimate in self.against.items()},
            "confusion": self.confusion,
            "reliability": self.reliability,
            "slices": [row.to_dict() for row in self.slices],
            "behavior": [row.to_dict() for row in self.behavior],
            "sarcasm": self.sarcasm.to_dict() if self.sarcasm else None,
            "rephrased": self.rephrased.to_dict() if self.rephrased else None,
            "targets": self.targets.to_dict() if self.targets else None,
        }

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Self:
        """Return the row from its JSON form; metrics may also be under `metrics`, and `n` may be called `rows`."""
        metrics = raw.get("metrics", raw)
        return cls(
            candidate=raw["candidate"],
            n=int(raw["n"] if "n" in raw else raw["rows"]),
            metrics={name: Estimate.from_dict(metrics[name]) for name in METRICS if name in metrics},
            version=raw.get("version"),
            role=raw.get("role", ""),
            from_scratch=bool(raw.get("from_scratch", False)),
            temperature=float(raw.get("temperature", 1.0)),
            cost=Cost.from_dict(raw["cost"]) if raw.get("cost") else None,
            large_model=LargeModelFacts(**raw["large_model"]) if raw.get("large_model") else None,
            slices=tuple(SliceRow.from_dict(row) for row in raw.get("slices", ())),
            behavior=tuple(BehaviorRow.from_dict(row) for row in raw.get("behavior", ())),
            confusion=raw.get("confusion"),
            reliability=raw.get("reliability"),
            against={name: Estimate.from_dict(value) for name, value in raw.get("against", {}).items()},
            sarcasm=SarcasmReport.from_dict(raw["sarcasm"]) if raw.get("sarcasm") else None,
            rephrased=Estimate.from_dict(raw["rephrased"]) if raw.get("rephrased") else None,
            targets=TargetReport.from_dict(raw["targets"]) if raw.get("targets") else None,
        )


@dataclass(frozen=True)
class Comparison:
    """A paired difference in macro-recall, `first` minus `second`."""

    first: str
    second: str
    difference: Estimate

    @property
    def real(self) -> bool:
        """Whether the 95 % interval excludes 0."""
        return is_real(self.difference)

    def text(self) -> str:
        """Return one line, in points of macro-recall."""
        value, low, high = (100 * x for x in (self.difference.value, self.difference.low, self.difference.high))
        conclusion = "a real difference" if self.real else "no real difference"
        return f"{self.first} − {self.second}: {value:+.1f} [{low:+.1f}, {high:+.1f}], {conclusion}"


@dataclass(frozen=True)
class Leaderboard:
    """All rows, best first, and every pair of them."""

    dataset: str
    rows: tuple[LeaderboardRow, ...]
    comparisons: tuple[Comparison, ...]
    about: dict[str, Any] = field(default_factory=dict[str, Any])
    """Further facts for the page by title: data fingerprint, date, machine."""
    published: tuple[PublishedFigure, ...] = ()


def compare(labels: np.ndarray, probas: Predictions, *, resamples: int = RESAMPLES, seed: int = 0) -> list[Comparison]:
    """Return the paired difference in macro-recall of every pair, in the order of `probas`.

    Args:
        labels: Class ids, shape (N,).
        probas: By candidate, predictions of the same rows. A pair with sampled rows is compared on the rows that both predicted.
        resamples: Bootstrap resamples.
        seed: Seed of the resampling.
    """
    return [Comparison(a, b, _difference(labels, probas[a], probas[b], resamples, seed)) for a, b in combinations(probas, 2)]


def _difference(
    labels: np.ndarray, a: np.ndarray | SampledClasses, b: np.ndarray | SampledClasses, resamples: int, seed: int
) -> Estimate:
    if not isinstance(a, SampledClasses) and not isinstance(b, SampledClasses):
        return paired_difference(labels, a, b, RANKED_BY, resamples=resamples, seed=seed)
    a, b = _classes(a), _classes(b)
    rows, of_a, of_b = np.intersect1d(a.rows, b.rows, assume_unique=True, return_indices=True)
    return paired_class_difference(labels[rows], a.classes[of_a], b.classes[of_b], RANKED_BY, resamples=resamples, seed=seed)


def _classes(predictions: np.ndarray | SampledClasses) -> SampledClasses:
    if isinstance(predictions, SampledClasses):
        return predictions
    return SampledClasses(np.arange(len(predictions)), predictions.argmax(axis=1))


def build_leaderboard(
    rows: Sequence[LeaderboardRow],
    labels: np.ndarray,
    probas: Predictions,
    *,
    dataset: str,
    about: Mapping[str, Any] | None = None,
    published: Sequence[PublishedFigure] = (),
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Leaderboard:
    """Rank the rows by macro-recall and compare each pair.

    Args:
        rows: One per candidate.
        labels: Class ids of the primary rows, shape (N,).
        probas: By candidate, predictions of those rows.
        dataset: Name of the primary dataset.
        about: Further facts for the page, by title.
        published: Figures to show next to the rows.
        resamples: Bootstrap resamples.
        seed: Seed of the resampling.

    Raises:
        ModelError: There are no rows, a name occurs twice, or a candidate has no probabilities.
    """
    names = [row.candidate for row in rows]
    if not rows or len(set(names)) < len(names) or set(names) != set(probas):
        raise ModelError(
            "The leaderboard cannot be built.",
            found=f"rows {names}, probabilities of {list(probas)}",
            expected="at least one row, each candidate once, with its probabilities",
        )
    ranked = sorted(rows, key=lambda row: (-row.metrics[RANKED_BY].value, row.candidate))
    ordered = {row.candidate: probas[row.candidate] for row in ranked}
    pairs = compare(labels, ordered, resamples=resamples, seed=seed)
    against: dict[str, dict[str, Estimate]] = {name: {} for name in ordered}
    for pair in pairs:
        difference = pair.difference
        against[pair.first][pair.second] = difference
        against[pair.second][pair.first] = Estimate(-difference.value, -difference.high, -difference.low)
    ranked = [replace(row, against=against[row.candidate]) for row in ranked]
    return Leaderboard(dataset, tuple(ranked), tuple(pairs), dict(about or {}), tuple(published))


def read_leaderboard(path: Path) -> list[LeaderboardRow]:
    """Read the rows of a `leaderboard.json`.

    Raises:
        ModelError: The file does not exist yet, or it cannot be read.
    """
    try:
        return [LeaderboardRow.from_dict(raw) for raw in read_json(path)]
    except FileNotFoundError as error:
        raise ModelError(
            "There is no leaderboard yet.", found=f"no file {path}", remedy="Run `groundswell benchmark`."
        ) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(
            f"The leaderboard {path} cannot be read.",
            found=f"{type(error).__name__}: {error}",
            remedy="Run `groundswell benchmark` again.",
        ) from error


def format_us(microseconds: float) -> str:
    """Return CPU time for display: `52 µs`, `3,480 µs`."""
    return f"{microseconds:,.0f} µs" if microseconds >= 10 else f"{microseconds:.1f} µs"


def format_bytes(size: float | None) -> str:
    """Return a size for display: `87 MiB`, `512 KiB`; a dash for None."""
    if size is None:
        return "–"
    for unit in ("B", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.0f} {unit}"
        size /= 1024
    return f"{size:.1f} GiB"


def format_ms(milliseconds: float) -> str:
    """Return milliseconds for display, with more decimals for small values: `0.07`, `3.9`, `53`."""
    digits = 2 if milliseconds < 1 else 1 if milliseconds < 10 else 0
    return f"{milliseconds:,.{digits}f}"


def format_usd(usd: float | None) -> str:
    """Return a price for display, without its currency; a dash for None."""
    return "–" if usd is None else f"{usd:,.2f}"


def points(estimate: Estimate | None) -> str:
    """Return a value in points of 100, without its interval."""
    return "–" if estimate is None or not math.isfinite(estimate.value) else f"{100 * estimate.value:.1f}"


def as_csv(rows: Sequence[LeaderboardRow]) -> str:
    """Return rows as CSV, best first, one line per candidate. Shares are 0 to 1, CPU time in microseconds, memory in MiB."""
    import csv
    import io

    text = io.StringIO()
    quality = ("macro_recall", "macro_f1", "accuracy", "ece")
    head = [
        "candidate",
        "version",
        "role",
        "from_scratch",
        "rows",
        *quality,
        "macro_recall_low",
        "macro_recall_high",
        "cpu_us_per_text",
        "latency_p50_ms",
        "latency_p99_ms",
        "peak_memory_mib",
        "file_bytes",
        "usd_per_million",
    ]
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(head)
    price = CostSettings.load()
    for row in rows:
        ranked, cost, large = row.metrics[RANKED_BY], row.cost, row.large_model
        costs: list[float | None] = [None] * 6
        if cost:
            cpu = cost.cpu_us_per_text.value
            latencies = cost.latency_p50_ms.value, cost.latency_p99_ms.value
            costs = [cpu, *latencies, cost.peak_memory_mib, cost.file_bytes, round(price.per_million(cpu), 4)]
        elif large:
            costs = [None, large.latency_p50_ms, None, None, None, large.usd_per_million]
        values = [row.metrics[name].value if name in row.metrics else None for name in quality]
        writer.writerow([row.candidate, row.version, row.role, row.from_scratch, row.n, *values, ranked.low, ranked.high, *costs])
    return text.getvalue()


def as_table(rows: Sequence[LeaderboardRow]) -> "Table":
    """Return rows as a table for a terminal of 80 columns or more, best first; the page has the rest."""
    from rich import box
    from rich.table import Table

    caption = "Points of 100, [ ] 95 % intervals; CPU in bulk and latency of one text: medians of rounds; $/M: a million texts."
    table = Table(title="Leaderboard", caption=caption, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("Candidate", min_width=14)
    for title in ("Macro-recall", "F1", "ECE", "CPU µs", "$/M", "p50 ms", "p99 ms", "MiB"):
        table.add_column(title, justify="right", no_wrap=True)
    price = CostSettings.load()
    for row in sorted(rows, key=lambda row: -row.metrics[RANKED_BY].value):
        cost, large = row.cost, row.large_model
        table.add_row(
            " ".join([row.candidate, *(f"[dim]({tag})[/]" for tag in row.tags)]),
            row.metrics[RANKED_BY].text().replace("[", r"\["),
            *(points(row.metrics.get(name)) for name in ("macro_f1", "ece")),
            *(
                (
                    format_us(cost.cpu_us_per_text.value).removesuffix(" µs"),
                    f"{price.per_million(cost.cpu_us_per_text.value):.2f}",
                    format_ms(cost.latency_p50_ms.value),
                    format_ms(cost.latency_p99_ms.value),
                    f"{cost.peak_memory_mib:,.0f}",
                )
                if cost
                else ("–", format_usd(large.usd_per_million), format_ms(large.latency_p50_ms), "–", "–")
                if large
                else ("–",) * 5
            ),
        )
    return table
