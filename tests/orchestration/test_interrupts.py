"""The handler of Ctrl-C may run inside a destructor, where Python prints what is raised and continues."""

import signal
import subprocess
import sys

import pytest

from tests.serving.running import ROOT

SLOW = """
import signal, threading
class Slow:
    def __del__(self):
        signal.raise_signal(signal.SIGINT)
def wait():
    Slow()
    threading.Event().wait()  # for good: run() ends it where nothing interrupts it
"""
CASES = {
    "a step": "from orchestration.interrupts import no_interrupt_lost\nwith no_interrupt_lost(KeyboardInterrupt):\n    wait()",
    # Its handler ignores the signals after the first one.
    "the demo": "from orchestration.demo.tour import _interruptible\nwith _interruptible():\n    wait()",
}


def run(code):
    return subprocess.run([sys.executable, "-c", SLOW + code], cwd=ROOT, capture_output=True, text=True, check=False, timeout=600)


@pytest.mark.parametrize("case", CASES)
def test_an_interrupt_that_python_drops_is_sent_again(case):
    done = run(CASES[case])
    assert done.returncode == -signal.SIGINT and "Exception ignored" not in done.stderr, done.stderr[-2000:]


def test_every_command_gets_an_interrupt_that_python_drops():
    done = run("from orchestration.cli import main\nmain.app = lambda **_: wait()\nmain.main()")
    assert done.returncode == -signal.SIGINT and "Exception ignored" not in done.stderr, done.stderr[-2000:]
