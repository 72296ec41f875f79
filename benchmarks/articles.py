"""`make bench-articles`: articles a second on two cores, each classified in windows, by length and by tier.

An article is texts of the test split in a row, of news and finance where the split has them; no two are the same. Each round
classifies other articles, and the configurations take turns. CPU time is the figure to compare: other programs on the same cores
slow the wall clock.
"""

import argparse
import itertools
import resource
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.harness.arguments import find_bundle, run
from benchmarks.harness.machine import CPUS, divide_cpus
from benchmarks.harness.report import Outcome, show, write_report
from benchmarks.harness.rounds import in_turns
from orchestration.layout import Layout
from orchestration.progress import TerminalProgress, terminal_console
from orchestration.steps.data import build_splits, fetch_datasets, read_texts
from serving.classifier import Classifier
from serving.tiers import BASE

WORDS = (150, 500, 1_500)
"""Of an article: a wire report, a news article, and about the 10,000 characters that a message may have."""
DOMAINS = ("finance", "news")
ROUNDS, ARTICLES = 3, 8
"""Rounds, and articles of one round: classified in one call."""
GOAL_PER_MINUTE = 1_000


@dataclass(frozen=True)
class Measured:
    """Articles of one length on one tier, by round."""

    words: int
    tier: str
    articles: int
    windows: float
    """Of an article."""
    wall_s: list[float]
    cpu_s: list[float]

    @property
    def per_cpu_s(self) -> float:
        """Articles for each second of CPU time, the median of the rounds."""
        return self.articles / statistics.median(self.cpu_s)


def articles(sentences: Sequence[str], words: int) -> Iterator[str]:
    """Yield articles of at least this many words, without end."""
    endless = itertools.cycle(sentences)
    for number in itertools.count():
        parts, count = [f"Report {number}."], 2
        while count < words:
            parts.append(next(endless))
            count += len(parts[-1].split())
        yield " ".join(parts)


def measure(
    classifier: Classifier,
    sentences: Sequence[str],
    rounds: int,
    progress: Callable[[str, float | None], None],
    *,
    count: int = ARTICLES,
) -> list[Measured]:
    """Classify articles of each length on each tier of the bundle."""
    tiers = [BASE, *classifier.bundle.manifest.tiers]
    sources = {(words, tier): articles(sentences, words) for words in WORDS for tier in tiers}
    for (_, tier), source in sources.items():
        classifier.classify([next(source)], tier)  # the first call of a shape is slower

    def once(words: int, tier: str) -> tuple[float, float, int]:
        texts = list(itertools.islice(sources[words, tier], count))
        wall, cpu = time.perf_counter(), _cpu_s()
        found = classifier.classify(texts, tier)
        return time.perf_counter() - wall, _cpu_s() - cpu, sum(max(len(one.windows), 1) for one in found)

    sides = {f"{words} words, {tier}": (words, tier) for words, tier in sources}
    results = in_turns({name: lambda _, of=of: once(*of) for name, of in sides.items()}, rounds, progress)
    return [
        Measured(*of, count, sum(row[2] for row in rows) / len(rows) / count, [row[0] for row in rows], [row[1] for row in rows])
        for of, rows in zip(sides.values(), results.values(), strict=True)
    ]


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def table_of(results: Sequence[Measured]) -> Outcome:
    """Return the table of a measurement."""
    cores = f"cores for {GOAL_PER_MINUTE:,} a minute"
    outcome = Outcome(
        ["words", "tier", "windows", "CPU ms", "articles/s measured", f"articles/min of {CPUS} free cores", cores], []
    )
    for one in results:
        cpu_ms = [1_000 * used / one.articles for used in one.cpu_s]
        rates = [one.articles / took for took in one.wall_s]
        outcome.rows.append(
            [
                f"{one.words:,}",
                one.tier,
                f"{one.windows:.1f}",
                f"{statistics.median(cpu_ms):,.1f} [{min(cpu_ms):,.1f}, {max(cpu_ms):,.1f}]",
                f"{statistics.median(rates):,.1f} [{min(rates):,.1f}, {max(rates):,.1f}]",
                f"{60 * CPUS * one.per_cpu_s:,.0f}",
                f"{GOAL_PER_MINUTE / 60 / one.per_cpu_s:.2f}",
            ]
        )
    outcome.raw = [asdict(one) for one in results]
    return outcome


def main() -> None:
    """Measure the bundle, print the table and write `articles.json`."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.articles", description="Articles a second, in windows.")
    parser.add_argument("--bundle", type=Path, help="bundle to measure (default: the production model's)")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"rounds (default {ROUNDS})")
    given = parser.parse_args()
    layout, console = Layout.load(), terminal_console()
    if not (layout.splits / "texts.parquet").is_file():
        build_splits(layout, fetch_datasets(layout))
    rows = read_texts(layout, "test")
    prose = rows[rows["domain"].isin(DOMAINS)]
    sentences = (prose if len(prose) else rows)["text"].tolist()
    divide_cpus()
    with TerminalProgress(console) as terminal:
        terminal.begin("Articles")
        bundle = find_bundle(given)
        results = measure(Classifier(bundle, threads=CPUS), sentences, given.rounds, terminal)
    outcomes = {"Articles": table_of(results)}
    show(console, outcomes)
    about = {"bundle": bundle.manifest.version, "rounds": given.rounds, "articles of a round": ARTICLES}
    write_report(layout.var / "bench" / "articles.json", "Articles", about, outcomes)


if __name__ == "__main__":
    run(main)
