"""Our metrics as `evaluate` modules with the network shut, in a process of its own: offline mode is read at import."""

import json
import subprocess
import sys

import pytest

from data.settings import project_root

SCRIPT = """
import json, socket, sys
import numpy as np

def shut(*args, **options):
    raise OSError("the network is shut")

socket.socket.connect = socket.create_connection = socket.getaddrinfo = shut
import evaluate
from evaluation import metrics
from evaluation.evaluate_metrics import Accuracy, CalibrationError, MacroRecall, all_metrics

generator = np.random.default_rng(0)
labels = generator.integers(0, 3, 200)
proba = generator.dirichlet([1, 1, 1], 200).astype(np.float32)
expected = metrics.score(labels, proba)
out = {"expected": {name: value.value for name, value in expected.items()}}
out["all"] = all_metrics(resamples=100).compute(predictions=proba, references=labels)
out["intervals"] = all_metrics().compute(predictions=proba, references=labels, intervals=True)["macro_recall"]
out["same interval"] = expected["macro_recall"].to_dict()
pair = evaluate.combine([MacroRecall(resamples=50), Accuracy(resamples=50)])
out["ids"] = pair.compute(predictions=proba.argmax(1), references=labels)
streamed = CalibrationError(resamples=50)
for start in range(0, 200, 64):
    streamed.add_batch(predictions=proba[start:start + 64], references=labels[start:start + 64])
out["streamed"] = streamed.compute()
try:
    MacroRecall().compute(predictions=[0, 7], references=[0, 1])
except Exception as error:
    out["refused"] = str(error)
print(json.dumps(out))
"""


@pytest.mark.integration
def test_metrics_work_as_evaluate_modules_with_the_network_shut(tmp_path):
    environment = {
        "PATH": "/usr/bin:/bin",
        "HOME": str(tmp_path),
        "HF_HUB_OFFLINE": "1",
        "HF_EVALUATE_OFFLINE": "1",
        "HF_HOME": str(tmp_path),
        "OMP_NUM_THREADS": "1",
    }
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        cwd=project_root(),
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    out = json.loads(done.stdout.strip().splitlines()[-1])
    assert out["all"] == pytest.approx(out["expected"], abs=1e-6)
    assert out["intervals"] == out["same interval"]
    assert out["ids"] == pytest.approx({key: out["expected"][key] for key in ("macro_recall", "accuracy")})
    assert out["streamed"]["ece"] == pytest.approx(out["expected"]["ece"], abs=1e-6)
    assert "7" in out["refused"]
    assert not list(tmp_path.rglob("*.arrow"))  # nothing is written into anyone's cache
