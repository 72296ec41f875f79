"""The pipeline without a model: throughput with a stub that costs nothing, and the CPU time of a message by stage."""

import math

from benchmarks.harness.figures import Goal, figure, spread
from benchmarks.harness.report import Outcome
from benchmarks.stream.bench import Bench
from benchmarks.stream.metrics import STAGES
from benchmarks.stream.sections.sustained import notes, rate

PER_S = 25_000
MOST_PER_S, MOST_PER_S_QUICK, TEXTS = 60_000, 30_000, 50_000
"""The topic is filled for at most this rate, which no side reaches, from `TEXTS` different texts."""
WINDOW_S = 8.0


def measure(bench: Bench) -> Outcome:
    """Compare processes with threads, with the stub model."""
    seconds = min(bench.seconds, WINDOW_S)
    most = MOST_PER_S_QUICK if bench.quick else MOST_PER_S
    topic = bench.fill(round(most * (seconds + bench.warm_s + 2)), texts=TEXTS)
    sides = [bench.ours(2, 1, stub=True), bench.ours(1, 2, stub=True), bench.sharing(2, stub=True)]
    found = bench.in_turns({side.title: lambda _, side=side: bench.sustained(side, topic, seconds) for side in sides})
    rows = []
    for side in sides:
        steady = found[side.title]
        cpu = [_us([one.cpu_us(who) for one in steady]) for who in ("workers", "warehouse", "broker")]
        stages = [_us([one.stage_us[stage] for one in steady if stage in one.stage_us]) for stage in STAGES]
        rows.append([side.title, figure([one.per_s for one in steady]), *cpu, *stages])
    best = max(sides, key=lambda side: rate(found[side.title]))
    goal = Goal(f"messages/s of the pipeline, {best.title}", [one.per_s for one in found[best.title]], PER_S, unit="/s")
    all_notes = [
        "Broker, warehouse and workers share the two CPUs. CPU in µs per message. The workers measure the stages themselves; "
        "the rest of their total is the Kafka client's own threads and the interpreter.",
        *notes(found),
    ]
    columns = ["", "messages/s", "CPU µs: workers", "warehouse", "broker", *STAGES]
    return Outcome(
        columns, rows, [goal], all_notes, {title: [one.to_dict() for one in steady] for title, steady in found.items()}
    )


def _us(values: list[float]) -> str:
    median = spread(values)[0]
    return "" if math.isnan(median) else f"{median:.1f}"
