"""Messages per second to the warehouse with the real model, compared with a naive worker and bulk classify."""

from functools import partial

from benchmarks.harness.figures import Goal, figure, ratios, spread
from benchmarks.harness.report import Outcome
from benchmarks.stream.bench import Bench, Steady

TIMES_NAIVE, OF_BULK = 5.0, 0.85
BULK = "bulk classify, no stream"
COLUMNS = ["", "messages/s", "CPU µs/message: workers", "warehouse", "broker", "waiting at the end"]


def measure(bench: Bench) -> Outcome:
    """Measure every side on the same full topic, in turns."""
    topic = bench.fill(bench.enough(bench.bulk_rate(2.0)))
    ours = {(2, 1): bench.ours(2, 1), (1, 2): bench.ours(1, 2)}
    shared = bench.sharing(2)
    naive = [bench.naive(1, 2), bench.naive(2, 1)]
    sides = [*ours.values(), shared, *naive]
    found = bench.in_turns(
        {
            BULK: lambda _: bench.bulk(bench.seconds),
            **{side.title: lambda _, side=side: bench.sustained(side, topic) for side in sides},
        }
    )
    layout = max(ours, key=lambda key: rate(found[ours[key].title]))
    bench.layout, bench.capacity = layout, rate(found[ours[layout].title])
    best = partial(max, key=lambda side: rate(found[side.title]))
    fastest, fastest_naive = best([*ours.values(), shared]), best(naive)

    def per_s(title: str) -> list[float]:
        return [one.per_s for one in found[title]]

    goals = [
        Goal(f"{fastest.title} / {fastest_naive.title}", ratios(per_s(fastest.title), per_s(fastest_naive.title)), TIMES_NAIVE),
        Goal(f"{fastest.title} / {BULK}", ratios(per_s(fastest.title), per_s(BULK)), OF_BULK),
    ]
    return Outcome(
        COLUMNS,
        [row(title, steady) for title, steady in found.items()],
        goals,
        notes(found),
        {title: [one.to_dict() for one in steady] for title, steady in found.items()},
    )


def rate(steady: list[Steady]) -> float:
    """Return the median of the rounds."""
    return spread([one.per_s for one in steady])[0]


def row(title: str, steady: list[Steady]) -> list[str]:
    """Return a row of the table."""
    cpu = [f"{spread([one.cpu_us(who) for one in steady])[0]:,.1f}" for who in ("workers", "warehouse", "broker")]
    return [title, figure([one.per_s for one in steady]), *cpu, f"{min(one.left for one in steady):,}"]


def notes(found: dict[str, list[Steady]]) -> list[str]:
    """Return the notes below the table."""
    short = sorted(title for title, steady in found.items() if title != BULK and min(one.left for one in steady) <= 0)
    lines = ["Rates are computed from committed offsets, from the first to the last commit of a window with a constant backlog."]
    return [*lines, f"No backlog at the end of a window: {', '.join(short)}."] if short else lines
