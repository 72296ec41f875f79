"""Cost of a text that was classified before, and whether its prediction is still right."""

from collections.abc import Callable, Sequence
from typing import Any

import httpx

from benchmarks.api.bench import Bench
from benchmarks.api.load import Load
from benchmarks.harness.figures import Goal, spread
from benchmarks.harness.report import Outcome
from benchmarks.harness.texts import repeating_trace
from serving.classifier import Classifier

PLACES, SHARE, SEED = 3000, 0.3, 7
CALLERS = 16
MODEL_CPU = "groundswell_classify_cpu_seconds_total"
DIFFERENT, REPEATING = "all texts different", f"{SHARE:.0%} of the texts repeat"


def measure(bench: Bench) -> Outcome:
    """Measure the CPU time saved, as a fraction of the share of repeats; compare every label with the classifier's."""
    server, classifier = bench.ours(), Classifier(bench.bundle)
    trace = repeating_trace(PLACES, SHARE, SEED)
    bases = [bench.texts.take(PLACES) for _ in range(bench.rounds)]
    wrong: list[int] = []

    def run(texts: Sequence[str]) -> tuple[Load, float]:
        with server.resumed():
            before = model_cpu_s(server.url)
        load = bench.loader.all_of(server, [[text] for text in texts], callers=CALLERS)
        with server.resumed():
            model = model_cpu_s(server.url) - before
        wrong.append(wrong_labels(classifier, texts, [_label(server.spec.labels, response) for response in load.responses]))
        return load, model

    def different(index: int) -> tuple[Load, float]:
        # Where the other trace repeats a text, take the same tweet with another counter: a new text of the same length.
        base = bench.texts.twins(bases[index])
        again = iter(bench.texts.twins([base[first] for place, first in enumerate(trace) if first != place]))
        return run([base[place] if first == place else next(again) for place, first in enumerate(trace)])

    def repeating(index: int) -> tuple[Load, float]:
        base = bench.texts.twins(bases[index])
        return run([base[first] for first in trace])

    found = bench.in_turns({DIFFERENT: different, REPEATING: repeating})
    pairs = list(zip(found[DIFFERENT], found[REPEATING], strict=True))
    saved = [(1 - b.cpu_s / a.cpu_s) / SHARE for (a, _), (b, _) in pairs]
    saved_by_model = [(1 - b / a) / SHARE for (_, a), (_, b) in pairs]
    goals = [
        Goal(f"CPU saved, of the ideal {SHARE:.0%}", saved, 0.9),
        Goal("wrong labels", [float(one) for one in wrong], 0, "≤"),
    ]
    rows = []
    for side, loads in found.items():
        cpu, model = spread([load.cpu_ms for load, _ in loads])[0], spread([1e3 * s / load.completed for load, s in loads])[0]
        lost = sum(load.refused + load.failed for load, _ in loads)
        rows.append([side, f"{spread([load.per_s for load, _ in loads])[0]:,.0f}", f"{cpu:.2f}", f"{model:.2f}", str(lost)])
    median, low, high = spread(saved_by_model)
    notes = [
        f"{PLACES:,} requests of one text, {CALLERS} callers. HTTP handling costs the same for a repeat; of the model's own time"
        f" {median:.2f} [{low:.2f}, {high:.2f}] of the ideal is saved."
    ]
    columns = ["trace", "requests/s", "CPU ms/request", "of it in the model", "not completed"]
    raw = {
        "saved": saved,
        "saved_in_the_model": saved_by_model,
        "wrong": wrong,
        "loads": {side: [load.to_dict() | {"model_cpu_s": model} for load, model in loads] for side, loads in found.items()},
    }
    return Outcome(columns, rows, goals, notes, raw)


def model_cpu_s(url: str) -> float:
    """Return the CPU time that the service has spent in the model, by its own metric."""
    metrics = httpx.get(url.replace("/v1/classify", "/metrics"), timeout=30).text
    values = [float(line.rpartition(" ")[2]) for line in metrics.splitlines() if line.startswith(MODEL_CPU)]
    return sum(values)


def wrong_labels(classifier: Classifier, texts: Sequence[str], labels: Sequence[str | None]) -> int:
    """Count the labels that differ from the classifier's; requests without a response (None) do not count."""
    unique = list(dict.fromkeys(texts))
    right = {text: prediction.label for text, prediction in zip(unique, classifier.classify(unique), strict=True)}
    return sum(label is not None and label != right[text] for text, label in zip(texts, labels, strict=True))


def _label(labels: Callable[[Any], list[str]], response: Any) -> str | None:
    return labels(response)[0] if response is not None else None
