"""The delay until many viewers of `WS /v1/live` receive a row, and the CPU time of the service."""

import asyncio
import json
import threading
import time

import numpy as np
import psutil

from benchmarks.dashboard.load import Load
from benchmarks.harness.figures import Goal
from benchmarks.harness.processes import tree_cpu_s
from benchmarks.harness.report import Outcome


def measure(load: Load, service: psutil.Process, viewers: int, seconds: float, rounds: int) -> Outcome:
    """Measure one viewer and many viewers in turns. The counts in a frame show which blocks it contains.

    Args:
        load: Writes the rows and records when.
        service: The process whose CPU time is measured, with its descendants.
        viewers: Number of viewers.
        seconds: Length of a measurement.
        rounds: Rounds of both measurements.
    """
    found: dict[int, list[dict[str, float]]] = {1: [], viewers: []}
    for _ in range(rounds):
        for count, rows in found.items():
            load.progress(f"{count} viewers", None)
            rows.append(_watch(load, service, count, seconds))
    lines = [
        [
            str(count),
            *(f"{np.median([row[name] for row in rows]):,.3g}" for name in ("p50_ms", "p99_ms", "cpu", "frames", "bytes")),
        ]
        for count, rows in found.items()
    ]
    goals = [
        Goal("push delay, p99, many viewers", [row["p99_ms"] for row in found[viewers]], None, "≤", " ms"),
        Goal("CPU of the service, many viewers", [100 * row["cpu"] for row in found[viewers]], None, "≤", " % of one core"),
    ]
    columns = ["viewers", "p50 ms", "p99 ms", "CPUs of the service", "frames per second and viewer", "bytes per frame"]
    note = f"{load.rate:,.0f} messages per second, {load.blocks}; delay from a written block to the viewer's frame."
    return Outcome(columns, lines, goals, [note], raw={str(count): rows for count, rows in found.items()})


def _watch(load: Load, service: psutil.Process, count: int, seconds: float) -> dict[str, float]:
    """Run the viewers in a thread of this process, whose CPU time is not counted."""
    result: dict[str, float] = {}

    def run() -> None:
        result.update(asyncio.run(_viewers(load, service, count, seconds)))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return result


async def _viewers(load: Load, service: psutil.Process, count: int, seconds: float) -> dict[str, float]:
    from websockets.asyncio.client import connect

    delays: list[float] = []
    frames = size = 0
    stop = asyncio.Event()

    async def view() -> None:
        nonlocal frames, size
        async with connect(load.live_url, max_size=None, open_timeout=60) as socket:
            await socket.recv()
            ready.release()
            last: dict[int, int] = {}
            while not stop.is_set():
                text = await socket.recv()
                now = time.monotonic()
                frames, size = frames + 1, size + len(text)
                delays.extend(load.delays(json.loads(text)["cells"], last, now))

    ready = asyncio.Semaphore(0)
    tasks = [asyncio.create_task(view()) for _ in range(count)]
    for _ in range(count):
        await ready.acquire()
    delays.clear()
    frames = size = 0
    family = [service, *service.children(recursive=True)]
    cpu, began = tree_cpu_s(family), time.monotonic()
    await asyncio.sleep(seconds)
    took, spent = time.monotonic() - began, tree_cpu_s(family) - cpu
    stop.set()
    await asyncio.gather(*tasks)
    p50, p99 = (1000 * float(np.quantile(delays, share)) for share in (0.5, 0.99))
    return {"p50_ms": p50, "p99_ms": p99, "cpu": spent / took, "frames": frames / count / took, "bytes": size / max(1, frames)}
