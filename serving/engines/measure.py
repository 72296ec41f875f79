"""Measure engines on a bundle's parity set, in a process of its own: an engine that crashes or hangs ends only this process.

`python -m serving.engines.measure BUNDLE_DIR THREADS` prints a JSON object: per engine `version`, `flips`, `mean_gap`, `reason`
(why it cannot be used; empty if it can) and `cpu_us`, the CPU time of a text in microseconds (null if it cannot be used).
"""

import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

from data.errors import GroundswellError
from serving.bundle import MODEL, PARITY
from serving.engines.engine import ENGINES, Engine, open_engine
from serving.engines.parity import ParitySet, compare, read_parity, run_all

TURNS = 3
"""Timed turns of each engine; the median counts. CPU time, so other processes on the machine change it little."""


def measure(directory: Path, threads: int) -> dict[str, dict[str, Any]]:
    """Check parity of every engine, and time in turns those that pass.

    Raises:
        BundleError: The bundle has no parity set that can be read.
    """
    parity_set = read_parity(directory / PARITY)
    found: dict[str, dict[str, Any]] = {}
    usable: dict[str, Engine] = {}
    for name in ENGINES:
        found[name] = {"version": None, "flips": None, "mean_gap": None, "cpu_us": None}
        try:
            engine = open_engine(name, directory / MODEL, threads)
            parity = compare(parity_set, run_all(engine, parity_set))
        except Exception as error:  # what an engine raises at run time has no common base class
            found[name]["reason"] = error.message if isinstance(error, GroundswellError) else str(error).splitlines()[0]
            continue
        found[name] |= {"version": engine.version, "reason": parity.reason}
        found[name] |= {"flips": parity.flips, "mean_gap": round(parity.mean_gap, 5)}
        if not parity.reason:
            usable[name] = engine
    for name, cpu_us in _time(usable, parity_set).items():
        found[name]["cpu_us"] = round(cpu_us, 1)
    return found


def _time(engines: dict[str, Engine], parity_set: ParitySet) -> dict[str, float]:
    """Return the median CPU microseconds of a text on each engine; they take turns."""
    taken: dict[str, list[float]] = {name: [] for name in engines}
    for _ in range(TURNS):
        for name, engine in engines.items():
            started = time.process_time()
            run_all(engine, parity_set)
            taken[name].append((time.process_time() - started) / len(parity_set.rows) * 1e6)
    return {name: statistics.median(turns) for name, turns in taken.items()}


if __name__ == "__main__":
    print(json.dumps(measure(Path(sys.argv[1]), int(sys.argv[2]))))
