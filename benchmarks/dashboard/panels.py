"""Each panel's query on many rows, compared with the same result computed from the messages themselves."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness.figures import Goal
from benchmarks.harness.report import Outcome
from serving.warehouse.blocks import CHUNK, refresh_rollups
from serving.warehouse.connect import connect, hold
from serving.warehouse.questions import ask
from serving.warehouse.server import ensure_server

PARTITIONS, SOURCES, DAYS = 6, 12, 7
CHUNKS = 100
"""Chunks of every partition in one insert."""
TOPIC = "synthetic"
GOAL_MS = 50.0
PANELS = ("distribution", "trend", "volume", "sources")
SPANS = {"1 hour": timedelta(hours=1), "24 hours": timedelta(hours=24)}
_COUNTS = "countIf(label = 'negative'), countIf(label = 'neutral'), countIf(label = 'positive'), avg(score)"
_MINUTE = "toStartOfMinute(event_at) AS bucket"
_INSIDE = "FROM predictions FINAL WHERE event_at >= {begin:DateTime64(3)} AND event_at < {until:DateTime64(3)}"
_RAW = {
    "distribution": f"SELECT {_COUNTS} {_INSIDE}",
    "trend": f"SELECT {_MINUTE}, {_COUNTS} {_INSIDE} GROUP BY bucket",
    "volume": f"SELECT {_MINUTE}, count() {_INSIDE} GROUP BY bucket",
    "sources": f"SELECT source, {_COUNTS} {_INSIDE} GROUP BY source",
}

Progress = Callable[[str, float | None], None]


def measure(folder: Path, rows: int, rounds: int, progress: Progress) -> Outcome:
    """Fill a warehouse in `folder` (kept for the next run), then query each panel in turns with the raw scan.

    Args:
        folder: Needs about 30 bytes per row.
        rows: The warehouse gets at least this number of rows.
        rounds: Queries of each kind; the raw scan runs a tenth as often.
        progress: Shows the progress.
    """
    newest = _filled(folder, rows, progress)
    found: dict[tuple[str, str], list[float]] = {}
    raw: dict[tuple[str, str], list[float]] = {}
    with ensure_server(folder), connect(folder, own=False) as client:
        for turn in range(rounds):
            progress(f"queries, round {turn + 1} of {rounds}", turn / rounds)
            for span, length in SPANS.items():
                until = newest - timedelta(seconds=turn)
                for name in PANELS:
                    key = name, span
                    found.setdefault(key, []).append(
                        _timed(lambda: ask(client, name, since=until - length, until=until, every="minute"))  # noqa: B023
                    )
                    if turn % 10 == 0:
                        parameters = {"begin": until - length, "until": until}
                        raw.setdefault(key, []).append(
                            _timed(lambda: client.query(_RAW[name], parameters=parameters).result_rows)  # noqa: B023
                        )
    lines, goals = [], []
    for (name, span), times in found.items():
        p50, p95 = (float(np.quantile(times, share)) for share in (0.5, 0.95))
        scan = float(np.median(raw[name, span]))
        lines.append([name, span, f"{p50:.1f}", f"{p95:.1f}", f"{scan:,.0f}", f"{scan / p50:,.0f}x"])
        goals.append(Goal(f"{name}, {span}: p95", [p95], GOAL_MS, "≤", " ms"))
    columns = ["panel", "span", "p50 ms", "p95 ms", "raw scan ms", "scan / rollup"]
    note = f"{rows:,} rows in {DAYS} days, {SOURCES} sources, {PARTITIONS} partitions; over the warehouse server's HTTP."
    return Outcome(columns, lines, goals, [note], raw={str(key): times for key, times in found.items()})


def _timed(query: Callable[[], Any]) -> float:
    began = time.perf_counter()
    assert query()
    return 1000 * (time.perf_counter() - began)


def _filled(folder: Path, rows: int, progress: Progress) -> datetime:
    """Fill the warehouse up to `rows` rows and return the event time after the newest one."""
    with hold(folder) as client:
        known = int(client.query("SELECT count() FROM predictions").result_rows[0][0])
        if known < rows:
            _fill(client, rows, progress)
        return client.query("SELECT max(bucket) FROM rollup_minute").result_rows[0][0].replace(tzinfo=UTC) + timedelta(minutes=1)


def _fill(client: Any, rows: int, progress: Progress) -> None:
    begin = datetime.now(UTC) - timedelta(days=DAYS) + timedelta(hours=1)
    apart_ms = DAYS * 86_400_000 / rows
    step = min(CHUNKS, -(-rows // (CHUNK * PARTITIONS))) * CHUNK * PARTITIONS
    for first in range(0, rows, step):
        progress(f"{first:,} rows", first / rows)
        client.command(
            "INSERT INTO predictions (topic, partition, offset, id, source, text, produced_at, predicted_at, label, confidence, "
            "probabilities, tier, model_version, written_at) "
            f"SELECT {{topic:String}}, n % {PARTITIONS}, intDiv(n, {PARTITIONS}), toString(n), "
            f"concat('source-', toString(cityHash64(n) % {SOURCES})), concat('a synthetic text, number ', toString(n % 1000)), "
            "{begin:DateTime64(3, 'UTC')} + toIntervalMillisecond(toInt64(n * {apart:Float64})) AS at, at, "
            "multiIf(dice < 0.3, 'negative', dice < 0.7, 'neutral', 'positive'), 0.8, "
            "multiIf(dice < 0.3, [0.8, 0.1, 0.1], dice < 0.7, [0.1, 0.8, 0.1], [0.1, 0.1, 0.8]), 'model', 'v1', at "
            "FROM (SELECT number AS n, (cityHash64(number, 7) % 1000) / 1000 AS dice "
            "FROM numbers({first:UInt64}, {count:UInt64})) "
            "SETTINGS max_partitions_per_insert_block = 0",
            parameters={"topic": TOPIC, "begin": begin, "apart": apart_ms, "first": first, "count": step},
        )
        offsets = first // PARTITIONS, (first + step) // PARTITIONS - 1
        refresh_rollups(client, TOPIC, dict.fromkeys(range(PARTITIONS), offsets))
    progress("merging", None)
    for table in ("predictions", "rollup_second", "rollup_minute", "rollup_hour"):
        client.command(f"OPTIMIZE TABLE {table}")
