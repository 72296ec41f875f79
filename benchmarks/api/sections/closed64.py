"""64 callers with one tweet each; each peer with its fastest setting. Those without batches are in the section `callers`."""

from functools import partial

from benchmarks.api.bench import CALLERS, Bench
from benchmarks.api.load import Load
from benchmarks.api.servers import Server
from benchmarks.api.systems import OURS, TITLES
from benchmarks.harness.figures import Goal, ratios, spread
from benchmarks.harness.report import Outcome

GOALS = {"fastapi": 5.0, "bentoml-batchable": 1.3, "litserve": 1.0}


def measure(bench: Bench) -> Outcome:
    """Measure requests per second, response times and CPU per request."""
    servers = bench.all_servers(GOALS)
    # All servers get the same texts in a round, and new texts in the next round.
    requests = [bench.requests(bench.seconds) for _ in range(bench.rounds)]

    def load(server: Server, index: int) -> Load:
        return bench.loader.closed(server, requests[index], callers=CALLERS, seconds=bench.seconds)

    found = bench.in_turns({name: partial(load, server) for name, server in servers.items()})
    ours = [one.per_s for one in found[OURS]]
    columns = ["server", "requests/s", "p50 ms", "p95 ms", "p99 ms", "CPU ms/request", "refused, failed", "processes × threads"]
    goals = []
    for name, goal in GOALS.items():
        if name in found:
            theirs = [one.cpu_ms for one in found[name]]
            goals.append(
                Goal(f"requests/s, times {TITLES[name]}", ratios(ours, [one.per_s for one in found[name]]), goal, unit="×")
            )
            goals.append(Goal("  the same by CPU per request", ratios(theirs, [one.cpu_ms for one in found[OURS]]), unit="×"))
    notes = [
        f"{TITLES[name]}: tried {', '.join(f'{setting}: {per_s:.0f}/s' for setting, per_s in trials.items())}; kept the fastest."
        for name, trials in bench.trials.items()
        if trials
    ]
    if any(load.completed > len(requests[index]) for loads in found.values() for index, load in enumerate(loads)):
        notes.append("A server completed more requests than there were new texts: some predictions may come from the cache.")
    if any(load.refused for loads in found.values() for load in loads):
        notes.append("A server rejected requests: its times include rejected requests, and its callers sent more.")
    if not bench.loader.has_wrk:
        notes.append("wrk is not installed: our own generator sent the load, which uses more CPU than wrk.")
    return Outcome(
        columns,
        [_row(name, found[name], servers[name]) for name in found],
        goals,
        notes,
        raw={name: [load.to_dict() for load in loads] for name, loads in found.items()},
    )


def _row(name: str, loads: list[Load], server: Server) -> list[str]:
    median, low, high = spread([load.per_s for load in loads])
    times = [f"{spread([load.ms[which] for load in loads])[0]:,.0f}" for which in ("50", "95", "99")]
    cpu = spread([load.cpu_ms for load in loads])[0]
    lost = f"{sum(load.refused for load in loads)}, {sum(load.failed for load in loads)}"
    return [TITLES[name], f"{median:,.0f} [{low:,.0f}, {high:,.0f}]", *times, f"{cpu:.2f}", lost, server.spec.setting]
