"""How old a row is when it can be read in Gold, with a steady stream of files and a micro-batch a minute."""

import json
import time
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np

from orchestration.bench_api.figures import Goal
from orchestration.bench_lakehouse.bench import Bench, Outcome
from orchestration.bench_lakehouse.child import Child, Spent
from serving.threads import cpu_quota

COLUMNS = ["Gold's commit", "at s", "rows", "youngest s", "median s", "oldest s"]
PERCENTILES = (50, 95, 99)
WARM = 2
"""Times that a second's rows go through all layers before anything counts."""
DRAIN_S = 180.0
"""How long after the last row is waited for what is still on its way, beside two micro-batches."""
POINTS = 401
"""Of the distribution that is kept."""


@dataclass(frozen=True)
class Commit:
    """A version of Gold that added rows."""

    version: int
    at: float
    """When its log file was there, seconds since the epoch."""
    ages: np.ndarray
    """Seconds from `created_at` to then of the rows that no version before had, float64, shape (N,)."""


def measure(bench: Bench) -> Outcome:
    """A file a second for as long as asked, then wait until all of it is in Gold."""
    source, root = bench.home / "age-source", f"{bench.home}/age"
    source.mkdir()
    total = bench.rate * bench.seconds
    with ExitStack() as stack:
        given = {"root": root, "bundle": str(bench.bundle.directory.resolve())}
        stream = bench.children(stack, {"stream": given})["stream"]
        for turn in range(0 if bench.quick else WARM):
            bench.tell(f"warming, {turn + 1} of {WARM}", None)
            _drop(bench, source, time.time() - 1, turn - WARM)
            stream.ask("warm", source=str(source))
        warmed = _readable(root)
        stream.ask("start", source=str(source), every_s=bench.every_s)
        before, began, wall = stream.cpu_s(), time.monotonic(), time.time()
        for second in range(bench.seconds):
            _drop(bench, source, wall, second)
            bench.tell(f"{(second + 1) * bench.rate:,} of {total:,} rows", (second + 1) / bench.seconds)
            stream.ask("batches")
        late = total + warmed - _readable(root)
        drained = _drain(bench, stream, root, total + warmed, time.monotonic() + 2 * bench.every_s + DRAIN_S)
        wall_s, after = time.monotonic() - began, stream.cpu_s()
        batches = stream.ask("batches")
    spent = Spent(_readable(root) - warmed, wall_s, *(end - start for start, end in zip(before, after, strict=True)))
    found = [one for one in commits(Path(root) / "gold") if one.at > wall]
    return _outcome(bench, found, batches, spent, wall, late, drained)


def commits(gold: Path) -> list[Commit]:
    """The versions of a Gold table on this machine that added rows, from its log."""
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
            ids = table["id"].to_pylist()
            ages += [at - born for one, born in zip(ids, created, strict=True) if one not in known]
            known.update(ids)
        if ages:
            found.append(Commit(int(log.stem), at, np.array(ages)))
    return found


def _drop(bench: Bench, source: Path, wall: float, second: int) -> None:
    """The rows that are created in a second (negative: those that warm), in a file that is there when it is over."""
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
    """Wait until all rows can be read; whether they can."""
    while time.monotonic() < end:
        stream.ask("batches")
        if (there := _readable(root)) >= total:
            return True
        bench.tell(f"{total - there:,} rows on their way", None)
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
        f"{bench.rate:,} rows a second for {bench.seconds} s, a file each second, all texts different; a micro-batch of Bronze "
        f"every {bench.every_s:g} s, Silver and Gold as soon as there is something new; {cpu_quota()} cores. The age is from "
        "created_at to when the version of Gold that has the row was written; up to a second of it is waiting for the "
        "file. Model and classes were loaded before.",
        "Longest micro-batch: "
        + ", ".join(f"{stage} {value:.1f} s" for stage, value in longest.items())
        + f"; {1000 * spent.cpu_s / max(1, spent.rows):.2f} CPU s per 1,000 rows, all layers.",
        f"{late:,} rows were on their way when the last came"
        + (f"; all could be read {found[-1].at - wall - bench.seconds:.0f} s later." if drained and found else ""),
        _verdict(bench, keeps_up, total - spent.rows),
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


def _verdict(bench: Bench, keeps_up: bool, missing: int) -> str:
    rate, minute = f"{bench.rate:,} rows a second", f"{bench.every_s:g} s"
    if keeps_up:
        return f"{rate} are kept up with: no layer takes {minute} for what comes in {minute}."
    if missing:
        return f"{rate} are NOT kept up with: {missing:,} could not be read long after the last came."
    return f"{rate} are NOT kept up with: a layer takes longer than {minute} for what comes in {minute}."
