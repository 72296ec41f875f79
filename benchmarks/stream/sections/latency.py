"""Latency from produced to visible in the warehouse, at shares of the capacity: by `written_at`, and by polling."""

import threading
import time
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.harness.figures import figure, percentile, spread
from benchmarks.harness.processes import stop_all
from benchmarks.harness.report import Outcome
from benchmarks.stream.bench import Bench
from serving.streaming.producer import SendSummary, event_bytes, send
from serving.warehouse.connect import connect

SHARES = (0.25, 0.5, 0.8)
FIRST = 200
"""Messages sent before the load, so that the workers are running when it starts."""
POLL_S, REST_S = 0.1, 60.0


@dataclass(frozen=True)
class Latencies:
    """Latencies of the messages of one window, in ms."""

    messages: int
    written_ms: dict[str, float]
    """Percentiles of written_at - produced_at."""
    visible_ms: dict[str, float]
    """Percentiles until the first poll that returned the message; up to `POLL_S` too high."""
    late_ms: float
    """The longest time that a message was sent after it was due."""


def measure(bench: Bench) -> Outcome:
    """Measure each share once per round."""
    capacity = bench.measured_capacity()
    sides = {f"{share:.0%}": lambda _, share=share: _at(bench, share * capacity) for share in SHARES}
    found = bench.in_turns(sides)
    rows = []
    for share in SHARES:
        loads = found[f"{share:.0%}"]
        times = [
            figure([getattr(one, kind)[which] for one in loads])
            for kind in ("written_ms", "visible_ms")
            for which in ("50", "99")
        ]
        late = f"{spread([one.late_ms for one in loads])[0]:.0f}"
        rows.append([f"{share:.0%}", f"{share * capacity:,.0f}", *times, late])
    columns = ["of the capacity", "messages/s", "p50 ms written", "p99 ms", "p50 ms seen", "p99 ms", "sent late, ms"]
    notes = [
        f"The capacity is {capacity:,.0f} messages/s. Written: the warehouse's clock at the insert minus the message's time. "
        f"Seen: the first poll that returned the message; one poll every {1000 * POLL_S:.0f} ms."
    ]
    return Outcome(columns, rows, [], notes, {side: [asdict(one) for one in loads] for side, loads in found.items()})


def _at(bench: Bench, rate: float) -> Latencies:
    topic, group_name = bench.topic(), f"bench-{bench.number()}"
    group = bench.group(group_name, topic)
    config = bench.client_config()
    send(config, topic.name, bench.events(FIRST))
    side = bench.ours(*bench.layout)
    programs = side.start(bench.settings(topic, group_name))
    stop = threading.Event()
    seen: list[tuple[float, dict[int, int]]] = []
    sent: list[SendSummary] = []
    load = threading.Thread(target=lambda: sent.append(send(config, topic.name, _until(stop, bench), rate=rate)))
    polling = threading.Thread(target=_poll, args=(bench, topic.name, stop, seen))
    try:
        group.wait_for(side.members, within_s=120, check=lambda: [program.check() for program in programs])
        begun = time.time()
        load.start()
        polling.start()
        time.sleep(bench.warm_s)
        begin = time.time()
        time.sleep(bench.seconds)
        end = time.time()
        # The last messages have to become visible too, under the same load.
        due, rest = FIRST + round(rate * (end - begun)), time.monotonic() + REST_S
        while time.monotonic() < rest and group.committed() < due:
            time.sleep(POLL_S)
    finally:
        stop.set()
        for thread in (load, polling):
            if thread.ident:
                thread.join()
        stop_all(programs)
    try:
        rows = _rows(bench, topic.name, begin, end)
    finally:
        bench.clear()
    written = [max(0.0, at - produced) for _, _, produced, at in rows]
    visible = [
        at - produced for (_, _, produced, _), at in zip(rows, first_seen([row[:2] for row in rows], seen), strict=True) if at
    ]
    return Latencies(len(rows), _percentiles(written), _percentiles(visible), 1000 * sent[0].late_s)


def _until(stop: threading.Event, bench: Bench) -> Iterator[bytes]:
    while not stop.is_set():
        yield event_bytes(f"b-{bench.number()}", bench.texts.take(1)[0], "bench")


def _poll(bench: Bench, topic: str, stop: threading.Event, seen: list[tuple[float, dict[int, int]]]) -> None:
    query = "SELECT partition, max(offset) FROM predictions WHERE topic = {topic:String} GROUP BY partition"
    with connect(bench.var, own=False) as client:
        while not stop.wait(POLL_S):
            rows = client.query(query, parameters={"topic": topic}).result_rows
            seen.append((time.time(), dict(rows)))


def first_seen(places: list[Any], seen: list[tuple[float, dict[int, int]]]) -> list[float | None]:
    """Return when each message was first in a query result; None if it was in none.

    Args:
        places: Partition and offset.
        seen: Seconds and the highest offset by partition; the messages of a partition become visible in order.
    """
    found: list[float | None] = []
    by_partition: dict[int, list[int]] = {}
    for partition, offset in places:
        if partition not in by_partition:
            by_partition[partition] = [highest.get(partition, -1) for _, highest in seen]
        index = bisect_left(by_partition[partition], offset)
        found.append(seen[index][0] if index < len(seen) else None)
    return found


def _rows(bench: Bench, topic: str, begin: float, end: float) -> list[tuple[int, int, float, float]]:
    query = (
        "SELECT partition, offset, toUnixTimestamp64Milli(produced_at) AS produced, toUnixTimestamp64Milli(written_at) "
        "FROM predictions FINAL WHERE topic = {topic:String} AND produced BETWEEN {begin:Int64} AND {end:Int64}"
    )
    between = {"topic": topic, "begin": round(1000 * begin), "end": round(1000 * end)}
    with connect(bench.var, own=False) as client:
        rows = client.query(query, parameters=between).result_rows
    return [(partition, offset, produced / 1000, written / 1000) for partition, offset, produced, written in rows]


def _percentiles(seconds: list[float]) -> dict[str, float]:
    return {str(which): 1000 * percentile(seconds, which) for which in (50, 95, 99)}
