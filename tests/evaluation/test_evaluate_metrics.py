"""The cross-check through `evaluate` with the network shut, in a process of its own: offline mode is read at import."""

import json
import subprocess
import sys

import pytest

from data.settings import project_root

SCRIPT = """
import json, socket
from dataclasses import replace
import numpy as np

def shut(*args, **options):
    raise OSError("the network is shut")

socket.socket.connect = socket.create_connection = socket.getaddrinfo = shut
from data.errors import ModelError
from evaluation import metrics
from evaluation.evaluate_metrics import Recall, cross_check

out, generator = {}, np.random.default_rng(0)
for name, classes in (("all", [0, 1, 2]), ("two", [0, 2]), ("one", [1])):
    labels = generator.choice(classes, 200)
    proba = generator.dirichlet([1, 1, 1], 200).astype(np.float32)
    ours = metrics.score(labels, proba, resamples=5)
    out[name] = {"ours": {key: each.value for key, each in ours.items()}, "theirs": cross_check(name, ours, labels, proba)}
streamed = Recall()
for start in range(0, 200, 64):
    streamed.add_batch(predictions=proba.argmax(1)[start:start + 64], references=labels[start:start + 64])
out["streamed"] = streamed.compute()
try:
    off = ours["macro_f1"].value + 1e-4
    cross_check("minilm", ours | {"macro_f1": replace(ours["macro_f1"], value=off)}, labels, proba)
except ModelError as error:
    out["refused"] = [str(error), f"{off:.6f}", f"{ours['macro_f1'].value:.6f}"]
print(json.dumps(out))
"""


@pytest.mark.integration
def test_cross_check_agrees_with_our_metrics_and_refuses_a_difference_with_the_network_shut(tmp_path):
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
    for name, count in (("all", 9), ("two", 7), ("one", 5)):
        assert len(out[name]["theirs"]) == count, "accuracy, two means, and two metrics of each class that occurs"
        assert out[name]["theirs"] == pytest.approx({key: out[name]["ours"][key] for key in out[name]["theirs"]}, abs=1e-9)
    assert out["streamed"] == {key: value for key, value in out["one"]["theirs"].items() if "recall" in key}
    text, ours, theirs = out["refused"]
    assert "minilm" in text and f"macro_f1 {ours}, evaluate {theirs}" in text
    assert not list(tmp_path.rglob("*.arrow"))  # nothing is written into anyone's cache
