"""Where the CPU time of a request goes: the event loop's thread by stage, at 1 and 64 callers, and the floors under it.

The thread's CPU time per request is measured without a profiler; the profile of a second run divides it into stages.
"""

import os
import pstats
import signal
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
from tenacity import Retrying, retry_if_result, stop_after_delay, wait_fixed

from benchmarks.api.bench import CALLERS, Bench
from benchmarks.api.servers import Server
from benchmarks.api.systems import echo, groundswell
from benchmarks.harness.figures import Goal, figure, spread
from benchmarks.harness.report import Outcome
from serving.classifier import Classifier

AT, GOAL_MS = (1, CALLERS), 0.35
STAGES = (
    ("HTTP: uvicorn, httptools, limits", ("/uvicorn/", "/httptools/", "middleware/edge.py")),
    ("event loop: asyncio", ("/asyncio/", "/uvloop/", "contextlib.py", "/threading.py", "/concurrent/", "selectors.py")),
    ("log", ("/structlog/", "service/logs.py", "/logging/")),
    ("metrics", ("/prometheus_client/", "service/metrics.py")),
    ("id, time limit, security headers", ("middleware/observing.py", "/secrets.py")),
    ("hosts, keys, rate limit", ("middleware/", "/limits/", "ipaddress.py", "service/readiness.py")),
    (
        "routing, request and response objects",
        ("/starlette/", "/fastapi/", "/bentoml/", "/_bentoml", "service/app.py", "/anyio/"),
    ),
    ("cache", ("service/cache/", "data/fingerprint.py", "prediction_keys.py", "/cachetools/")),
    ("batcher", ("service/batching.py",)),
    ("JSON out", ("/json/encoder.py", "/json/__init__.py", "service/inference.py")),
    ("parse, validate, clean", ("serving/service/", "/pydantic/", "/data/", "/json/", "/re/", "/serving/")),
)
"""Parts of the path of a file, by stage; the first that fits counts."""
REST = "other"


def measure(bench: Bench) -> Outcome:
    """Measure our service with 1 and with 64 callers, an echo server with the same, and the classifier alone."""
    profile, profiled = bench.home("profile"), Path(__file__).parent.parent / "profiled"
    spec = groundswell(bench.bundle, bench.home("functions"), "groundswell-functions")
    server = bench.start(replace(spec, environment=spec.environment | {"PYTHONPATH": str(profiled), "PROFILE_TO": str(profile)}))
    floor = bench.start(echo(), [("any text", "neutral")])
    worker = _worker(server)

    def loop_ms(callers: int) -> float:
        before = _main_thread_s(worker)
        load = bench.loader.closed(server, bench.requests(bench.seconds), callers=callers, seconds=bench.seconds)
        return 1e3 * (_main_thread_s(worker) - before) / load.completed

    def stages(callers: int) -> dict[str, float]:
        profile.unlink(missing_ok=True)
        with server.resumed():
            worker.send_signal(signal.SIGUSR1)
        bench.loader.closed(server, bench.requests(bench.seconds), callers=callers, seconds=bench.seconds)
        with server.resumed():
            worker.send_signal(signal.SIGUSR2)
            Retrying(retry=retry_if_result(lambda written: not written), stop=stop_after_delay(30), wait=wait_fixed(0.05))(
                profile.is_file
            )
        return shares(profile)

    def echo_ms(callers: int) -> float:
        return bench.loader.closed(floor, bench.requests(bench.seconds), callers=callers, seconds=bench.seconds).cpu_ms

    kinds: dict[str, Callable[[int], Any]] = {"loop": loop_ms, "stages": stages, "echo": echo_ms}
    found = bench.in_turns(
        {f"{name} {callers}": lambda _, run=run, callers=callers: run(callers) for callers in AT for name, run in kinds.items()}
    )
    columns = ["CPU ms per request", *(f"{callers} callers" for callers in AT)]
    columns[1] = "1 caller"
    middle = {callers: spread(found[f"loop {callers}"])[0] for callers in AT}
    names = [*(name for name, _ in STAGES), REST]
    rows = [
        [name, *(f"{middle[callers] * spread([one[name] for one in found[f'stages {callers}']])[0]:.3f}" for callers in AT)]
        for name in names
    ]
    rows.append(["event loop's thread, all", *(figure(found[f"loop {callers}"]) for callers in AT)])
    rows.append(["floor: an echo server on uvicorn", *(figure(found[f"echo {callers}"]) for callers in AT)])
    single, batched = _model_ms(bench)
    rows.append(["model and tokenizer: the classifier, alone and 32 at once", figure([single]), figure([batched])])
    goal = Goal(f"CPU of a request outside the model, {CALLERS} callers", found[f"loop {CALLERS}"], GOAL_MS, "≤", " ms")
    notes = ["Stages are shares of a profile, which slows small functions more than large ones."]
    return Outcome(columns, rows, [goal], notes, raw=found)


def shares(file: Path) -> dict[str, float]:
    """Return the share of each stage in a profile; the time of built-in functions counts for their callers."""
    total: dict[str, float] = defaultdict(float)
    stats: dict[Any, Any] = pstats.Stats(str(file)).stats  # type: ignore[attr-defined]
    for (path, _, _), (_, _, own, _, callers) in stats.items():
        if path != "~":
            total[stage_of(path)] += own
            continue
        for (caller, _, _), (_, _, part, _) in callers.items():
            total[stage_of(caller)] += part
    whole = sum(total.values()) or 1.0
    return {name: total[name] / whole for name in (*(name for name, _ in STAGES), REST)}


def stage_of(path: str) -> str:
    """Return the stage to which a source file belongs."""
    return next((name for name, parts in STAGES if any(part in path for part in parts)), REST)


def _worker(server: Server) -> psutil.Process:
    """Return the process that serves: the child of BentoML's parent process that has used most CPU time."""
    return max(server.tree()[1:], key=lambda process: sum(process.cpu_times()[:2]))


def _main_thread_s(worker: psutil.Process) -> float:
    """Return the CPU time of the main thread, where the event loop runs."""
    ticks = Path(f"/proc/{worker.pid}/task/{worker.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(ticks[11]) + int(ticks[12])) / os.sysconf("SC_CLK_TCK")


def _model_ms(bench: Bench) -> tuple[float, float]:
    """Return the CPU time of a text, classified alone and with 31 others."""
    classifier, texts = Classifier(bench.bundle, threads=1), bench.texts.take(256)
    classifier.classify(texts[:32])

    def cost(size: int) -> float:
        before = time.process_time()
        for start in range(0, len(texts), size):
            classifier.classify(texts[start : start + size])
        return 1e3 * (time.process_time() - before) / len(texts)

    return cost(1), cost(32)
