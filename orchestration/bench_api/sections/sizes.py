"""What the service keeps of the classifier's speed, by the number of texts in a request."""

import time
from functools import partial

from orchestration.bench_api.bench import Bench, Outcome
from orchestration.bench_api.figures import Goal, ratios, spread
from orchestration.bench_api.servers import PROCESSORS
from serving.classifier import Classifier

SIZES = (1, 16, 256)
GOAL_AT, GOAL = 256, 0.9
CALLERS = 2
BULK = "the classifier in bulk"


def measure(bench: Bench) -> Outcome:
    """Texts a second with two callers, as a share of the classifier over texts of the same lengths in the same round."""
    server, classifier = bench.ours(), Classifier(bench.bundle, threads=PROCESSORS)
    first = bench.texts.take(1024)
    started = time.perf_counter()
    classifier.classify(first)
    per_s = len(first) / (time.perf_counter() - started)
    # A fixed number of texts, not of seconds: what is half done when the time is over would weigh at 256 texts a request.
    whole = CALLERS * max(SIZES)
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
        return load.answered * size / load.wall_s, 1e6 * load.cpu_s / (load.answered * size)

    found = bench.in_turns({BULK: bulk, **{str(size): partial(served, size) for size in SIZES}})
    shares = {side: ratios([a for a, _ in pairs], [a for a, _ in found[BULK]]) for side, pairs in found.items()}
    rows = []
    for side, pairs in found.items():
        median, low, high = spread([per_s for per_s, _ in pairs])
        share, least, most = spread(shares[side])
        cpu = spread([us for _, us in pairs])[0]
        name = side if side == BULK else f"{side} a request"
        rows.append([name, f"{median:,.0f} [{low:,.0f}, {high:,.0f}]", f"{share:.2f} [{least:.2f}, {most:.2f}]", f"{cpu:,.0f}"])
    goal = Goal(f"texts/s at {GOAL_AT} a request, of the classifier in bulk", shares[str(GOAL_AT)], GOAL)
    notes = [f"{count:,} texts a measurement, {CALLERS} callers; every caller's texts are new, of the same lengths."]
    return Outcome(["texts", "texts/s", "share of bulk", "CPU µs/text"], rows, [goal], notes, raw={"texts": count, **found})
