"""Shared parts of all sections: the bundle, unique texts, child processes, rounds."""

import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from benchmarks.harness.rounds import Progress, Result, in_turns
from benchmarks.harness.texts import Texts
from benchmarks.lakehouse.child import Child
from serving.bundle import Bundle


class Bench:
    """One run of the benchmark. Leaving the `with` block deletes its tables and ends its child processes."""

    def __init__(
        self,
        bundle: Bundle,
        checkpoint: Path | None,
        texts: Texts,
        folder: Path,
        progress: Progress,
        *,
        rounds: int,
        rows: int,
        rate: int,
        seconds: int,
        every_s: float,
        batches: int,
        quick: bool = False,
    ) -> None:
        """Store the settings.

        Args:
            bundle: The bundle to measure.
            checkpoint: The checkpoint it was exported from, for the peers on torch; None if no section needs it.
            texts: A source of unique texts.
            folder: `var/bench`.
            progress: Called with a message and the finished share.
            rounds: Rounds of `gold`; each system runs once per round.
            rows: Rows per round of `gold`.
            rate: Rows per second of `age`.
            seconds: Duration of `age`.
            every_s: Seconds between two micro-batches of `age`.
            batches: Micro-batches of `files`.
            quick: Skip the warm-up, to check that the benchmark runs; its numbers are not comparable.
        """
        self.bundle, self._checkpoint, self.texts, self.folder, self.progress = bundle, checkpoint, texts, folder, progress
        self.rounds, self.rows, self.rate, self.seconds = rounds, rows, rate, seconds
        self.every_s, self.batches, self.quick = every_s, batches, quick
        self.home = (folder / "lakehouse-run").absolute()
        self._stack = ExitStack()

    def __enter__(self) -> "Bench":
        shutil.rmtree(self.home, ignore_errors=True)
        self._stack.callback(shutil.rmtree, self.home, ignore_errors=True)
        self.home.mkdir(parents=True)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def checkpoint(self) -> Path:
        """The checkpoint that the bundle was exported from."""
        assert self._checkpoint is not None
        return self._checkpoint

    def children(self, stack: ExitStack, kinds: Mapping[str, Mapping[str, Any]]) -> dict[str, Child]:
        """Start the measured programs together; `stack` ends them. Their logs are kept after the run.

        Args:
            stack: The caller's exit stack.
            kinds: The arguments per kind, a key of `program.KINDS`.
        """
        self.progress(f"starting {', '.join(kinds)}", None)
        started = {kind: stack.enter_context(Child(kind, given, self.folder / "lakehouse-logs")) for kind, given in kinds.items()}
        for child in started.values():
            child.wait()
        return started

    def in_turns(self, sides: Mapping[str, Callable[[int], Result]]) -> dict[str, list[Result]]:
        """Run every side once per round (`rounds.in_turns`)."""
        return in_turns(sides, self.rounds, self.progress)


def write_silver_rows(path: Path, texts: Sequence[str]) -> Path:
    """Write one Parquet file with rows of Silver, spread over one hour; `id` contains the text's number."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from data.cleaning import clean, hashtags, mentions

    begin, count = datetime.now(UTC).replace(hour=11, minute=0, second=0, microsecond=0) - timedelta(days=1), len(texts)
    event_at = pa.array([begin + timedelta(hours=1) * (k / count) for k in range(count)], pa.timestamp("us", "UTC"))
    origin, places = pa.array(["bench"] * count), pa.array(range(count), pa.int64())
    edits, items = pa.array([0] * count, pa.int32()), pa.nulls(count, pa.int32())
    names = ["edit", "stated_at", "arrived_at", "origin", "block", "line", "item"]
    ids = [f"{1_700_000_000_000 + k}" for k in range(count)]
    table = pa.table(
        {
            "id": ids,
            "first_id": ids,
            "replaces": pa.array([[]] * count, pa.list_(pa.string())),
            "is_share": [False] * count,
            "text": list(texts),
            "cleaned": [clean(text) for text in texts],
            "source": ["bench"] * count,
            "created_at": event_at,
            "event_at": event_at,
            "event_date": event_at.cast(pa.date32()),
            "lang": ["en"] * count,
            "user_id": pa.nulls(count, pa.string()),
            "mentions": pa.array([mentions(text) for text in texts], pa.list_(pa.string())),
            "hashtags": pa.array([hashtags(text) for text in texts], pa.list_(pa.string())),
            "true_label": pa.nulls(count, pa.string()),
            "copy": pa.StructArray.from_arrays([edits, event_at, event_at, origin, places, places, items], names),
        }
    )
    pq.write_table(table, path)
    return path
