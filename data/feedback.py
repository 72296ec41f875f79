"""What people say the right label is: an append-only store beside the service, and the rows that training reads of it."""

import os
import sqlite3
from collections import Counter, defaultdict
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from data.cleaning import normalize

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Verdict:
    """One person's word on one text."""

    text: str
    label: str
    """One of `LABELS`."""
    by: str
    """Who says so."""
    domain: str | None = None
    key: str = ""
    """Id of the API key it came with."""


class FeedbackStore:
    """A SQLite file, readable by its owner only; several processes may write to it."""

    def __init__(self, path: Path) -> None:
        """Made when something is first added."""
        self.path = path

    def add(self, verdict: Verdict) -> int:
        """Keep it; when this returns it is on the disk. Blocks for at most 5 s while another process writes.

        Returns:
            Its number.

        Raises:
            sqlite3.Error: The disk is full, or the file cannot be written.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            os.close(os.open(self.path, os.O_CREAT | os.O_RDWR, 0o600))
        except OSError as error:  # one kind of error for a file that cannot be had
            raise sqlite3.OperationalError(str(error)) from error
        with closing(sqlite3.connect(self.path, timeout=5.0)) as database, database:
            database.execute(
                "CREATE TABLE IF NOT EXISTS verdicts (number INTEGER PRIMARY KEY, at TEXT, text TEXT, label TEXT, "
                "said_by TEXT, domain TEXT, key TEXT)"
            )
            row = [datetime.now(UTC).isoformat(), verdict.text, verdict.label, verdict.by, verdict.domain, verdict.key]
            added = database.execute(
                "INSERT INTO verdicts (at, text, label, said_by, domain, key) VALUES (?, ?, ?, ?, ?, ?)", row
            )
            return int(added.lastrowid or 0)

    def is_empty(self) -> bool:
        """Whether there is no feedback; also where there is no file, or one that was made and never written to.

        Raises:
            sqlite3.Error: The file cannot be read.
        """
        return next(iter(self._all("LIMIT 1")), None) is None

    def rows(self) -> "pd.DataFrame":
        """What training reads: a row a text, `id, text, label, label_confidence, created_at, domain`.

        Of each person the latest label counts, and of all persons the most frequent one; `label_confidence` is its share. Where
        two labels are equally frequent both are given, and the splits remove the text as a label conflict.

        Raises:
            sqlite3.Error: The file cannot be read.
        """
        import pandas as pd

        said: dict[str, dict[str, tuple[str, str, str, str | None]]] = defaultdict(dict)
        for at, text, label, by, domain in self._all():
            said[normalize(text)][by] = (label, text, at, domain)  # the last word of each
        found = []
        for verdicts in said.values():
            counts = Counter(label for label, *_ in verdicts.values())
            most = max(counts.values())
            for label in sorted(label for label, count in counts.items() if count == most):
                _, text, at, domain = max((v for v in verdicts.values() if v[0] == label), key=lambda v: v[2])
                found.append((text, label, most / len(verdicts), at, domain))
        frame = pd.DataFrame(found, columns=["text", "label", "label_confidence", "created_at", "domain"])
        frame.insert(0, "id", [f"feedback-{number}" for number in range(len(frame))])
        return frame

    def _all(self, limit: str = "") -> list[tuple[str, str, str, str, str | None]]:
        if not self.path.is_file():
            return []
        with closing(sqlite3.connect(self.path, timeout=5.0)) as database:
            if not database.execute("SELECT 1 FROM sqlite_master WHERE name = 'verdicts'").fetchone():
                return []  # killed between making the file and the table
            return database.execute(f"SELECT at, text, label, said_by, domain FROM verdicts ORDER BY number {limit}").fetchall()


def feedback_of(var: Path) -> FeedbackStore:
    """The store of one `var/` folder."""
    return FeedbackStore(var / "labels" / "feedback.db")
