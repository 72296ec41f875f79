"""`make bench-engines`: every export variant on both engines, one thread: CPU time, changed labels, dependence on the batch.

Every round classifies other texts, since an engine may prepare itself for each new shape of its input. The texts of a round are
cut into runs as the classifier cuts them, and the engines take turns. Tokenization is not timed.
"""

import argparse
import itertools
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from benchmarks.harness.arguments import run
from benchmarks.harness.report import Outcome, show, write_report
from benchmarks.harness.rounds import in_turns
from data.cleaning import clean
from data.errors import GroundswellError, SettingsError
from data.labels import LABELS
from data.tokenization import encode, load_tokenizer, pad_id
from evaluation.parity import BatchInvariance, batch_invariance
from orchestration.layout import Layout
from orchestration.progress import TerminalProgress, terminal_console
from orchestration.steps.data import primary_texts
from orchestration.steps.export import FP32, read_export_report
from serving.bundle import MODEL, TOKENIZER, read_bundle
from serving.classifier import Classifier
from serving.engines.engine import DEFAULT_ENGINE, ENGINES, Engine, describe_cpu, open_engine
from serving.engines.parity import ParitySet, run_all

ROUNDS, TEXTS = 6, 512
"""Rounds, and texts of one round: a micro-batch of the stream."""


@dataclass(frozen=True)
class Measured:
    """A variant of the export on an engine."""

    variant: str
    engine: str
    version: str
    load_s: float
    """Wall time of loading, in seconds."""
    cpu_us: tuple[float, ...]
    """CPU microseconds per text, by round."""
    flips_per_10000: float
    """Labels that differ from the float32 model on ONNX Runtime."""
    max_gap: float
    """Largest difference of a logit from it."""
    batch: BatchInvariance


def measure(
    variants: Mapping[str, Path], texts: Sequence[str], rounds: int, progress: Callable[[str, float | None], None]
) -> list[Measured]:
    """Measure every variant on every engine that is installed.

    Args:
        variants: Folders of bundles by name; `onnx_fp32`, the first, is the reference.
        texts: At least `rounds` texts, divided over the rounds.
        rounds: Rounds of the measurement.
        progress: Shows the round.
    """
    bundle = read_bundle(variants[FP32])
    tokenizer = load_tokenizer(bundle.directory / TOKENIZER, max_length=bundle.manifest.max_length)
    rows = encode(tokenizer, [clean(text) for text in texts])
    parts = [_unchecked(rows[number::rounds], pad_id(tokenizer)) for number in range(rounds)]
    engines: dict[tuple[str, str], Engine] = {}
    load_s: dict[tuple[str, str], float] = {}
    for variant, name in itertools.product(variants, ENGINES):
        started = time.perf_counter()
        try:
            engines[variant, name] = open_engine(name, variants[variant] / MODEL, 1)
        except SettingsError as error:
            progress(error.message, None)
            continue
        load_s[variant, name] = time.perf_counter() - started

    def timed(engine: Engine) -> Callable[[int], tuple[float, np.ndarray]]:
        def once(number: int) -> tuple[float, np.ndarray]:
            started = time.process_time()
            logits = run_all(engine, parts[number])
            return (time.process_time() - started) / len(logits) * 1e6, logits

        return once

    for engine in engines.values():
        run_all(engine, _unchecked(rows[:8], pad_id(tokenizer)))  # the first run allocates memory
    found = in_turns({" on ".join(key): timed(engine) for key, engine in engines.items()}, rounds, progress)
    logits = {key: np.concatenate([logits for _, logits in found[" on ".join(key)]]) for key in engines}
    reference = logits[FP32, DEFAULT_ENGINE]
    results = []
    for (variant, name), engine in engines.items():
        progress(f"{variant} on {name}: alone and in batches", None)
        own = logits[variant, name]
        results.append(
            Measured(
                variant,
                name,
                engine.version,
                round(load_s[variant, name], 2),
                tuple(round(cpu_us, 1) for cpu_us, _ in found[f"{variant} on {name}"]),
                round(1e4 * float((own.argmax(axis=1) != reference.argmax(axis=1)).mean()), 1),
                round(float(np.abs(own - reference).max()), 4),
                _batch(variants[variant], engine, texts),
            )
        )
    return results


def _unchecked(rows: list[list[int]], fill: int) -> ParitySet:
    """Return texts without known logits."""
    return ParitySet(rows, np.zeros((len(rows), len(LABELS)), np.float32), fill, 0, 0.0)


def _batch(folder: Path, engine: Engine, texts: Sequence[str]) -> BatchInvariance:
    classifier = Classifier(read_bundle(folder), threads=1, engine=engine, token_budget=10**9)  # one run for one call
    return batch_invariance(classifier.predict_proba, texts, most=200)


def table_of(results: Sequence[Measured]) -> Outcome:
    """Return the table of a measurement, the cheapest first."""
    base = next(one for one in results if (one.variant, one.engine) == (FP32, DEFAULT_ENGINE))
    outcome = Outcome(["variant", "engine", "CPU µs", "× float32", "flips per 10,000", "by batch", "max Δ logit", "load s"], [])
    for one in sorted(results, key=lambda one: statistics.median(one.cpu_us)):
        ratios = [theirs / ours for theirs, ours in zip(base.cpu_us, one.cpu_us, strict=True)]
        outcome.rows.append(
            [
                one.variant,
                f"{one.engine} {one.version}",
                f"{statistics.median(one.cpu_us):,.0f} [{min(one.cpu_us):,.0f}, {max(one.cpu_us):,.0f}]",
                f"{statistics.median(ratios):.2f} [{min(ratios):.2f}, {max(ratios):.2f}]",
                f"{one.flips_per_10000:g}",
                f"{100 * one.batch.flips:.1f} %",
                f"{one.max_gap:g}",
                f"{one.load_s:g}",
            ]
        )
    outcome.raw = [asdict(one) for one in results]
    return outcome


def main() -> None:
    """Measure the last export, print the table and write `engines.json`."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.engines", description="Export variants on both engines.")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"rounds (default {ROUNDS})")
    parser.add_argument("--texts", type=int, default=TEXTS, help=f"texts of a round (default {TEXTS})")
    given = parser.parse_args()
    layout, console = Layout.load(), terminal_console()
    if not layout.export_report.is_file():
        raise GroundswellError("No exported model to measure.", remedy="Run make demo or make train, then make bench-engines.")
    names = [row.name for row in read_export_report(layout).rows if (layout.export / row.name).is_dir()]
    texts = primary_texts(layout, "test")["text"].tolist()[: given.rounds * given.texts]
    with TerminalProgress(console) as terminal:
        terminal.begin("Engines")
        results = measure({name: layout.export / name for name in names}, texts, given.rounds, terminal)
    outcomes = {"Engines": table_of(results)}
    show(console, outcomes)
    write_report(layout.var / "bench" / "engines.json", "Engines", {"texts": len(texts), **describe_cpu()}, outcomes)


if __name__ == "__main__":
    run(main)
