"""Memory of `score`: it does not grow with the number of rows."""

import csv
import subprocess
import sys
from pathlib import Path

import pytest

from tests.make import rows
from tests.models import tiny_bundle

pytestmark = pytest.mark.soak
_PEAK = """
import resource, sys
from pathlib import Path
from serving.bundle import read_bundle
from serving.classifier import Classifier
from serving.score import score_file
score_file(Path(sys.argv[2]), Classifier(read_bundle(Path(sys.argv[1])), threads=1), text_column="text", label_column="label",
           out=Path(sys.argv[2] + ".out.csv"))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def test_ten_times_the_rows_take_no_more_memory(tmp_path):
    bundle = tiny_bundle(tmp_path / "tiny")
    peaks = []
    for count in (6_000, 60_000):
        path = tmp_path / f"{count}.csv"
        few = rows(20)
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(few[0]))
            writer.writeheader()
            writer.writerows(few[n % 60] for n in range(count))
        run = subprocess.run(
            [sys.executable, "-c", _PEAK, str(bundle.directory), str(path)],
            cwd=Path(__file__).parents[2],
            capture_output=True,
            text=True,
            check=True,
        )
        peaks.append(int(run.stdout))
    assert peaks[1] < 1.1 * peaks[0], f"{peaks} KiB"
