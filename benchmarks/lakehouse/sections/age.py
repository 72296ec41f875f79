"""Section `age`: the age of a row when it is readable in Gold, with a constant stream of files and one micro-batch per minute."""

import json
import time
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np

from benchmarks.harness.figures import Goal
from benchmarks.harness.report import Outcome
from benchmarks.lakehouse.bench import Bench
from benchmarks.lakehouse.child import Child, Spent
from serving.threads import cpu_quota

COLUMNS = ["Gold's commit", "at s", "rows", "youngest s", "median s", "oldest s"]
PERCENTILES = (50, 95, 99)
WARM = 2
"""Warm-up batches of one second's rows before the measurement."""
DRAIN_S = 180.0
"""Maximum wait for late rows after the last one was written, in addition to two micro-batches."""
POINTS = 401
"""Number of points of the stored distribution."""


@dataclass(frozen=True)
class Commit:
    """A version of Gold that added rows."""

    version: int
    at: float
    """Modification time of its log file, seconds since the epoch."""
    ages: np.ndarray
    """Seconds from `created_at` to `at` for the rows that are new in this version, float64, shape (N,)."""


def measure(bench: Bench) -> Outcome:
    """Write one file per second for `bench.seconds`, then wait until all rows are in Gold."""
    source, root = bench.home / "age-source", f"{bench.home}/age"
    source.mkdir()
    total = bench.rate * bench.seconds
    with ExitStack() as stack:
        given = {"root": root, "bundle": str(bench.bundle.directory.resolve())}
        stream = bench.children(stack, {"stream": given})["stream"]
        for turn in range(0 if bench.quick else WARM):
            bench.progress(f"warm-up {turn + 1} of {WARM}", None)
            _drop(bench, source, time.time() - 1, turn - WARM)
            stream.ask("warm", source=str(source))
        warmed = _readable(root)
        stream.ask("start", source=str(source), every_s=bench.every_s)
        before, began, wall = stream.cpu_s(), time.monotonic(), time.time()
        for second in range(bench.seconds):
            _drop(bench, source, wall, second)
            bench.progress(f"{(second + 1) * bench.rate:,} of {total:,} rows", (second + 1) / bench.seconds)
            stream.ask("batches")
        late = total + warmed - _readable(root)
        drained = _drain(bench, stream, root, total + warmed, time.monotonic() + 2 * bench.every_s + DRAIN_S)
        wall_s, after = time.monotonic() - began, stream.cpu_s()
        batches = stream.ask("batches")
    spent = Spent(_readable(root) - warmed, wall_s, *(end - start for start, end in zip(before, after, strict=True)))
    found = [one for one in commits(Path(root) / "gold") if one.at > wall]
    return _outcome(bench, found, batches, spent, wall, late, drained)


