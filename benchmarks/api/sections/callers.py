"""1 to 256 callers with one tweet each: our service, and FastAPI with the same model called directly."""

from functools import partial

from benchmarks.api.bench import Bench
from benchmarks.api.load import Load
from benchmarks.api.servers import Server
from benchmarks.api.systems import DIRECT, OURS, TITLES
from benchmarks.harness.figures import Goal, ratios, spread
from benchmarks.harness.report import Outcome

GOALS = {1: 1.0, 4: 1.0, 16: 1.15, 64: 1.25, 256: 1.25}
"""Requests per second, times the peer, by number of callers."""


def measure(bench: Bench) -> Outcome:
    """Measure requests per second and CPU per request of each server, with every number of callers."""
    servers = bench.all_servers(DIRECT)

    def load(server: Server, callers: int, texts: list[list[list[str]]], index: int) -> Load:
        return bench.loader.closed(server, texts[index], callers=callers, seconds=bench.seconds)

    sides = {}
    for callers in GOALS:
        # All servers get the same texts in a round, and new texts in the next round.
        texts = [bench.requests(bench.seconds) for _ in range(bench.rounds)]
        sides |= {f"{TITLES[name]}, {callers}": partial(load, server, callers, texts) for name, server in servers.items()}
    found = bench.in_turns(sides)
    goals = [
        Goal(f"requests/s, times {TITLES[name]}, {callers} callers", ratios(*_per_s(found, name, callers)), goal, unit="×")
        for name in DIRECT
        if name in servers
        for callers, goal in GOALS.items()
    ]
    columns = ["server", "callers", "requests/s", "p50 ms", "p99 ms", "CPU ms/request", "refused, failed"]
    rows = [_row(name, callers, found[f"{TITLES[name]}, {callers}"]) for callers in GOALS for name in servers]
    notes = ["One process per CPU for FastAPI, each with one thread for the model and no batching."]
    return Outcome(columns, rows, goals, notes, raw={side: [one.to_dict() for one in loads] for side, loads in found.items()})


def _per_s(found: dict[str, list[Load]], name: str, callers: int) -> tuple[list[float], list[float]]:
    ours, theirs = (found[f"{TITLES[one]}, {callers}"] for one in (OURS, name))
    return [one.per_s for one in ours], [one.per_s for one in theirs]


def _row(name: str, callers: int, loads: list[Load]) -> list[str]:
    median, low, high = spread([load.per_s for load in loads])
    times = [f"{spread([load.ms[which] for load in loads])[0]:,.1f}" for which in ("50", "99")]
    lost = f"{sum(load.refused for load in loads)}, {sum(load.failed for load in loads)}"
    cpu = spread([load.cpu_ms for load in loads])[0]
    return [TITLES[name], f"{callers}", f"{median:,.0f} [{low:,.0f}, {high:,.0f}]", *times, f"{cpu:.2f}", lost]
