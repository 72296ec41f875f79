"""Speed of the service as a share of the classifier's, by the number of texts in a request."""

import time
from functools import partial

from benchmarks.api.bench import Bench
from benchmarks.harness.figures import Goal, ratios, spread
from benchmarks.harness.machine import CPUS
from benchmarks.harness.report import Outcome
from serving.classifier import Classifier

GOALS = {1: 0.75, 16: 0.95, 256: 1.0}
"""Share of the classifier in bulk, by texts per request."""
CALLERS = 2
BULK = "the classifier in bulk"


def measure(bench: Bench) -> Outcome:
    """Measure texts per second with two callers, as a share of the classifier on texts of the same lengths in the same round."""
    server, classifier = bench.ours(), Classifier(bench.bundle, threads=CPUS)
    first = bench.texts.take(1024)
    started = time.perf_counter()
    classifier.classify(first)
    per_s = len(first) / (time.perf_counter() - started)
    # A fixed number of texts instead of seconds: at 256 texts per request, an unfinished request at the end would count much.
    whole = CALLERS * max(GOALS)
    count = whole * max(2, round(bench.seconds * per_s / whole))
    texts = [bench.texts.take(count) for _ in range(bench.rounds)]

    def bulk(index: int) -> tuple[float, float]:
        started, before = time.perf_counter(), time.process_time()
        classifier.classify(texts[index])
        wall, cpu = time.perf_counter() - started, time.process_time() - before
        return count / wall, 1e6 * cpu / count

    def served(size: int, index: int) -> tuple[float, float]:
        mine = bench.texts.twins(texts[index])
        requests = [mine[start : start + size] for start in range(0, count, size)]
        load = bench.loader.all_of(server, requests, callers=CALLERS)
        return load.completed * size / load.wall_s, 1e6 * load.cpu_s / (load.completed * size)

    found = bench.in_turns({BULK: bulk, **{str(size): partial(served, size) for size in GOALS}})
    shares = {side: ratios([a for a, _ in pairs], [a for a, _ in found[BULK]]) for side, pairs in found.items()}
    rows = []
    for side, pairs in found.items():
        median, low, high = spread([per_s for per_s, _ in pairs])
        share, least, most = spread(shares[side])
        cpu = spread([us for _, us in pairs])[0]
        name = side if side == BULK else f"{side} per request"
        rows.append([name, f"{median:,.0f} [{low:,.0f}, {high:,.0f}]", f"{share:.2f} [{least:.2f}, {most:.2f}]", f"{cpu:,.0f}"])
    goals = [
        Goal(f"texts/s at {size} per request, share of the classifier in bulk", shares[str(size)], goal)
        for size, goal in GOALS.items()
    ]
    notes = [f"{count:,} texts per measurement, {CALLERS} callers; all texts are new and of the same lengths."]
    return Outcome(["texts", "texts/s", "share of bulk", "CPU µs/text"], rows, goals, notes, raw={"texts": count, **found})
