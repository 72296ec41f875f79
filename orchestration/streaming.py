"""`groundswell stream`, first form: a file, or test texts, replayed through broker, worker and warehouse in this process."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from data.artifacts import sha256_file
from data.errors import SourceUnavailable
from orchestration.layout import Layout
from orchestration.progress import TerminalProgress
from orchestration.scoring import open_classifier

if TYPE_CHECKING:
    from serving.streaming.replay import StreamSummary


def replay(*, file: Path | None, count: int, bundle: Path | None, console: Console | None) -> "StreamSummary":
    """Replay messages and count what came out.

    Args:
        file: JSONL of events; none: test texts of the splits.
        count: At most this many messages.
        bundle: Judges; none: production's.
        console: Draws the progress; none: silent.
    """
    from serving.streaming.replay import run_stream

    layout = Layout.load()
    classifier = open_classifier(bundle)
    if file is not None and not file.is_file():
        raise SourceUnavailable(f"There is no file {file}.")
    # The same messages and the same model: the same run, whose rows count once however often it is repeated.
    run_id = f"{sha256_file(file)[:12] if file else 'test-texts'}-{count}-{classifier.bundle.fingerprint[:12]}"
    events = _from_file(file, count) if file else _test_texts(layout, count)

    def run(progress: Any) -> "StreamSummary":
        return run_stream(events, classifier, layout.warehouse, run_id=run_id, progress=progress)

    if console is None:
        return run(None)
    with TerminalProgress(console) as terminal:
        terminal.begin("Replay messages through the stream")
        return run(terminal)


def _from_file(file: Path, count: int) -> Iterator[bytes]:
    with file.open("rb") as lines:
        for number, line in enumerate(lines):
            if number == count:
                return
            yield line.rstrip(b"\r\n")


def _test_texts(layout: Layout, count: int) -> Iterator[dict[str, Any]]:
    from orchestration.steps.data import read_texts

    frame = read_texts(layout, "test")
    frame = frame.sample(min(count, len(frame)), random_state=0)
    for row in frame.itertuples(index=False):
        yield {"id": row.id, "text": row.text, "source": row.source}


def show_summary(console: Console, summary: "StreamSummary") -> None:
    """The summary, for a terminal."""
    table = Table("", "", box=None, show_header=False, title=f"stream, judged by {summary.version}", title_justify="left")
    table.add_row("messages in the warehouse", f"{summary.messages:,}")
    table.add_row("dead letters", f"{summary.dead_letters:,}")
    table.add_row("messages a second", f"{summary.messages_per_s:,.0f}")
    table.add_row("labels", ", ".join(f"{label} {count:,}" for label, count in sorted(summary.labels.items())))
    console.print(table)
