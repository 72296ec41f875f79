"""The summary of a replay has the reasons of dead letters, and no absurd rate (ClickHouse/ClickHouse#7697)."""

import io

from rich.console import Console

from orchestration.terminal.replay import MAX_REASONS, show_summary
from serving.streaming.decode import decode
from serving.streaming.replay import StreamSummary, count_reasons


def shown(reasons: dict[str, int], seconds: float) -> str:
    out = Console(file=io.StringIO(), width=200)
    show_summary(out, StreamSummary("t", 7, sum(reasons.values()), reasons, seconds, None, {"neutral": 7}, "m"))
    return out.file.getvalue()  # type: ignore[attr-defined]


def test_dead_letters_are_counted_by_reason():
    text = shown({"text: Field required": 3, "id: [/b] bad": 1}, 0.0)
    assert "dead letters" in text and "3: text: Field required" in text and "1: id: [/b] bad" in text
    assert "too short to measure" in text and "a second" not in text


def test_reasons_that_differ_in_numbers_are_counted_under_the_first_as_it_is():
    floats = [decode(b'{"id": 1.23E+17, "text": "Good", "source": "web"}') for _ in range(2)]
    early = [decode(b'{"id": "1", "text": "Good", "source": "web", "created_at": "19%d-01-01"}' % year) for year in (51, 52)]
    blank = decode(b'{"id": "1", "text": "&nbsp;", "source": "web"}')
    assert count_reasons([str(reason) for reason in (*early, *floats, floats[0], blank)]) == {
        "id: Input should be a string of 1 to 256 characters or an integer, not a float": 3,
        "created_at: 1951-01-01 is before 1970": 2,
        "text: text is blank": 1,
    }


def test_many_reasons_are_cut():
    text = shown({f"reason {number:03}": 1 for number in range(MAX_REASONS + 5)}, 1.0)
    assert text.count("reason 0") == MAX_REASONS
