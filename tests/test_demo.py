"""`groundswell demo` on the project's own sample."""

import re
import signal
import subprocess
from collections.abc import Iterator

import psutil
import pytest

from tests.serving.running import ROOT
from tests.trained import Trained

pytestmark = pytest.mark.integration


def until(process: "subprocess.Popen[str]", words: str) -> Iterator[str]:
    """The lines that a process prints, up to the first with these words; it must not end before."""
    assert process.stdout
    for line in process.stdout:
        yield line
        if words in line:
            return
    raise AssertionError(f"it ended with {process.wait()} and did not print {words!r}")


def test_demo_runs_the_whole_pipeline_and_a_second_demo_reuses_it(trained: Trained):
    for words in (
        "gate: passed",
        "POST http://127.0.0.1:",
        "messages in the warehouse  60",
        "a job of 500 texts is done",
        "64 callers at once",
        "by its windows:",
        "What next",
        "own small sample",
        " rows.",
    ):
        assert words in trained.stdout
    assert "Traceback" not in trained.stderr
    second = trained.run("groundswell demo --once")
    assert second.returncode == 0 and "is in production already" in second.stdout
    worked = re.findall(r"step \d+ of|round \d+ of|test rows|validation rows", second.stdout)
    assert worked == [], "nothing is trained, evaluated or exported again"


def test_demo_in_the_background_of_a_script_ends_with_all_its_processes(trained: Trained):
    process = subprocess.Popen(
        ["groundswell", "demo"],
        cwd=ROOT,
        env=trained.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),  # noqa: PLW1509 - as a shell does for `&`
    )
    family: list[psutil.Process] = []
    try:
        list(until(process, "Learn what is normal"))
        family = psutil.Process(process.pid).children(recursive=True)
        assert any("warehouse" in " ".join(child.cmdline()) for child in family)
        process.send_signal(signal.SIGINT)  # SIGTERM: test_demo_walk.py
        assert "Stopping" in list(until(process, "Stopping"))[-1]
        assert process.wait(600) == 130, "it was not done"
    finally:
        process.terminate()
        process.wait(600)
    assert psutil.wait_procs(family, timeout=120)[1] == []
