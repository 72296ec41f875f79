"""More requests than the service can classify, from callers that ignore `Retry-After`: what refusals cost the others."""

from dataclasses import replace

from benchmarks.api.bench import CALLERS, Bench
from benchmarks.api.load import Load
from benchmarks.api.systems import groundswell
from benchmarks.harness.figures import Goal, figure, ratios, spread
from benchmarks.harness.report import Outcome

TIMES, DEADLINE_MS, SECONDS = 3, 2_000, 8
"""Requests per second as a multiple of the capacity; the service's deadline; and at least this long, several deadlines."""
LEAST, MOST = 0.95, 1.0


def measure(bench: Bench) -> Outcome:
    """Measure the capacity, and then three times as many requests, in turns."""
    spec = groundswell(bench.bundle, bench.home("overload"), "groundswell-overload")
    server = bench.start(replace(spec, environment={**spec.environment, "GROUNDSWELL_SERVING__DEADLINE_MS": str(DEADLINE_MS)}))
    seconds = max(bench.seconds, SECONDS)

    def at_capacity(_: int) -> Load:
        return bench.loader.capacity(server, bench.requests(seconds), callers=CALLERS, seconds=seconds)

    capacity = at_capacity(0).per_s

    def overloaded(_: int) -> Load:
        texts = bench.texts.take(round(TIMES * capacity * seconds))
        return bench.loader.open(server, [[text] for text in texts], rate=TIMES * capacity)

    found = bench.in_turns({"capacity": at_capacity, f"{TIMES} times as many": overloaded})
    usual, over = found.values()
    late = [one.ms["99"] / DEADLINE_MS for one in over]
    goals = [
        Goal(
            "completed/s, times the capacity", ratios([one.per_s for one in over], [one.per_s for one in usual]), LEAST, unit="×"
        ),
        Goal("p99 of those completed, times the deadline", late, MOST, "≤"),
    ]
    rows = [
        [
            side,
            figure([one.per_s for one in loads]),
            figure([one.ms["99"] for one in loads]),
            f"{spread([one.cpu_ms for one in loads])[0]:.2f}",
            f"{sum(one.refused for one in loads):,}",
            str(sum(one.failed for one in loads)),
        ]
        for side, loads in found.items()
    ]
    columns = ["requests", "completed/s", "p99 ms", "CPU ms/completed request", "refused", "failed"]
    raw = {"capacity": capacity, "loads": {side: [one.to_dict() for one in loads] for side, loads in found.items()}}
    notes = [f"A deadline of {DEADLINE_MS:,} ms. The load generator shares the CPUs with the service."]
    return Outcome(columns, rows, goals, notes, raw)
