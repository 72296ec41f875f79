"""Training of a tiny BERT on generated rows: it learns, it resumes, and one seed gives one model."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from data.errors import TrainingFailed
from data.labels import LABEL_IDS
from tests.make import labeled
from tests.models import tiny_candidate, write_checkpoint
from training.finetune import finetune
from training.predictors import load_predictor
from training.settings import TrainingSettings

pytestmark = pytest.mark.integration
SETTINGS = {"evaluations": 4, "bf16": False, "seed": 3}


def parts():
    frame = labeled(60)
    return frame[frame["split"] == "train"], frame[frame["split"] == "val"]


def train(base: Path, out: Path, **kwargs):
    return finetune(tiny_candidate(base), *parts(), out, TrainingSettings.load(**SETTINGS), **kwargs)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return write_checkpoint(tmp_path_factory.mktemp("base"))


def test_training_learns_and_reports_progress(base, tmp_path):
    reports = []
    result = train(base, tmp_path / "tiny", progress=lambda message, share: reports.append((message, share)))
    assert result.best_macro_recall > 0.9
    assert result.rows == len(parts()[0])
    shares = [share for _, share in reports]
    assert shares == sorted(shares) and "rows/s" in reports[-1][0] and "left" in reports[-1][0]
    assert [path.name for path in tmp_path.iterdir()] == ["tiny"], "no work folder stays"
    frame = labeled(60)
    test = frame[frame["split"] == "test"]
    proba = load_predictor(tiny_candidate(base), tmp_path / "tiny").predict_proba(test["text"].tolist())
    assert proba.shape == (len(test), 3) and proba.dtype == np.float32
    assert (proba.argmax(axis=1) == test["label"].map(LABEL_IDS)).mean() > 0.9


_SCRIPT = """
import os, sys
from pathlib import Path
import training.finetune
from tests.training.test_finetune import train
evaluate, evaluations = training.finetune._macro_recall, []
def die_at_third_evaluation(prediction):  # not at a progress report: these depend on time
    evaluations.append(prediction)
    if len(evaluations) == 3 and sys.argv[3] == "die":
        os.kill(os.getpid(), 9)
    return evaluate(prediction)
training.finetune._macro_recall = die_at_third_evaluation
train(Path(sys.argv[1]), Path(sys.argv[2]))
"""


def run(base, out, how):
    return subprocess.run(
        [sys.executable, "-c", _SCRIPT, str(base), str(out), how],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=False,
        capture_output=True,
        text=True,
        timeout=600,
        cwd=Path(__file__).parents[2],
    )


def test_a_killed_run_resumes_from_its_checkpoint_to_the_same_model(base, tmp_path):
    """The bytes of the model equal those of an uninterrupted run: one seed gives one model, with or without a crash."""
    assert run(base, tmp_path / "killed" / "tiny", "die").returncode == -signal.SIGKILL
    left = list((tmp_path / "killed").iterdir())
    assert len(left) == 1 and left[0].name.startswith(".tiny-"), "only the run's own checkpoints"
    steps = sorted(int(path.name.split("-")[1]) for path in left[0].glob("checkpoint-*"))
    assert steps
    (left[0] / f"checkpoint-{steps[-1] + 1}").mkdir()  # a checkpoint that was being written: skipped
    resumed = run(base, tmp_path / "killed" / "tiny", "live")
    whole = run(base, tmp_path / "whole" / "tiny", "live")
    assert (resumed.returncode, whole.returncode) == (0, 0), resumed.stderr[-500:] + whole.stderr[-500:]
    models = [(tmp_path / name / "tiny" / "checkpoint" / "model.safetensors").read_bytes() for name in ("killed", "whole")]
    assert models[0] == models[1]


@pytest.mark.parametrize(
    ("corrupt", "message"),
    [
        (lambda frame: frame.iloc[:0], "no labeled rows"),
        (lambda frame: frame.assign(label="neutral"), "all three classes"),
        (lambda frame: frame.assign(label=None), "no labeled rows"),
    ],
)
def test_rows_without_all_classes_are_refused_and_nothing_is_written(corrupt, message, base, tmp_path):
    rows, val = parts()
    with pytest.raises(TrainingFailed, match=message):
        finetune(tiny_candidate(base), corrupt(rows), val, tmp_path / "tiny", TrainingSettings.load(**SETTINGS))
    assert list(tmp_path.iterdir()) == []
