"""Open loop: response time at shares of our capacity, with requests sent at a fixed rate."""

from functools import partial

from benchmarks.api.bench import CALLERS, Bench, readiness_checks
from benchmarks.api.distilbert import distilbert_bundle
from benchmarks.api.load import Load
from benchmarks.api.servers import Server
from benchmarks.api.systems import OURS, TITLES, groundswell
from benchmarks.harness.figures import Goal, spread
from benchmarks.harness.report import Outcome
from serving.classifier import Classifier

SHARES = (0.25, 0.5, 0.8, 0.95)
STEADY_RATE, STEADY_P95_MS = 40.0, 30.0
DISTILBERT = "a model of DistilBERT's size"


def measure(bench: Bench) -> Outcome:
    """Measure each server at the same rates, without those above its own capacity."""
    servers = bench.all_servers()
    capacity: dict[str, float] = {}
    for name, server in servers.items():
        bench.progress(f"capacity of {TITLES[name]}", None)
        requests = bench.requests(bench.seconds)
        capacity[name] = bench.loader.capacity(server, requests, callers=CALLERS, seconds=bench.seconds).per_s
    distilbert = distilbert_bundle(bench.folder / "distilbert", bench.bundle)
    steady = bench.start(
        groundswell(distilbert, bench.home("distilbert"), "groundswell-distilbert"),
        readiness_checks(Classifier(distilbert), bench.texts),
    )

    def load(server: Server, rate: float, _: int) -> Load:
        return bench.loader.open(server, [[text] for text in bench.texts.take(round(rate * bench.seconds))], rate=rate)

    rates = {share: share * capacity[OURS] for share in SHARES}
    taken = [(name, share) for share in SHARES for name in servers if name == OURS or rates[share] <= capacity[name]]
    sides = {f"{TITLES[name]} at {share:.0%}": partial(load, servers[name], rates[share]) for name, share in taken}
    found = bench.in_turns({**sides, DISTILBERT: partial(load, steady, STEADY_RATE)})
    rows, curves = [], {}
    for name, share in taken:
        loads = found[f"{TITLES[name]} at {share:.0%}"]
        rows.append([TITLES[name], f"{share:.0%}", f"{rates[share]:,.0f}", *_times(loads)])
        curves.setdefault(TITLES[name], []).append((share, spread([load.ms["99"] for load in loads])[0]))
    rows.append([f"Groundswell, {DISTILBERT}", "", f"{STEADY_RATE:g}", *_times(found[DISTILBERT])])
    goal = Goal(
        f"p95 at {STEADY_RATE:g} requests/s, {DISTILBERT}",
        [load.ms["95"] for load in found[DISTILBERT]],
        STEADY_P95_MS,
        "≤",
        " ms",
    )
    columns = [
        "server",
        "of our capacity",
        "requests/s",
        "p50 ms",
        "p99 ms",
        "refused",
        "failed",
        "CPU ms/request",
        "sent late, ms",
    ]
    raw = {"capacity": capacity, "loads": {side: [one.to_dict() for one in loads] for side, loads in found.items()}}
    return Outcome(columns, rows, [goal], _notes(servers, capacity, rates), raw, curves)


def _times(loads: list[Load]) -> list[str]:
    middle = [f"{spread([load.ms[which] for load in loads])[0]:,.1f}" for which in ("50", "99")]
    refused, failed = sum(load.refused for load in loads), sum(load.failed for load in loads)
    cpu, late = spread([load.cpu_ms for load in loads])[0], spread([load.late_ms for load in loads])[0]
    return [*middle, str(refused), str(failed), f"{cpu:.2f}", f"{late:.1f}"]


def _notes(servers: dict[str, Server], capacity: dict[str, float], rates: dict[float, float]) -> list[str]:
    notes = [
        "Capacity is what the same generator gets in a closed loop of 64 callers: "
        + ", ".join(f"{TITLES[name]} {per_s:,.0f}/s" for name, per_s in capacity.items())
        + "."
    ]
    for name in servers:
        above = [f"{share:.0%}" for share, rate in rates.items() if rate > capacity[name]]
        if above and name != OURS:
            notes.append(f"{TITLES[name]} is not measured at {', '.join(above)} of our capacity, which is more than its own.")
    notes.append(
        "A request's time runs from its due time. The model of DistilBERT's size has random weights, which cost as much."
    )
    return notes
