"""The page in a real browser while messages arrive: time between frames, main thread use, memory."""

import shutil
import time
from typing import Any

import numpy as np

from benchmarks.dashboard.load import Load
from benchmarks.harness.figures import Goal
from benchmarks.harness.report import Outcome
from data.errors import StreamError

WARM_S = 8
FRAME_MS, BUSY_SHARE, HEAP_GROWTH = 16.7, 30.0, 10.0
_COUNT_FRAMES = """() => { window.__frames = []; let last = performance.now();
    const next = (now) => { window.__frames.push(now - last); last = now; requestAnimationFrame(next); };
    requestAnimationFrame(next); }"""


def measure(load: Load, seconds: float, rounds: int) -> Outcome:
    """Open the live view for `seconds` in each of `rounds` rounds and measure it."""
    from playwright.sync_api import sync_playwright

    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        raise StreamError("Chromium is not installed.", remedy="Install it with make system or your package manager.")
    found: list[dict[str, float]] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        for turn in range(rounds):
            load.progress(f"the page, round {turn + 1} of {rounds}, {seconds:g} s", turn / rounds)
            found.append(_measure_once(browser, load, seconds))
        browser.close()

    def values(name: str) -> list[float]:
        return [each[name] for each in found]

    columns = [
        "round",
        "frames p50 ms",
        "p95 ms",
        "p99 ms",
        "main thread busy",
        "heap before MiB",
        "after MiB",
        "messages on the page",
    ]
    rows = [
        [
            str(turn + 1),
            f"{each['p50_ms']:.1f}",
            f"{each['p95_ms']:.1f}",
            f"{each['p99_ms']:.1f}",
            f"{each['busy']:.0f} %",
            f"{each['heap_before']:.1f}",
            f"{each['heap_after']:.1f}",
            f"{each['messages']:,.0f}",
        ]
        for turn, each in enumerate(found)
    ]
    goals = [
        Goal("time between frames, p95", values("p95_ms"), FRAME_MS, "≤", " ms"),
        Goal("main thread busy", values("busy"), BUSY_SHARE, "≤", " %"),
        Goal("heap grows by", values("grown"), HEAP_GROWTH, "≤", " %"),
    ]
    return Outcome(
        columns,
        rows,
        goals,
        [f"{load.rate:,.0f} messages per second, at most one frame per 100 ms; heap after a garbage collection."],
        raw=found,
    )


def _measure_once(browser: Any, load: Load, seconds: float) -> dict[str, float]:
    page = browser.new_page(viewport={"width": 1440, "height": 1000})
    page.goto(f"{load.url}/?span=5m")
    page.get_by_test_id("message-row").first.wait_for()
    page.wait_for_timeout(1000 * WARM_S)
    devtools = page.context.new_cdp_session(page)
    devtools.send("Performance.enable")
    heap_before = _heap(devtools)
    before, began = _metrics(devtools), time.monotonic()
    page.evaluate(_COUNT_FRAMES)
    page.wait_for_timeout(1000 * seconds)
    frames = np.array(page.evaluate("() => window.__frames"))
    took, after = time.monotonic() - began, _metrics(devtools)
    heap_after = _heap(devtools)
    messages = int("".join(filter(str.isdigit, page.get_by_test_id("messages-total").inner_text())))
    page.close()
    p50, p95, p99 = (round(float(np.quantile(frames, share)), 1) for share in (0.5, 0.95, 0.99))  # the clock's step is 0.1 ms
    busy = 100 * (after["TaskDuration"] - before["TaskDuration"]) / took
    return {
        "p50_ms": p50,
        "p95_ms": p95,
        "p99_ms": p99,
        "busy": busy,
        "heap_before": heap_before,
        "heap_after": heap_after,
        "grown": 100 * (heap_after / heap_before - 1),
        "messages": messages,
    }


def _metrics(devtools: Any) -> dict[str, float]:
    return {each["name"]: each["value"] for each in devtools.send("Performance.getMetrics")["metrics"]}


def _heap(devtools: Any) -> float:
    """Return the heap in MiB after a garbage collection."""
    devtools.send("HeapProfiler.collectGarbage")
    return _metrics(devtools)["JSHeapUsedSize"] / 2**20
