"""Messages of which 30 % repeat an earlier text: what the worker's cache saves, and what it costs without repeats."""

from collections.abc import Mapping
from dataclasses import replace

from benchmarks.harness.figures import Goal, figure, ratios
from benchmarks.harness.processes import Program
from benchmarks.harness.report import Outcome
from benchmarks.stream.bench import CACHE, Bench, Side
from benchmarks.stream.sections.sustained import notes

SHARE, TEXTS = 0.3, 20_000


def measure(bench: Bench) -> Outcome:
    """Measure workers with and without the cache on both kinds of messages, in turns."""
    plain = bench.ours(*bench.layout)
    remembering = replace(plain, start=lambda settings: _start(plain, settings))
    count = bench.enough(bench.bulk_rate(1.0))
    topics = {"all texts different": bench.fill(count), f"{SHARE:.0%} repeat": bench.fill(count, repeats=SHARE)}
    sides = {
        f"{name}, {'cache' if side is remembering else 'no cache'}": (side, topic)
        for name, topic in topics.items()
        for side in (plain, remembering)
    }
    found = bench.in_turns({name: lambda _, pair=pair: bench.sustained(*pair) for name, pair in sides.items()})
    cost = {name: [one.cpu_us("workers") for one in steady] for name, steady in found.items()}
    new_off, new_on, again_off, again_on = cost.values()
    saved = [(1 - ratio) / SHARE for ratio in ratios(again_on, again_off)]
    goals = [
        Goal(f"CPU of the workers saved, of the ideal {SHARE:.0%}", saved, 0.9),
        Goal("CPU with a cache, without repeats, times that without", ratios(new_on, new_off), 1.02, "≤"),
    ]
    rows = [
        [name, figure([one.per_s for one in steady]), figure(cost[name]), f"{steady[0].cpu_us('warehouse'):,.0f}"]
        for name, steady in found.items()
    ]
    columns = ["messages", "messages/s", "CPU µs per message: workers", "warehouse"]
    raw = {name: [one.to_dict() for one in steady] for name, steady in found.items()}
    return Outcome(columns, rows, goals, notes(found), raw)


def _start(plain: Side, settings: Mapping[str, str]) -> list[Program]:
    return plain.start({**settings, CACHE: str(TEXTS)})
