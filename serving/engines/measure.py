"""Measure engines on a bundle's parity set, in a process of its own: an engine that crashes or hangs ends only this process.

`python -m serving.engines.measure BUNDLE_DIR THREADS` prints a JSON object: per engine `version`, `flips`, `mean_gap`, `reason`
(why it cannot be used; empty if it can) and `cpu_us`, the CPU time of a text in microseconds (null if it cannot be used).
"""

import json
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from data.errors import GroundswellError
from serving.bundle import MODEL, PARITY
from serving.engines.engine import ENGINES, Engine, open_engine
from serving.engines.parity import ParitySet, compare, read_parity, run_all

PARTS = 4
"""Parts of the parity set, which the engines time in turns; each has new shapes, as in service. CPU time, so other processes on
the machine change it little."""


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
    """Return the CPU microseconds of a text on each engine; they take turns, part by part."""
    taken = dict.fromkeys(engines, 0.0)
    for number in range(PARTS):
        rows, logits = parity_set.rows[number::PARTS], parity_set.logits[number::PARTS]
        for name, engine in engines.items():
            started = time.process_time()
            run_all(engine, replace(parity_set, rows=rows, logits=logits))
            taken[name] += time.process_time() - started
    return {name: cpu_s / len(parity_set.rows) * 1e6 for name, cpu_s in taken.items()}


if __name__ == "__main__":
    print(json.dumps(measure(Path(sys.argv[1]), int(sys.argv[2]))))
