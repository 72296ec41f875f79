"""The Lambda handler: time from process start to the first response, and one text compared with the bare classifier."""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.api.bench import Bench
from benchmarks.harness.figures import Goal, spread
from benchmarks.harness.report import Outcome
from data.errors import GroundswellError
from data.settings import project_root

STARTS, TEXTS = 3, 200
COLD_S, WARM = 1.5, 1.3
_LONGEST_S = 120


def measure(bench: Bench) -> Outcome:
    """Start `STARTS` fresh processes per round; each takes `TEXTS` texts in turns with the classifier."""
    found = [_one(bench) for index in range(bench.rounds) for _ in range(STARTS)]
    cold = [one["cold_s"] for one in found]
    medians = [(spread(one["handler_s"])[0], spread(one["bare_s"])[0]) for one in found]
    ratios = [handler / bare for handler, bare in medians]
    rows = [
        ["start to first response, s", *_shown(cold, 2)],
        ["one text by the handler, ms", *_shown([1e3 * handler for handler, _ in medians], 2)],
        ["one text by the classifier, ms", *_shown([1e3 * bare for _, bare in medians], 2)],
    ]
    goals = [
        Goal("import, load and first response", cold, COLD_S, "≤", " s"),
        Goal("one text, compared with the bare classifier", ratios, WARM, "≤", "×"),
    ]
    notes = ["A process on this machine, without Lambda's own start; the model file is in the page cache."]
    return Outcome(["", "median", "lowest", "highest"], rows, goals, notes, raw=found)


def _one(bench: Bench) -> dict[str, Any]:
    bench.progress("a fresh process", None)
    with tempfile.TemporaryDirectory() as folder:
        texts = Path(folder) / "texts"
        texts.write_text("\n".join(" ".join(text.split()) for text in bench.texts.take(TEXTS)), encoding="utf-8")
        environment = {
            "GROUNDSWELL_BUNDLE_DIR": str(bench.bundle.directory.resolve()),
            "GROUNDSWELL_PATHS__VAR_DIR": folder,
            "GROUNDSWELL_SERVING__PREDICTION_STORE": "memory",
            "OMP_NUM_THREADS": "1",
        }
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.api.lambda_program", repr(time.monotonic()), str(texts)],
            cwd=project_root(),
            env=os.environ | environment,
            capture_output=True,
            text=True,
            timeout=_LONGEST_S,
            check=False,
        )
    if done.returncode:
        raise GroundswellError("The Lambda handler failed.", found=done.stderr.strip()[-300:])
    return json.loads(done.stdout)


def _shown(values: list[float], digits: int) -> list[str]:
    return [f"{value:.{digits}f}" for value in spread(values)]
