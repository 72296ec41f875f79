import functools
import importlib
import os
import signal
import sys
import threading

import psutil
import pytest

from data.errors import ModelError
from evaluation.cost import Cost, Spread, measure_cost
from evaluation.cost_process import peak_memory_mib
from evaluation.settings import EvaluationSettings

MODULE = '''
import os, time
import numpy as np

class Fake:
    """Uses a given CPU time per text; can fail, hang, exit, or log each call."""
    def __init__(self, name="fake", cpu_ms=0.0, mib=0, mode="", log=None):
        self.name, self.cpu_ms, self.mode, self.log = name, cpu_ms, mode, log
        self.ballast = np.ones(mib * 131072)  # float64
        self.calls = 0
        if mode == "no load":
            raise RuntimeError("weights are missing")
    def predict_proba(self, texts, *, domains=None):
        self.calls += 1
        if self.log:
            with open(self.log, "a") as file:
                file.write(f"{self.name} {len(texts)} {os.getpid()}\\n")
        if self.calls > 2 and self.mode == "raise":
            raise ValueError("shape went wrong")
        if self.calls > 2 and self.mode == "die":
            os._exit(3)
        if self.calls > 2 and self.mode == "hang":
            time.sleep(60)
        if self.calls > 2 and self.mode == "short":
            texts = texts[1:]
        end = time.process_time() + self.cpu_ms * len(texts) / 1000
        while time.process_time() < end:
            pass
        return np.full((len(texts), 3), 1 / 3, dtype=np.float32)
'''
SETTINGS = EvaluationSettings(
    cost_rounds=3, cost_bulk_texts=20, cost_single_texts=9, cost_load_timeout_s=60, cost_round_timeout_s=60
)
TEXTS = [f"text {number}" for number in range(50)]


@pytest.fixture
def fake(tmp_path, monkeypatch):
    (tmp_path / "fake_candidates.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    module = importlib.import_module("fake_candidates")
    yield lambda **options: functools.partial(module.Fake, **options)
    assert not [child for child in psutil.Process().children(recursive=True) if _measures(child)], "a process is left"
    del sys.modules["fake_candidates"]


def _measures(child: psutil.Process) -> bool:
    try:
        return "cost_process" in " ".join(child.cmdline())
    except psutil.NoSuchProcess:  # it has exited, or is a zombie of another test, which has no command line
        return False


@pytest.mark.integration
def test_candidates_are_measured_alone_and_in_turn(fake, tmp_path):
    log, reports = tmp_path / "calls", []
    factories = {
        "cheap": fake(name="cheap", cpu_ms=0.2, log=str(log)),
        "dear": fake(name="dear", cpu_ms=2.0, mib=200, log=str(log)),
    }
    found = measure_cost(factories, TEXTS, SETTINGS, file_bytes={"dear": 123}, progress=lambda *seen: reports.append(seen))
    assert list(found) == ["cheap", "dear"]
    cheap, dear = found["cheap"], found["dear"]
    for cost in found.values():
        for spread in (cost.cpu_us_per_text, cost.texts_per_s, *cost.latencies_ms):
            assert 0 < spread.low <= spread.value <= spread.high
    assert dear.latency_p50_ms.value <= dear.latency_p95_ms.value <= dear.latency_p99_ms.value
    assert (dear.file_bytes, cheap.file_bytes) == (123, None)
    assert (dear.rounds, dear.bulk_texts, dear.single_texts) == (3, 20, 9)
    assert Cost.from_dict(dear.to_dict()) == dear
    bulk = [line.split()[0] for line in log.read_text().splitlines() if line.split()[1] == "20"]
    assert bulk == ["cheap", "dear", "dear", "cheap", "cheap", "dear"]  # round by round, in rotating order
    processes = {tuple(line.split()[::2]) for line in log.read_text().splitlines()}
    assert len({pid for _, pid in processes}) == 2 and str(os.getpid()) not in {pid for _, pid in processes}
    fractions = [fraction for _, fraction in reports]
    assert fractions == sorted(fractions) and fractions[0] >= 0 and fractions[-1] < 1


@pytest.mark.parametrize(
    ("mode", "message"),
    [
        ("no load", r"'bad' failed in its load round[\s\S]*weights are missing"),
        ("raise", r"'bad' failed in its bulk round[\s\S]*shape went wrong"),
        ("die", r"'bad' ended during its bulk round[\s\S]*exit code 3"),
        ("short", r"'bad' failed[\s\S]*did not return one row per text"),
    ],
)
def test_a_candidate_that_fails_is_named(fake, mode, message):
    with pytest.raises(ModelError, match=message):
        measure_cost({"good": fake(), "bad": fake(mode=mode)}, TEXTS, SETTINGS)


def test_a_candidate_that_hangs_is_named_and_terminated(fake):
    impatient = SETTINGS.model_copy(update={"cost_round_timeout_s": 0.5})
    with pytest.raises(ModelError, match=r"'bad' did not finish its bulk round[\s\S]*no response in 0.5 s"):
        measure_cost({"bad": fake(mode="hang")}, TEXTS, impatient)


def test_ctrl_c_leaves_no_process(fake, tmp_path):
    log = tmp_path / "calls"
    main = threading.main_thread().ident

    def interrupt(message, fraction):
        if message.startswith("round 1"):  # the children are loaded, and the hanging one is about to get its order
            threading.Timer(0.3, signal.pthread_kill, (main, signal.SIGINT)).start()

    with pytest.raises(KeyboardInterrupt):
        measure_cost({"slow": fake(mode="hang", log=str(log))}, TEXTS, SETTINGS, progress=interrupt)
    (pid,) = {int(line.split()[2]) for line in log.read_text().splitlines()}
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_candidate_with_a_missing_module_is_named(fake, tmp_path):
    factory = fake()
    (tmp_path / "fake_candidates.py").unlink()
    with pytest.raises(ModelError, match=r"'gone' failed in its load round[\s\S]*No module named 'fake_candidates'"):
        measure_cost({"gone": factory}, TEXTS, SETTINGS)


def test_a_factory_that_cannot_be_pickled_is_refused_before_anything_starts():
    with pytest.raises(ModelError, match=r"'lambda' cannot be sent[\s\S]*functools.partial"):
        measure_cost({"lambda": lambda: None}, TEXTS, SETTINGS)  # type: ignore[dict-item]


def test_nothing_to_measure_is_an_error():
    with pytest.raises(ModelError, match="0 candidates, 50 texts"):
        measure_cost({}, TEXTS, SETTINGS)


def test_spread_and_own_memory():
    assert Spread.of([3.0, 1.0, 2.0]) == Spread(2.0, 1.0, 3.0)
    assert peak_memory_mib() > 0
