"""Labeled messages at fixed rates: what is sustained, how late, how accurate, on which tiers, at which CPU cost."""

import math
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from itertools import cycle
from typing import Any

import numpy as np

from benchmarks.harness.figures import Goal, figure
from benchmarks.harness.processes import stop_all
from benchmarks.harness.report import Outcome
from benchmarks.stream.bench import Bench, Side
from benchmarks.stream.schedule import slope
from data.labels import LABELS
from evaluation.metrics import macro_recall
from orchestration.layout import Layout
from orchestration.steps.data import primary_texts
from serving.streaming.producer import event_bytes, send
from serving.tiers import BASE
from serving.warehouse.connect import connect

GOALS = {2_000.0: 98.5, 5_000.0: 97.0, 10_200.0: 95.0}
"""Messages per second, and the percentage of the macro-recall of `base` that is to be kept at this rate and below."""
FLOOR = 0.95
NEAR = 1.0
"""Macro-recall is to be this close to what the operating points promise, in percentage points."""
KEEPS_UP = 0.01
"""A side keeps up if its lag grows by at most this share of the rate."""
FIRST, LOOK_S, REST_S = 200, 0.5, 30.0
COLUMNS = [
    "messages/s",
    "",
    "classified/s",
    "lag grows, /s",
    "p50 ms",
    "p99 ms",
    "macro-recall",
    "expected",
    "tiers",
    "CPU µs/message: workers + warehouse + broker",
]


@dataclass(frozen=True)
class Rated:
    """One side at one rate."""

    per_s: float
    """Messages committed a second, in the window."""
    lag_slope: float
    """Messages a second by which the lag grows in the window."""
    p50_ms: float
    p99_ms: float
    """From the broker's timestamp to written, of the messages produced in the window and written."""
    macro_recall: float
    """Percent, from the rows of the warehouse."""
    expected: float
    """Percent of validation macro-recall that the points of these rows promise; NaN where the bundle has no points."""
    tiers: dict[str, float]
    """Share of the rows by the tier whose prediction counts."""
    cpu_us: dict[str, float]
    """CPU µs per committed message of the workers, the warehouse and the broker."""
    keeps_up: bool


def measure(bench: Bench) -> Outcome:
    """Measure every side at every rate, one after the other."""
    events = _labeled_events()
    found = bench.in_turns(
        {
            f"{rate:,.0f} {side.title}": lambda _, rate=rate, side=side, own=own: _at(bench, rate, side, own, events)
            for rate in bench.rates
            for side, own in _sides(bench)
        }
    )
    base = [one for title, runs in found.items() if title.endswith(f" {BASE}") for one in runs if one.macro_recall > 0]
    kept, promised = (max((getattr(one, name) for one in base), default=math.nan) for name in ("macro_recall", "expected"))
    rows, goals = [], []
    for title, runs in found.items():
        rate, _, side = title.partition(" ")
        rows.append(_row(rate, side, runs))
        if side.startswith("load control"):
            goals += _goals(float(rate.replace(",", "")), runs, kept, promised)
    notes = [
        "Classified: from the first to the last second of the window. Expected: the macro-recall on validation rows of the "
        "operating points that were chosen, weighted by their rows. Macro-recall: of the rows in the warehouse, by their labels. "
        f"A side keeps up if its lag grows by at most {KEEPS_UP:.0%} of the rate; a row of one that does not ends with *."
    ]
    return Outcome(COLUMNS, rows, goals, notes, {title: [asdict(one) for one in runs] for title, runs in found.items()})


def _sides(bench: Bench) -> list[tuple[Side, dict[str, str]]]:
    """Return the sides: `base`, the smallest tier, load control between them, and a naive worker."""
    ours, smallest = bench.ours(*bench.layout), next((point.tier for point in bench.bundle.manifest.points), BASE)
    tier, floor = "GROUNDSWELL_STREAM__TIER", "GROUNDSWELL_STREAM__FLOOR"
    sides = [(BASE, {tier: BASE}), (f"load control, floor {FLOOR}", {tier: BASE, floor: str(FLOOR)})]
    if smallest != BASE:
        sides.insert(1, (smallest, {tier: smallest}))
    return [*((replace(ours, title=title), own) for title, own in sides), (bench.naive(1, 2), {})]


def _labeled_events() -> list[bytes]:
    """Return one event for each official test text; its id begins with its label."""
    frame = primary_texts(Layout.load(), "test")
    pairs = zip(frame["label"].tolist(), frame["text"].tolist(), strict=True)
    return [event_bytes(f"{label}-{row}", text, "bench") for row, (label, text) in enumerate(pairs)]


