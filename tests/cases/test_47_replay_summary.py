"""The summary of a replay has the reasons of dead letters, and no absurd rate (ClickHouse/ClickHouse#7697)."""

import io

from rich.console import Console

from orchestration.terminal.replay import MAX_REASONS, show_summary
from serving.streaming.replay import StreamSummary


def shown(reasons: dict[str, int], seconds: float) -> str:
    out = Console(file=io.StringIO(), width=200)
    show_summary(out, StreamSummary("t", 7, sum(reasons.values()), reasons, seconds, None, {"neutral": 7}, "m"))
    return out.file.getvalue()  # type: ignore[attr-defined]


def test_dead_letters_are_counted_by_reason():
    text = shown({"text: Field required": 3, "id: [/b] bad": 1}, 0.0)
    assert "dead letters" in text and "3: text: Field required" in text and "1: id: [/b] bad" in text
    assert "too short to measure" in text and "a second" not in text


def test_many_reasons_are_cut():
    text = shown({f"reason {number:03}": 1 for number in range(MAX_REASONS + 5)}, 1.0)
    assert text.count("reason 0") == MAX_REASONS