def commits(gold: Path) -> list[Commit]:
    """Read from the log of a Gold table on this machine the versions that added rows."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    known: set[str] = set()
    found = []
    for log in sorted((gold / "_delta_log").glob("*.json")):
        at = log.stat().st_mtime
        actions = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
        files = [gold / unquote(action["add"]["path"]) for action in actions if action.get("add", {}).get("dataChange")]
        ages = []
        for file in files:
            table = pq.ParquetFile(file).read(columns=["id", "created_at"])
            created = table["created_at"].cast(pa.timestamp("us")).cast(pa.int64()).to_numpy() / 1e6
            ids: list[Any] = table["id"].to_pylist()
            ages += [at - born for one, born in zip(ids, created, strict=True) if one not in known]
            known.update(ids)
        if ages:
            found.append(Commit(int(log.stem), at, np.array(ages)))
    return found


def _drop(bench: Bench, source: Path, wall: float, second: int) -> None:
    """Write the rows of one second (negative: warm-up) to a file that appears when the second is over."""
    lines = []
    for k, text in enumerate(bench.texts.take(bench.rate)):
        created = datetime.fromtimestamp(wall + max(0, second) + k / bench.rate, UTC)
        number = second * bench.rate + k
        record = {
            "id_str": f"{1_700_000_000_000 + number}",
            "text": text,
            "created_at": created.isoformat(),
            "lang": "en",
            "user": {"id_str": str(number % 5000)},
        }
        lines.append(json.dumps(record))
    unseen = source / f".{second:05}.jsonl"  # a name that begins with a dot is not read
    unseen.write_text("\n".join(lines) + "\n", encoding="utf-8")
    time.sleep(max(0.0, wall + max(0, second) + 1 - time.time()))
    unseen.replace(source / unseen.name[1:])


def _readable(root: str) -> int:
    from deltalake import DeltaTable

    table = DeltaTable(f"{root}/gold")
    return sum(table.get_add_actions(flatten=True).column("num_records").to_pylist()) if table.file_uris() else 0


def _drain(bench: Bench, stream: Child, root: str, total: int, end: float) -> bool:
    """Wait until all rows are readable; return False if they are not by `end`."""
    while time.monotonic() < end:
        stream.ask("batches")
        if (there := _readable(root)) >= total:
            return True
        bench.progress(f"waiting for {total - there:,} rows", None)
        time.sleep(1)
    return False


def _outcome(
    bench: Bench, found: list[Commit], batches: list[dict[str, Any]], spent: Spent, wall: float, late: int, drained: bool
) -> Outcome:
    ages = np.concatenate([one.ages for one in found]) if found else np.empty(0)
    rows = [
        [
            f"version {one.version}",
            f"{one.at - wall:.1f}",
            f"{len(one.ages):,}",
            *(f"{value:.1f}" for value in (one.ages.min(), np.median(one.ages), one.ages.max())),
        ]
        for one in found
    ]
    total = bench.rate * bench.seconds
    old = dict(zip(PERCENTILES, np.percentile(ages, PERCENTILES).tolist(), strict=True)) if len(ages) else {}
    goals = [Goal(f"age, p{which}", [seconds], sense="≤", unit=" s") for which, seconds in old.items()]
    took = {stage: [batch["took_s"] for batch in batches if batch["stage"] == stage] for stage in ("bronze", "silver", "gold")}
    longest = {stage: max(times, default=0.0) for stage, times in took.items()}
    keeps_up = drained and all(value < bench.every_s for value in longest.values())
    notes = [
        f"{bench.rate:,} rows per second for {bench.seconds} s, one file per second, unique texts; one micro-batch of Bronze "
        f"every {bench.every_s:g} s, Silver and Gold when there are new rows; {cpu_quota()} cores. The age is the time from "
        "created_at until the version of Gold with the row was written; up to one second of it is waiting for the "
        "file. Model and classes were loaded before the measurement.",
        "Longest micro-batch: "
        + ", ".join(f"{stage} {value:.1f} s" for stage, value in longest.items())
        + f"; {1000 * spent.cpu_s / max(1, spent.rows):.2f} CPU s per 1,000 rows, all layers.",
        f"{late:,} rows were not yet readable when the last one was written"
        + (f"; all were readable {found[-1].at - wall - bench.seconds:.0f} s later." if drained and found else ""),
        _conclusion(bench, keeps_up, total - spent.rows),
    ]
    shares = np.linspace(0, 1, POINTS)
    raw = {
        "ages": {"shares": shares.tolist(), "seconds": np.quantile(ages, shares).round(2).tolist() if len(ages) else []},
        "commits": [{"version": one.version, "at_s": one.at - wall, "rows": len(one.ages)} for one in found],
        "batches": batches,
        "late": late,
        "drained": drained,
        "keeps_up": keeps_up,
        "spent": spent.to_dict(),
    }
    return Outcome(COLUMNS, rows, goals, notes, raw)


def _conclusion(bench: Bench, keeps_up: bool, missing: int) -> str:
    rate, interval = f"{bench.rate:,} rows per second", f"{bench.every_s:g} s"
    if keeps_up:
        return f"The lakehouse keeps up with {rate}: every layer processes the rows of {interval} in less than {interval}."
    if missing:
        return f"The lakehouse does NOT keep up with {rate}: {missing:,} rows were not readable in time."
    return f"The lakehouse does NOT keep up with {rate}: a layer needs more than {interval} for the rows of {interval}."