def _at(bench: Bench, rate: float, side: Side, own: Mapping[str, str], events: list[bytes]) -> Rated:
    topic, group_name = bench.topic(), f"bench-{bench.number()}"
    group, config, stop = bench.group(group_name, topic), bench.client_config(), threading.Event()
    send(config, topic.name, events[:FIRST])
    programs = side.start({**bench.settings(topic, group_name), **own})
    load = threading.Thread(target=lambda: send(config, topic.name, _until(stop, events), rate=rate))
    try:
        group.wait_for(side.members, within_s=120, check=lambda: [program.check() for program in programs])
        load.start()
        time.sleep(bench.warm_s)
        begin, cpu, samples = time.time(), bench.cpu_s(programs), []
        while (now := time.time()) - begin < bench.rate_seconds:
            state = group.state()
            samples.append((now, state.committed, state.lag))
            time.sleep(LOOK_S)
        end, spent = time.time(), bench.cpu_s(programs)
        stop.set()
        load.join()
        rest = time.monotonic() + REST_S  # what a side that keeps up has left; another one is not waited for
        while time.monotonic() < rest and group.state().lag:
            time.sleep(LOOK_S)
    finally:
        stop.set()
        if load.ident:
            load.join()
        stop_all(programs)
    try:
        return _rated(bench, topic.name, rate, (begin, end), samples, {who: spent[who] - cpu[who] for who in cpu})
    finally:
        bench.clear()


def _until(stop: threading.Event, events: list[bytes]) -> Iterator[bytes]:
    for event in cycle(events):
        if stop.is_set():
            return
        yield event


def _rated(
    bench: Bench,
    topic: str,
    rate: float,
    window: tuple[float, float],
    samples: list[tuple[float, int, int]],
    cpu_s: Mapping[str, float],
) -> Rated:
    where = (
        "FROM predictions FINAL WHERE topic = {topic:String} "
        "AND toUnixTimestamp64Milli(produced_at) BETWEEN {begin:Int64} AND {end:Int64}"
    )
    given = {"topic": topic, "begin": round(1000 * window[0]), "end": round(1000 * window[1])}
    with connect(bench.var, own=False) as client:

        def rows(columns: str, group: str = "") -> list[Any]:
            return client.query(f"SELECT {columns} {where} {f'GROUP BY {group}' if group else ''}", parameters=given).result_rows

        late = "toUnixTimestamp64Milli(written_at) - toUnixTimestamp64Milli(produced_at)"
        ((p50, p99),) = rows(f"quantileExact(0.5)({late}), quantileExact(0.99)({late})")
        labels = rows("splitByChar('-', id)[1], label, count()", "1, 2")
        tiers, points = rows("tier, count()", "tier"), rows("point, count()", "point")
    (first_at, first, _), (last_at, last, _) = samples[0], samples[-1]
    lag_slope = slope([(at, lag) for at, _, lag in samples])
    done = max(1, last - first)
    return Rated(
        per_s=(last - first) / (last_at - first_at),
        lag_slope=lag_slope,
        p50_ms=float(p50) if labels else math.nan,
        p99_ms=float(p99) if labels else math.nan,
        macro_recall=100 * _macro_recall(labels),
        expected=100 * _expected(bench, points),
        tiers={tier: count / max(1, sum(n for _, n in tiers)) for tier, count in sorted(tiers)},
        cpu_us={who: 1e6 * seconds / done for who, seconds in cpu_s.items()},
        keeps_up=lag_slope <= KEEPS_UP * rate,
    )


def _macro_recall(counts: list[tuple[str, str, int]]) -> float:
    """Return the macro-recall of rows counted by gold and predicted label."""
    gold = np.repeat([LABELS.index(key) for key, _, _ in counts], [count for _, _, count in counts])
    predicted = np.repeat([LABELS.index(label) for _, label, _ in counts], [count for _, _, count in counts])
    return macro_recall(gold, np.eye(len(LABELS))[predicted]) if len(gold) else math.nan


def _expected(bench: Bench, counts: list[tuple[str, int]]) -> float:
    promised = {point.name: point.macro_recall for point in bench.bundle.manifest.points}
    known = [(promised.get(name), count) for name, count in counts]
    if not known or any(value is None for value, _ in known):
        return math.nan
    return sum((value or 0.0) * count for value, count in known) / sum(count for _, count in known)


def _row(rate: str, side: str, runs: list[Rated]) -> list[str]:
    tiers = {tier: [one.tiers.get(tier, 0.0) for one in runs] for one in runs for tier in one.tiers}
    shares = ", ".join(f"{tier} {np.median(values):.0%}" for tier, values in sorted(tiers.items()))
    cpu = " + ".join(f"{np.median([one.cpu_us[who] for one in runs]):,.0f}" for who in ("workers", "warehouse", "broker"))
    kept = all(one.keeps_up for one in runs)
    names = ("per_s", "lag_slope", "p50_ms", "p99_ms", "macro_recall", "expected")
    return [rate, side, *(figure([getattr(one, name) for one in runs]) for name in names), shares, cpu if kept else f"{cpu} *"]


def _goals(rate: float, runs: list[Rated], base: float, promised: float) -> list[Goal]:
    """Return the goals at a rate, given the macro-recall of `base` in the same run and the one that its point promises."""
    least = next((share for limit, share in GOALS.items() if rate <= limit), None)
    shares = [100 * one.macro_recall / base for one in runs]
    of_base = [share if one.keeps_up else 0.0 for share, one in zip(shares, runs, strict=True)]
    off = [abs(share - 100 * one.expected / promised) for share, one in zip(shares, runs, strict=True)]
    return [
        Goal(f"{rate:,.0f}/s: macro-recall, of that of base (0: does not keep up)", of_base, least, unit="%"),
        Goal(f"{rate:,.0f}/s: difference to the share that the points promise", off, NEAR, "≤", " points"),
    ]
