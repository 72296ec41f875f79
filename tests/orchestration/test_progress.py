"""The terminal's lines of steps that did their work, and of steps that did nothing."""

import io
import logging

import pytest
from rich.console import Console

from orchestration.progress import LogProgress, TerminalProgress, begin, ended, listening, note


def shown(steps, *, terminal=False):
    out = io.StringIO()
    with TerminalProgress(Console(file=out, force_terminal=terminal, width=130)) as progress, listening(progress):
        steps()
    return out.getvalue()


def some_steps():
    begin("Train MiniLM-L6")
    begin("Train FinBERT")
    ended("skipped", "finbert needs ProsusAI/finbert [from the hub]")
    begin("Train RoBERTa")
    ended("unchanged")
    begin("Benchmark")


@pytest.mark.parametrize("terminal", [False, True])
def test_a_step_that_did_nothing_is_not_shown_as_done(terminal):
    lines = shown(some_steps, terminal=terminal).splitlines()
    done = [line for line in lines if "✓" in line]
    assert len(done) == 2 and "MiniLM" in done[0] and "Benchmark" in done[1]
    output = "\n".join(lines)
    assert "– Train FinBERT:" in output and "skipped, finbert needs ProsusAI/finbert [from the hub]" in output
    assert "– Train RoBERTa:" in output and "unchanged" in output


def test_failed_step_is_shown_as_failed_even_after_it_reported_unchanged():
    out = io.StringIO()
    with pytest.raises(RuntimeError), TerminalProgress(Console(file=out, width=130)) as progress, listening(progress):
        begin("Train FinBERT")
        ended("unchanged")
        raise RuntimeError
    assert "✗ Train FinBERT" in out.getvalue()


def test_log_has_the_state_with_its_reason_and_the_level_of_notes(caplog):
    with caplog.at_level(logging.INFO), listening(LogProgress(logging.getLogger("run"))):
        some_steps()
        note("Texts: a folder.", warning=False)
        note("other is left out")
    found = [(record.levelname, record.message) for record in caplog.records]
    assert ("INFO", "skipped: finbert needs ProsusAI/finbert [from the hub]") in found and ("INFO", "unchanged") in found
    assert ("INFO", "Texts: a folder.") in found and ("WARNING", "other is left out") in found
