"""Section `files`: number of files after an hour of micro-batches, and read time of Gold, with and without compaction."""

import json
import time
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import fmean, median
from typing import Any

from benchmarks.harness.report import Outcome
from benchmarks.lakehouse.bench import Bench
from benchmarks.lakehouse.child import Child, Spent
from serving.lakehouse.paths import LAYERS, table

ROWS = 500
"""Rows per micro-batch."""
READS = 5
WITHOUT, WITH, AFTER = "no compaction", "autoCompact (as set)", "no compaction, then OPTIMIZE"
COLUMNS = [
    "",
    "files: bronze",
    "silver",
    "rejected",
    "gold",
    "read Gold ms: deltalake",
    "Spark",
    "s per micro-batch: first 10",
    "last 10",
    "CPU s",
]


def measure(bench: Bench) -> Outcome:
    """Write the same files into two lakehouses; their micro-batches alternate."""
    roots = {WITHOUT: f"{bench.home}/without", WITH: f"{bench.home}/with"}
    spent: dict[str, list[Spent]] = {name: [] for name in roots}
    with ExitStack() as stack:
        child = bench.children(stack, {"batches": {"root": f"{bench.home}/batches"}})["batches"]
        for name, root in roots.items():
            child.ask("start", root=root, compacted=name == WITH)
        for number in range(bench.batches):
            bench.progress(f"micro-batch {number + 1} of {bench.batches}", number / bench.batches)
            file = str(_write(bench, number))
            for name in sorted(roots, reverse=bool(number % 2)):
                spent[name].append(child.spend(ROWS, "batch", root=roots[name], file=file, number=number))
        took = {name: child.ask("took", root=root) for name, root in roots.items()}
        bench.progress("reading", None)
        found = {name: _state(child, root) for name, root in roots.items()}
        optimizing = child.spend(ROWS * bench.batches, "optimize", root=roots[WITHOUT])
        found[AFTER] = _state(child, roots[WITHOUT])
    notes = [
        f"{bench.batches} micro-batches of {ROWS} rows of one day, written by write_bronze, write_silver and write_gold with "
        "a stub model. Files are those of the newest version. A read takes all columns of Gold: median of "
        f"{READS} after a warm-up read, deltalake to Arrow (like the dashboard), Spark to the noop sink.",
        "Of the last ten micro-batches: " + "; ".join(f"{name}: {_by_layer(times[-10:])}" for name, times in took.items()) + ".",
        f"OPTIMIZE of the four tables took {optimizing.wall_s:.1f} s ({optimizing.cpu_s:.1f} CPU s).",
    ]
    raw = {
        "found": found,
        "spent": {name: [one.to_dict() for one in costs] for name, costs in spent.items()},
        "optimizing": optimizing.to_dict(),
        "took": took,
    }
    return Outcome(COLUMNS, [_row(name, state, spent.get(name)) for name, state in found.items()], [], notes, raw)


def _write(bench: Bench, number: int) -> Path:
    """Write the lines of one minute of yesterday."""
    begin = datetime.now(UTC).replace(hour=11, minute=0, second=0, microsecond=0) - timedelta(days=1)
    created_at = begin + timedelta(minutes=number % 60)
    path = bench.home / f"minute-{number:04}.jsonl"
    records = (
        {"id_str": f"{1_700_000_000_000 + number * ROWS + k}", "text": text, "created_at": created_at.isoformat(), "lang": "en"}
        for k, text in enumerate(bench.texts.take(ROWS))
    )
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return path


def _state(child: Child, root: str) -> dict[str, Any]:
    from deltalake import DeltaTable

    opened = {layer: DeltaTable(table(root, layer)) for layer in LAYERS}
    gold, took = opened["gold"], []
    for _ in range(READS + 1):
        began = time.perf_counter()
        gold.to_pyarrow_table()
        took.append(time.perf_counter() - began)
    return {
        "files": {layer: len(one.file_uris()) for layer, one in opened.items()},
        "deltalake_s": took[1:],
        "spark_s": child.ask("read", root=root, times=READS),
    }


def _by_layer(took: list[dict[str, float]]) -> str:
    return ", ".join(f"{layer} {fmean(one[layer] for one in took):.1f} s" for layer in took[0])


def _row(name: str, state: dict[str, Any], spent: list[Spent] | None) -> list[str]:
    reads = [f"{1000 * median(state[which]):,.0f}" for which in ("deltalake_s", "spark_s")]
    took = [f"{fmean(one.wall_s for one in part):.2f}" for part in (spent[:10], spent[-10:])] if spent else ["", ""]
    cpu = f"{sum(one.cpu_s for one in spent):,.0f}" if spent else ""
    return [name, *(f"{state['files'][layer]:,}" for layer in LAYERS), *reads, *took, cpu]
