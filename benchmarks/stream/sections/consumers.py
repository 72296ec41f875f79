"""1, 2, 4 and 8 consumers: messages per CPU second, compared with one consumer."""

from benchmarks.harness.figures import Goal, figure, ratios, spread
from benchmarks.harness.report import Outcome
from benchmarks.stream.bench import Bench
from benchmarks.stream.sections.sustained import notes

COUNTS = (1, 2, 4, 8)


def measure(bench: Bench) -> Outcome:
    """Measure 1, 2, 4 and 8 worker processes of one thread each, in turns."""
    topic = bench.fill(bench.enough(bench.bulk_rate(1.0)))
    counts = COUNTS[:2] if bench.quick else COUNTS
    found = bench.in_turns({str(count): lambda _, count=count: bench.sustained(bench.ours(count, 1), topic) for count in counts})
    per_cpu_s = {name: [one.messages / one.cpu_s["workers"] for one in steady] for name, steady in found.items()}
    rows, goals = [], []
    for name, steady in found.items():
        efficiency = ratios(per_cpu_s[name], per_cpu_s["1"])
        faster = ratios([one.per_s for one in steady], [one.per_s for one in found["1"]])
        rows.append(
            [
                name,
                figure([one.per_s for one in steady]),
                figure(faster),
                f"{spread(per_cpu_s[name])[0]:,.0f}",
                figure(efficiency),
            ]
        )
        if name != "1":
            goals.append(Goal(f"efficiency of {name} consumers", efficiency))
    columns = ["consumers", "messages/s", "times 1", "messages per CPU s of the workers", "efficiency (1 consumer is 1)"]
    return Outcome(
        columns, rows, goals, notes(found), {name: [one.to_dict() for one in steady] for name, steady in found.items()}
    )
