"""Single requests at a fixed rate, alone and while a job of 10,000 texts is classified: what the job does to their times."""

from functools import partial

import httpx

from benchmarks.api.bench import CALLERS, Bench
from benchmarks.api.load import Load
from benchmarks.harness.figures import Goal, figure, ratios, spread
from benchmarks.harness.report import Outcome

SHARES, TEXTS, MOST = (0.25, 0.5), 10_000, 1.2


def measure(bench: Bench) -> Outcome:
    """Measure the same rates with and without a job, in turns; the job is canceled after each measurement."""
    server = bench.ours()
    capacity = bench.loader.capacity(server, bench.requests(bench.seconds), callers=CALLERS, seconds=bench.seconds).per_s

    def alone(rate: float, _: int) -> Load:
        return bench.loader.open(server, [[text] for text in bench.texts.take(round(rate * bench.seconds))], rate=rate)

    def with_job(rate: float, index: int) -> Load:
        api = server.url.removesuffix("/v1/classify")
        with server.resumed():
            job = httpx.post(f"{api}/v1/jobs", json={"texts": bench.texts.take(TEXTS)}, timeout=60).raise_for_status().json()
        try:
            return alone(rate, index)
        finally:
            with server.resumed():
                httpx.delete(f"{api}/v1/jobs/{job['id']}", timeout=60).raise_for_status()

    kinds = {"alone": alone, "with a job": with_job}
    sides = {f"{share:.0%}, {name}": partial(run, share * capacity) for share in SHARES for name, run in kinds.items()}
    found = bench.in_turns(sides)
    rows, goals = [], []
    for share in SHARES:
        before, with_it = ([one.ms["99"] for one in found[f"{share:.0%}, {name}"]] for name in kinds)
        goals.append(Goal(f"p99 at {share:.0%} of the capacity with a job, times that alone", ratios(with_it, before), MOST, "≤"))
    for side, loads in found.items():
        p50, p99 = ([one.ms[which] for one in loads] for which in ("50", "99"))
        lost = sum(one.refused + one.failed for one in loads)
        rows.append([side, figure(p50), figure(p99), f"{spread([one.cpu_ms for one in loads])[0]:.2f}", str(lost)])
    notes = [f"Capacity {capacity:,.0f} requests/s."]
    raw = {"capacity": capacity, "loads": {side: [one.to_dict() for one in ls] for side, ls in found.items()}}
    return Outcome(["requests", "p50 ms", "p99 ms", "CPU ms/request", "not completed"], rows, goals, notes, raw)
