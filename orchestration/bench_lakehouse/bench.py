"""What every section needs: the bundle, texts that never come twice, children that are ended with it, rounds."""

import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

from orchestration.bench_api.bench import Outcome, Tell
from orchestration.bench_api.texts import Texts
from orchestration.bench_lakehouse.child import Child
from serving.bundle import Bundle

__all__ = ["Bench", "Outcome"]

Found = TypeVar("Found")


class Bench:
    """One run. Its tables are gone and its children ended when the `with` block is left, however it is left."""

    def __init__(
        self,
        bundle: Bundle,
        checkpoint: Path | None,
        texts: Texts,
        folder: Path,
        tell: Tell,
        *,
        rounds: int,
        rows: int,
        rate: int,
        seconds: int,
        every_s: float,
        batches: int,
        quick: bool = False,
    ) -> None:
        """Make it.

        Args:
            bundle: What judges.
            checkpoint: What it was exported from, for the peer on torch; none: no section asks for it.
            texts: Texts that do not repeat.
            folder: `var/bench`.
            tell: Told how far it is.
            rounds: Each side of `gold` comes once a round.
            rows: Of one round of `gold`.
            rate: Rows a second of `age`.
            seconds: How long they come.
            every_s: Seconds from one micro-batch of `age` to the next.
            batches: Micro-batches of `files`.
            quick: Nothing is warmed: to see that it works, not to be quoted.
        """
        self.bundle, self._checkpoint, self.texts, self.folder, self.tell = bundle, checkpoint, texts, folder, tell
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
        """What the bundle was exported from."""
        assert self._checkpoint is not None
        return self._checkpoint

    def children(self, stack: ExitStack, kinds: Mapping[str, Mapping[str, Any]]) -> dict[str, Child]:
        """Start programs under measurement side by side; the stack ends them. Their logs are kept after the run.

        Args:
            stack: Of whoever needs them.
            kinds: What each of `program.KINDS` is made with.
        """
        self.tell(f"starting {', '.join(kinds)}", None)
        started = {kind: stack.enter_context(Child(kind, given, self.folder / "lakehouse-logs")) for kind, given in kinds.items()}
        for child in started.values():
            child.wait()
        return started

    def in_turns(self, sides: Mapping[str, Callable[[int], Found]]) -> dict[str, list[Found]]:
        """Every side once a round, in an order that turns; each is told the number of the round."""
        found: dict[str, list[Found]] = {name: [] for name in sides}
        names = list(sides)
        for index in range(self.rounds):
            for turn in range(len(names)):
                name = names[(index + turn) % len(names)]
                self.tell(f"round {index + 1} of {self.rounds}: {name}", (index + turn / len(names)) / self.rounds)
                found[name].append(sides[name](index))
        return found


def write_silver_rows(path: Path, texts: Sequence[str]) -> Path:
    """Rows as Silver has them, of the texts of an hour, in one Parquet file; `id` is the text's number."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from data.cleaning import clean, hashtags, mentions

    begin, count = datetime.now(UTC).replace(hour=11, minute=0, second=0, microsecond=0) - timedelta(days=1), len(texts)
    said = pa.array([begin + timedelta(hours=1) * (k / count) for k in range(count)], pa.timestamp("us", "UTC"))
    origin, places = pa.array(["bench"] * count), pa.array(range(count), pa.int64())
    names = ["stated_at", "arrived_at", "origin", "block", "line"]
    table = pa.table(
        {
            "id": [f"{1_700_000_000_000 + k}" for k in range(count)],
            "text": list(texts),
            "cleaned": [clean(text) for text in texts],
            "source": ["bench"] * count,
            "created_at": said,
            "event_at": said,
            "event_date": said.cast(pa.date32()),
            "lang": ["en"] * count,
            "user_id": pa.nulls(count, pa.string()),
            "mentions": pa.array([mentions(text) for text in texts], pa.list_(pa.string())),
            "hashtags": pa.array([hashtags(text) for text in texts], pa.list_(pa.string())),
            "true_label": pa.nulls(count, pa.string()),
            "copy": pa.StructArray.from_arrays([said, said, origin, places, places], names),
        }
    )
    pq.write_table(table, path)
    return path
